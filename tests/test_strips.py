"""Strips cover a picture once, and results do not depend on them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srcnn import colour, strips
from srcnn.protocols import PROTOCOLS
from srcnn.resample import resize_matlab


@given(height=st.integers(1, 400), width=st.integers(1, 9000), halo=st.integers(0, 6))
def test_inner_rows_are_covered_once(height, width, halo):
    image = np.broadcast_to(np.uint8(0), (height, width, 3))
    inner = []
    for rows in strips.strips(image, halo):
        inner += range(rows.start + halo, rows.stop - halo)
        assert 0 <= rows.start < rows.stop <= height
    assert inner == list(range(halo, height - halo))


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_matlab_protocol_does_not_depend_on_strips(monkeypatch, dtype):
    rng = np.random.default_rng(0)
    image = rng.integers(0, np.iinfo(dtype).max, (202, 90, 3), dtype, endpoint=True)
    protocol = PROTOCOLS["matlab"]

    def everything():
        small = protocol.shrink(image, 2, "bicubic")
        interpolated = protocol.enlarge(small, image.shape[:2], "bicubic", dtype)
        luma = protocol.interpolated_luma(interpolated, dtype)
        return [
            *colour.planes_matlab(image), small, interpolated, luma,
            protocol.compose(interpolated, luma),
            resize_matlab(image[..., 0], (301, 77), "bilinear"),
        ]  # fmt: skip

    at_once = everything()
    monkeypatch.setattr(strips, "_SAMPLES", 1)
    for whole, in_strips in zip(at_once, everything(), strict=True):
        assert np.array_equal(whole, in_strips)
