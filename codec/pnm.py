"""PNM files: PBM, PGM and PPM, binary and text."""

import io

import cv2
import numpy as np
from PIL import Image

from codec import pillow
from codec.errors import ImageError
from codec.picture import Decoded, Metadata
from codec.samples import scale_from_white

_MOST_BITS_OF_PILLOW = 8


def decode(content: bytes) -> Decoded:
    """Decodes a PNM, scaled by the file's code for white."""
    with pillow.open_image("PPM", io.BytesIO(content)) as image:
        white = _white(image)
        if white.bit_length() <= _MOST_BITS_OF_PILLOW:
            return Decoded(*pillow.planes_of(image)[0], Metadata())
    codes = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if codes is None:
        raise ImageError("the image is damaged, or an unsupported kind of 16-bit PNM")
    if codes.ndim == 3:
        codes = cv2.cvtColor(codes, cv2.COLOR_BGR2RGB)
    return Decoded(scale_from_white(codes, white, np.uint16), None, Metadata())


def _white(image: Image.Image) -> int:
    """The largest code: the file's own, or the largest value of its type."""
    arguments = image.tile[0].args
    if isinstance(arguments, tuple) and isinstance(arguments[-1], int):
        return arguments[-1] or 255
    return 65535 if image.mode.startswith("I") else 255
