"""AVIF files: 8 bits by Pillow, 10 and 12 by imagecodecs."""

import io
import re

import imagecodecs

from codec import pillow
from codec.picture import Decoded, several_pictures
from codec.samples import scale_codes, split_alpha, turned


def decode(content: bytes) -> Decoded:
    """Decodes the first picture."""
    bits = _bits_of(content)
    if bits == 8:
        return pillow.decode("AVIF", content)
    with pillow.open_image("AVIF", io.BytesIO(content)) as image:
        notes, metadata = several_pictures(image.n_frames), pillow.metadata_in(image)
        orientation = pillow.orientation_of(image)
    samples = turned(scale_codes(imagecodecs.avif_decode(content), bits), orientation)
    return Decoded(*split_alpha(samples), metadata, notes)


def _bits_of(content: bytes) -> int:
    """Bits per sample by the AV1 configuration; 8 where there is none."""
    configuration = re.search(rb"av1C\x81.(.)", content, re.DOTALL)
    if not configuration or not configuration[1][0] & 0x40:
        return 8
    return 12 if configuration[1][0] & 0x20 else 10
