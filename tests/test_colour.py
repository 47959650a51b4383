"""Luma and chroma against documented values, scikit-image's studio-range matrices and cv2."""

import cv2
import numpy as np
import pytest
import skimage.color
from hypothesis import given
from hypothesis import strategies as st
from support import quick, random_image

from srcnn import colour
from srcnn.protocols import PROTOCOLS

# MATLAB's rgb2ycbcr of uint8: BGR, then Y, Cb, Cr.
DOCUMENTED = {
    "black": ((0, 0, 0), (16, 128, 128)),
    "white": ((255, 255, 255), (235, 128, 128)),
    "red": ((0, 0, 255), (81, 90, 240)),
    "green": ((0, 255, 0), (145, 54, 34)),
    "blue": ((255, 0, 0), (41, 240, 110)),
    "yellow": ((0, 255, 255), (210, 16, 146)),
    "cyan": ((255, 255, 0), (170, 166, 16)),
    "magenta": ((255, 0, 255), (106, 202, 222)),
}


def pixel(values, dtype=np.uint8):
    return np.array([[values]], dtype)


@pytest.mark.parametrize(("bgr", "ycbcr"), DOCUMENTED.values(), ids=DOCUMENTED)
def test_studio_range_has_its_documented_values(bgr, ycbcr):
    planes = colour.planes_matlab(pixel(bgr))
    assert tuple(int(plane[0, 0]) for plane in planes) == ycbcr
    assert all(plane.dtype == np.uint8 for plane in planes)


@pytest.mark.parametrize(("bgr", "ycbcr"), DOCUMENTED.values(), ids=DOCUMENTED)
def test_studio_range_of_16_bits_is_257_times_that_of_8(bgr, ycbcr):
    planes = colour.planes_matlab(pixel(np.array(bgr) * 257, np.uint16))
    assert all(plane.dtype == np.uint16 for plane in planes)
    for plane, value in zip(planes, ycbcr, strict=True):
        # 8-bit values are rounded: they differ by up to half a code.
        assert abs(int(plane[0, 0]) - value * 257) <= 129


def test_black_and_white_are_exact_at_16_bits():
    lumas = [colour.planes_matlab(pixel([v, v, v], np.uint16))[0][0, 0] for v in (0, 65535)]
    assert lumas == [16 * 257, 235 * 257]


@quick
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([np.uint8, np.uint16]))
def test_planes_matlab_equals_scikit_image_rounded(seed, dtype):
    image = random_image((5, 7, 3), dtype, seed)
    peak = np.iinfo(dtype).max
    exact = skimage.color.rgb2ycbcr(image[..., ::-1] / peak) * (peak / 255)
    for index, plane in enumerate(colour.planes_matlab(image)):
        assert plane.dtype == dtype
        assert np.abs(plane - exact[..., index]).max() <= 0.5 + 1e-6


@quick
@given(seed=st.integers(0, 10**6), dtype=st.sampled_from([np.uint8, np.uint16]))
def test_image_from_planes_equals_scikit_image_rounded_and_clipped(seed, dtype):
    ycbcr = random_image((5, 7, 3), dtype, seed)
    peak = np.iinfo(dtype).max
    exact = skimage.color.ycbcr2rgb(ycbcr * (255 / peak)) * peak
    planes = list(np.moveaxis(ycbcr, 2, 0))
    image = colour.image_from_planes_matlab(planes, dtype)
    assert image.dtype == dtype
    clipped = np.clip(exact, 0, peak)[..., ::-1]
    assert np.abs(image - clipped).max() <= 0.5 + 1e-3


def test_image_from_planes_takes_unrounded_chroma():
    planes = [np.full((2, 2), code / 255) for code in (126.25, 128.2, 127.9)]
    image = colour.image_from_planes_matlab(planes, np.uint8)
    # ycbcr2rgb's coefficients as ITU-R BT.601 gives them for studio range.
    luma = 255 / 219 * (126.25 - 16)
    red = luma + 1.596027 * -0.1
    blue = luma + 2.017232 * 0.2
    green = luma - 0.391762 * 0.2 - 0.812968 * -0.1
    assert image[0, 0].tolist() == [round(blue), round(green), round(red)]


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_grayscale_is_its_own_luma(dtype):
    image = random_image((4, 6), dtype)
    (plane,) = colour.planes_matlab(image)
    np.testing.assert_array_equal(plane, image)
    np.testing.assert_array_equal(colour.image_from_planes_matlab([plane], dtype), image)
    np.testing.assert_array_equal(colour.luma_opencv(image), image)
    np.testing.assert_array_equal(colour.replace_luma_opencv(image, image[::-1]), image[::-1])


def test_ties_round_up_for_matlab_and_to_even_for_opencv():
    values = np.array([-7.0, -0.5, 0.49, 0.5, 1.5, 2.5, 254.5, 255.4, 300.0])
    up = colour.quantise_half_up(values, np.uint8)
    even = colour.quantise_half_even(values, np.uint8)
    assert up.tolist() == [0, 0, 0, 1, 2, 3, 255, 255, 255]
    assert even.tolist() == [0, 0, 0, 0, 2, 2, 254, 255, 255]
    assert up.dtype == even.dtype == np.uint8
    assert colour.quantise_half_up(np.array([65534.5, 7e4]), np.uint16).tolist() == [65535, 65535]


def test_peak_of_integer_types():
    assert colour.peak_of(np.zeros(1, np.uint8)) == 255
    assert colour.peak_of(np.zeros(1, np.uint16)) == 65535


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opencv_luma_equals_cv2(dtype):
    image = random_image((901, 503, 3), dtype)
    expected = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0]
    np.testing.assert_array_equal(colour.luma_opencv(image), expected)
    peak = np.iinfo(dtype).max
    # Full range: white is the peak, and 0.299 R + 0.587 G + 0.114 B.
    assert colour.luma_opencv(pixel([peak] * 3, dtype))[0, 0] == peak
    weights = np.array([0.114, 0.587, 0.299])
    assert np.abs(colour.luma_opencv(image) - image @ weights).max() < (0.6 if peak == 255 else 6)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_replacing_luma_keeps_chroma(dtype):
    peak = np.iinfo(dtype).max
    # Pale colours, so that nothing is clipped.
    image = (peak * 0.4 + random_image((8, 9, 3), dtype) * 0.2).astype(dtype)
    luma = colour.luma_opencv(image)
    other = (luma + peak * 0.1).astype(dtype)
    replaced = colour.replace_luma_opencv(image, other)
    before = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb).astype(int)
    after = cv2.cvtColor(replaced, cv2.COLOR_BGR2YCrCb).astype(int)
    tolerance = 1 if dtype == np.uint8 else 3
    assert np.abs(after[..., 1:] - before[..., 1:]).max() <= tolerance
    assert np.abs(after[..., 0] - other).max() <= tolerance


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_chroma_filter_is_a_convolution_with_replicated_edges(dtype):
    image = random_image((9, 7, 3), np.uint8 if dtype == np.float32 else dtype).astype(dtype)
    taps = (1.5, -0.35, 0.1)
    kernel = [0.1, -0.35, 1.5, -0.35, 0.1]
    padded = np.pad(image.astype(float), ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = sum(tap * padded[:, at : at + 7] for at, tap in enumerate(kernel))
    expected = sum(tap * rows[at : at + 9] for at, tap in enumerate(kernel))
    sharpened = colour.sharpen(image, taps)
    assert sharpened.dtype == dtype
    if dtype != np.float32:
        expected = np.clip(np.rint(expected), 0, np.iinfo(dtype).max)
    assert np.abs(sharpened - expected).max() <= (1e-3 if dtype == np.float32 else 1)
    assert colour.sharpen(image, ()) is image


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_uniform_colours_are_unchanged(dtype):
    image = np.full((12, 12, 3), (10, 200, 90), dtype)
    luma = colour.luma_opencv(image)
    plain = colour.replace_luma_opencv(image, luma)
    taps = (0.645618, 0.237891, 0.065274, -0.100936, -0.025038)
    np.testing.assert_array_equal(colour.replace_luma_opencv(image, luma, taps), plain)


def test_luma_is_centred_in_a_larger_image():
    image, luma = random_image((16, 20, 3)), random_image((8, 12), seed=1)
    taps = (1.2, -0.2, 0.1)
    whole = np.zeros((16, 20), np.uint8)
    whole[4:-4, 4:-4] = luma
    expected = colour.replace_luma_opencv(image, whole, taps)[4:-4, 4:-4]
    np.testing.assert_array_equal(colour.replace_luma_opencv(image, luma, taps), expected)
    planes = np.random.default_rng(0).random((3, 16, 20), np.float32)
    composed = PROTOCOLS["matlab"].compose(planes, luma, taps)
    expected = PROTOCOLS["matlab"].compose(planes, whole, taps)[4:-4, 4:-4]
    np.testing.assert_array_equal(composed, expected)


def test_replacing_luma_does_not_modify_its_arguments():
    image, luma = random_image((4, 4, 3)), random_image((4, 4), seed=1)
    copies = image.copy(), luma.copy()
    ycrcb = cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)
    ycrcb[..., 0] = luma
    replaced = colour.replace_luma_opencv(image, luma)
    np.testing.assert_array_equal(replaced, cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR))
    np.testing.assert_array_equal(image, copies[0])
    np.testing.assert_array_equal(luma, copies[1])


@pytest.mark.parametrize("shape", [(9, 12), (9, 12, 3)])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_transparent_pixels_take_the_nearest_visible_colour(shape, dtype):
    image = random_image(shape, dtype)
    alpha = random_image((9, 12), np.uint8, seed=1) // 128  # half of them hidden
    filled = colour.fill_hidden(image, alpha)
    assert filled.dtype == dtype
    visible = np.argwhere(alpha > 0)
    for place in np.ndindex(9, 12):
        distances = ((visible - place) ** 2).sum(axis=1)
        nearest = visible[distances == distances.min()]
        assert any((filled[place] == image[tuple(other)]).all() for other in nearest)


@pytest.mark.parametrize("code", [0, 1, 255])
def test_images_all_opaque_or_all_transparent_are_not_filled(code):
    image = random_image((5, 6, 3))
    assert colour.fill_hidden(image, np.full((5, 6), code, np.uint8)) is image
