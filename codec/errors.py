"""Errors of image files."""

import re

NO_PIXELS = "the image has no pixels: its width or height is 0"
TRUNCATED = "the file is truncated"

# Libraries' messages that do not help an owner, and their meaning.
_WORDS = (
    (r"image file is truncated.*|.*Truncated File Read|not enough (image )?data.*", TRUNCATED),
    (r"Expected to read \d+ bytes but only got \d+\.", TRUNCATED),
    (r".*buffer is not large enough.*|failed to read \d+ bytes, got \d+", TRUNCATED),
    (r"corrupted (strip|tile) .*|\w+ returned \w+", "its strips or tiles are broken"),
    (r"decoder error -?\d+|encoder error.*", "the compressed pixels are broken"),
    (r"(broken|unrecognized) data stream.*", "the compressed pixels are broken"),
    (r"buffer overrun.*", "there are more compressed pixels than the picture holds"),
    (r"cannot load this image|tile cannot extend outside image", "no pixels at the stated place"),
    (r"negative seek value.*", "it points to a place outside the file"),
)  # fmt: skip
_MEANINGS = tuple((re.compile(pattern, re.DOTALL), meaning) for pattern, meaning in _WORDS)
# The meaning of Python's own errors in decoders that trust a file.
_UNCHECKED = "it ends early or holds impossible values"


class ImageError(Exception):
    """An image cannot be processed; the message gives its owner the reason."""


def damage_error(problem: str, error: Exception) -> Exception:
    """The error to raise for a file on which a decoder failed.

    On damage decoders raise any exception (TypeError, struct.error, KeyError), with parts of the
    file in its message. A lack of memory is not damage.
    """
    if isinstance(error, (MemoryError, ImageError)):
        return error
    words = " ".join(str(error).split())
    words = "".join(c if c.isprintable() else "?" for c in words)
    meaning = next((meaning for pattern, meaning in _MEANINGS if pattern.fullmatch(words)), None)
    if meaning is None and not _is_worded(error):
        meaning = f"{_UNCHECKED} ({type(error).__name__}: {words})"
    return ImageError(f"{problem}: {meaning or words}")


def _is_worded(error: Exception) -> bool:
    """Whether a library raised it with a message, not Python at an unexpected value."""
    python = "unpack", "index", "argument", "invalid literal", "codec can't", "tuple", "math domain"
    return isinstance(error, (OSError, SyntaxError, ValueError, RuntimeError)) and not any(
        word in str(error) for word in python
    )
