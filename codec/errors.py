"""What may be wrong with an image file."""


class ImageError(Exception):
    """An image cannot be processed; the message tells its owner why."""
