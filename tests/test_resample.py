"""MATLAB's imresize against its definition written as loops; OpenCV's kernels against cv2."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import quick, random_image

from srcnn.resample import (
    KERNELS,
    degrade_matlab,
    degrade_opencv,
    modcrop,
    resize_matlab,
    resize_opencv,
)

MATLAB_KERNELS = ("bilinear", "bicubic")


def triangle(x: float) -> float:
    return max(0.0, 1 - abs(x))


def keys(x: float) -> float:
    """Cubic convolution with a = -1/2, as Keys gives it."""
    s = abs(x)
    if s < 1:
        return 3 / 2 * s**3 - 5 / 2 * s**2 + 1
    if s < 2:
        return -1 / 2 * s**3 + 5 / 2 * s**2 - 4 * s + 2
    return 0.0


def mirrored(index: int, length: int) -> int:
    """... c b a | a b c ... x y z | z y x ..."""
    while not 0 <= index < length:
        index = -1 - index if index < 0 else 2 * length - 1 - index
    return index


def resized_line(line: np.ndarray, target: int, kernel: str) -> list[float]:
    """Imresize of one line, sample by sample."""
    function, reach = {"bilinear": (triangle, 1), "bicubic": (keys, 2)}[kernel]
    scale = target / len(line)
    shrink = min(scale, 1)
    result = []
    for position in range(target):
        centre = (position + 0.5) / scale - 0.5
        total = weights = 0.0
        for tap in range(
            math.floor(centre - reach / shrink) - 1, math.ceil(centre + reach / shrink) + 2
        ):
            weight = function((centre - tap) * shrink)
            total += weight * float(line[mirrored(tap, len(line))])
            weights += weight
        result.append(total / weights)
    return result


def resized_plane(plane: np.ndarray, size: tuple[int, int], kernel: str) -> np.ndarray:
    columns = np.array([resized_line(line, size[0], kernel) for line in plane.T]).T
    return np.array([resized_line(line, size[1], kernel) for line in columns])


@quick
@given(
    height=st.integers(1, 13),
    width=st.integers(1, 13),
    target=st.tuples(st.integers(1, 30), st.integers(1, 30)),
    kernel=st.sampled_from(MATLAB_KERNELS),
    seed=st.integers(0, 99),
)
def test_resize_matlab_equals_its_definition(height, width, target, kernel, seed):
    plane = np.random.default_rng(seed).normal(size=(height, width)) * 100
    result = resize_matlab(plane, target, kernel)
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, resized_plane(plane, target, kernel), atol=1e-10)


def test_bicubic_enlargement_uses_keys_weights():
    line = np.zeros((1, 9))
    line[0, 4] = 1
    spread = resize_matlab(line, (1, 18), "bicubic")[0]
    far, near = -0.0703125, 0.8671875  # at distances 1.25 and 0.25
    nearer, farther = 0.2265625, -0.0234375  # at 0.75 and 1.75
    expected = [farther, far, nearer, near, near, nearer, far, farther]
    np.testing.assert_allclose(spread[5:13], expected, atol=1e-15)
    assert not spread[:5].any() and not spread[13:].any()


def test_bilinear_reduction_is_antialiased_with_mirrored_edges():
    a, b, c, d = 8.0, 16.0, 40.0, 200.0
    result = resize_matlab(np.array([[a, b, c, d]]), (1, 2), "bilinear")[0]
    # The triangle, twice as wide, weighs its four samples 1 : 3 : 3 : 1.
    expected = [(a + 3 * a + 3 * b + c) / 8, (b + 3 * c + 3 * d + d) / 8]
    np.testing.assert_allclose(result, expected, rtol=1e-15)


def test_bicubic_reduction_is_antialiased():
    line = np.zeros((1, 12))
    line[0, 5] = 1
    result = resize_matlab(line, (1, 6), "bicubic")[0]
    # Outputs lie at 0.5, 2.5, ...; halved, the impulse's distances are 2.25, 1.25, 0.25, 0.75, 1.75
    expected = [0, keys(1.25) / 2, keys(0.25) / 2, keys(0.75) / 2, keys(1.75) / 2, 0]
    np.testing.assert_allclose(result, expected, atol=1e-15)


@pytest.mark.parametrize("kernel", MATLAB_KERNELS)
@pytest.mark.parametrize("target", [(1, 1), (3, 7), (10, 22), (25, 31)])
def test_resize_matlab_preserves_constants(kernel, target):
    result = resize_matlab(np.full((10, 11), 173.25), target, kernel)
    np.testing.assert_allclose(result, np.full(target, 173.25), rtol=1e-13)


@pytest.mark.parametrize("kernel", MATLAB_KERNELS)
def test_resize_matlab_commutes_with_rotation(kernel):
    plane = np.random.default_rng(5).random((12, 9))
    result = resize_matlab(plane, (24, 6), kernel)
    np.testing.assert_allclose(resize_matlab(plane.T, (6, 24), kernel).T, result, atol=1e-12)
    turned = resize_matlab(plane[::-1, ::-1], (24, 6), kernel)
    np.testing.assert_allclose(turned[::-1, ::-1], result, atol=1e-12)


@pytest.mark.parametrize("kernel", MATLAB_KERNELS)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_degrade_matlab_does_not_round_between_steps(kernel, scale):
    plane = random_image((4 * scale, 5 * scale))
    small = resized_plane(plane, (4, 5), kernel)
    expected = resized_plane(small, plane.shape, kernel)
    np.testing.assert_allclose(degrade_matlab(plane, scale, kernel), expected, atol=1e-10)


OPENCV_FLAGS = {
    "nearest": cv2.INTER_NEAREST,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def test_each_protocol_lists_its_kernels():
    assert set(KERNELS["opencv"]) == set(OPENCV_FLAGS)
    assert set(KERNELS["matlab"]) == set(MATLAB_KERNELS)


@pytest.mark.parametrize("kernel", OPENCV_FLAGS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(23, 31), (23, 31, 3)])
def test_opencv_kernels_equal_cv2(kernel, dtype, shape):
    image = random_image(shape, dtype)
    flag = OPENCV_FLAGS[kernel]
    enlarged = resize_opencv(image, (46, 62), kernel)
    np.testing.assert_array_equal(enlarged, cv2.resize(image, (62, 46), interpolation=flag))
    small = cv2.resize(image, (10, 7), interpolation=flag)
    expected = cv2.resize(small, (31, 23), interpolation=flag)
    degraded = degrade_opencv(image, 3, kernel)
    np.testing.assert_array_equal(degraded, expected)
    assert degraded.dtype == dtype


@pytest.mark.parametrize(
    ("shape", "scale", "expected"),
    [
        ((12, 18), 3, (12, 18)),
        ((13, 20), 3, (12, 18)),
        ((5, 4, 3), 4, (4, 4, 3)),
        ((7, 7), 1, (7, 7)),
        ((2, 9), 3, (0, 9)),
    ],
)
def test_modcrop_removes_the_last_rows_and_columns(shape, scale, expected):
    image = random_image(shape)
    cropped = modcrop(image, scale)
    assert cropped.shape == expected
    np.testing.assert_array_equal(cropped, image[: expected[0], : expected[1]])
