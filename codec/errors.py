"""What may be wrong with an image file."""

NO_PIXELS = "the image has no pixels: its width or height is 0"


class ImageError(Exception):
    """An image cannot be processed; the message tells its owner why."""


def damaged(what: str, error: Exception) -> Exception:
    """The error for a file that a decoder stumbled over; to be raised.

    Decoders raise whatever a damaged file makes of them: TypeError, struct.error, KeyError, with
    parts of the file in their words. Want of memory is no damage.
    """
    if isinstance(error, (MemoryError, ImageError)):
        return error
    words = " ".join(str(error).split())
    return ImageError(f"{what}: {''.join(c if c.isprintable() else '?' for c in words)}")
