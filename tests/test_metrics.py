"""MSE, PSNR and SSIM against scikit-image and against published figures."""

import math
from unittest import mock

import cv2
import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from support import golden, quick, random_image

from srcnn import compiled, metrics, strips
from srcnn.resample import degrade_opencv

WINDOWS = {
    "uniform": {},
    "gaussian": {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False},
}
SMALLEST = {"uniform": 7, "gaussian": 11}


def on_eight_bit_scale(image: np.ndarray) -> np.ndarray:
    return image.astype(np.float64) / (257 if image.dtype == np.uint16 else 1)


def skimage_ssim(reference: np.ndarray, candidate: np.ndarray, window: str) -> float:
    return structural_similarity(
        on_eight_bit_scale(reference),
        on_eight_bit_scale(candidate),
        data_range=255,
        channel_axis=2 if reference.ndim == 3 else None,
        **WINDOWS[window],
    )


def noisy(image: np.ndarray, seed: int) -> np.ndarray:
    """A noisy copy of the reference."""
    peak = np.iinfo(image.dtype).max
    noise = np.random.default_rng(seed).normal(size=image.shape) * peak / 12
    return np.clip(image + noise, 0, peak).astype(image.dtype)


images = st.builds(
    lambda height, width, channels, dtype, seed: random_image(
        (height, width, *channels), dtype, seed
    ),
    st.integers(7, 40),
    st.integers(7, 40),
    st.sampled_from([(), (1,), (3,)]),
    st.sampled_from([np.uint8, np.uint16]),
    st.integers(0, 10**6),
)


@quick
@given(image=images, window=st.sampled_from(list(WINDOWS)), seed=st.integers(0, 10**6))
@example(image=random_image((7, 7)), window="uniform", seed=1)
@example(image=random_image((7, 30, 3)), window="uniform", seed=2)
@example(image=random_image((11, 11)), window="gaussian", seed=3)
@example(image=random_image((29, 11, 3), np.uint16), window="gaussian", seed=4)
def test_ssim_equals_scikit_image(image, window, seed):
    assume(min(image.shape[:2]) >= SMALLEST[window])
    candidates = [noisy(image, seed), random_image(image.shape, image.dtype, seed + 1)]
    figures = metrics.ssim(image, candidates, window)
    expected = [skimage_ssim(image, candidate, window) for candidate in candidates]
    assert figures == pytest.approx(expected, abs=1e-10)


def test_ssim_at_8_bits_equals_scikit_images_default():
    image = random_image((40, 30, 3))
    candidate = noisy(image, 1)
    expected = structural_similarity(image, candidate, channel_axis=2)
    assert metrics.ssim(image, [candidate]) == pytest.approx([expected], abs=1e-10)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("height", [15, 16, 17, 22, 23, 26, 27, 32, 38, 42, 43, 200])
def test_ssim_and_mse_do_not_depend_on_strips(window, height):
    image = random_image((height, 13, 3), seed=height)
    candidate = noisy(image, height)
    few = mock.patch.object(strips, "_SAMPLES", 1), mock.patch.object(metrics, "_COPIED_SAMPLES", 1)
    with few[0], few[1]:  # strips of 16 rows
        assert len(list(strips.strips(image, halo=5))) > 1 or height < 75
        (figure,) = metrics.ssim(image, [candidate], window)
        error = metrics.mse(image, candidate)
    assert figure == pytest.approx(skimage_ssim(image, candidate, window), abs=1e-10)
    assert error == np.mean((image.astype(float) - candidate) ** 2)


@pytest.mark.parametrize("window", WINDOWS)
def test_ssim_of_several_strips_equals_scikit_image(window):
    image = cv2.GaussianBlur(random_image((300, 900, 3)), (0, 0), 2)
    candidate = noisy(image, 0)
    expected = skimage_ssim(image, candidate, window)
    assert metrics.ssim(image, [candidate], window) == pytest.approx([expected], abs=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_ssim_handles_views_and_the_largest_codes(dtype):
    image = random_image((60, 50, 3), dtype)
    image[20:40] = np.iinfo(dtype).max
    candidate = noisy(image, 3)
    part = (slice(5, -5), slice(6, -6))  # its rows are not contiguous
    expected = skimage_ssim(image[part], candidate[part], "uniform")
    assert metrics.ssim(image[part], [candidate[part]]) == pytest.approx([expected], abs=1e-10)


def test_compiled_functions_work_without_a_cache(monkeypatch):
    monkeypatch.setattr("numba.core.caching.CacheImpl._locator_classes", [])
    double = compiled.compiled(lambda number: 2 * number)
    assert double(3) == 6


@quick
@given(image=images, seed=st.integers(0, 10**6))
def test_mse_and_psnr_equal_scikit_image(image, seed):
    candidate = noisy(image, seed)
    error = metrics.mse(image, candidate)
    x, y = on_eight_bit_scale(image), on_eight_bit_scale(candidate)
    assert error == pytest.approx(np.mean((x - y) ** 2), rel=1e-12)
    expected = peak_signal_noise_ratio(x, y, data_range=255)
    assert metrics.psnr_of_mse(error) == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_opposite_images_have_the_largest_error(dtype):
    black, white = np.zeros((3, 5), dtype), np.full((3, 5), np.iinfo(dtype).max, dtype)
    assert metrics.mse(black, white) == metrics.mse(white, black) == 255**2
    assert metrics.psnr_of_mse(255**2) == 0


def test_psnr_of_a_difference_of_one_code():
    image = np.full((10, 10, 3), 100, np.uint8)
    assert metrics.mse(image, image + 1) == 1
    assert metrics.psnr_of_mse(1) == pytest.approx(48.1308036086791)
    deep = image.astype(np.uint16) * 257
    assert metrics.mse(deep, deep + 257) == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_psnr_of_identical_images_is_infinite(window, dtype):
    image = random_image((20, 20, 3), dtype)
    assert metrics.mse(image, image) == 0
    assert metrics.psnr_of_mse(0) == math.inf
    assert metrics.ssim(image, [image], window) == pytest.approx([1], abs=1e-12)


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("channels", [(), (3,)])
def test_ssim_of_images_smaller_than_the_window_is_none(window, channels):
    side = SMALLEST[window]
    for shape in ((side - 1, 40), (40, side - 1), (1, 1)):
        image = random_image((*shape, *channels))
        assert metrics.ssim(image, [image, image], window) == [None, None]
    image = random_image((side, side, *channels))
    assert metrics.ssim(image, [image], window)[0] is not None


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (np.zeros((8, 8), np.uint8), np.zeros((8, 9), np.uint8)),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3), np.uint8)),
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.uint16)),
        (np.zeros((0, 8), np.uint8), np.zeros((0, 8), np.uint8)),
    ],
    ids=["shape", "channels", "type", "empty"],
)
def test_incomparable_images_are_refused(reference, candidate):
    with pytest.raises(ValueError, match="cannot compare"):
        metrics.mse(reference, candidate)
    with pytest.raises(ValueError, match="cannot compare"):
        metrics.ssim(reference, [candidate])


@pytest.mark.parametrize(
    ("first_column", "shave", "entry", "prefix"),
    [
        (0, 0, "degraded_full_image", ""),
        (1, 6, "degraded_after_crop_and_shave", ""),
        (0, 6, "srcnn_reproduced_without_the_dropped_column", "degraded_"),
    ],
)
def test_published_figures_of_the_degraded_bird_are_reproduced(
    shared, first_column, shave, entry, prefix
):
    published = golden(shared, "seed_bird")[entry]
    original = cv2.imread(str(shared / "data/Set5/bird_GT.bmp"))
    degraded = degrade_opencv(original, 2, "bilinear")
    inner = (slice(shave, 288 - shave), slice(first_column + shave, 288 - shave))
    original, degraded = original[inner], degraded[inner]
    error = metrics.mse(original, degraded)
    assert metrics.psnr_of_mse(error) == pytest.approx(published[f"{prefix}psnr"], abs=1e-8)
    assert 3 * error == pytest.approx(published[f"{prefix}mse"], abs=1e-6)
    (figure,) = metrics.ssim(original, [degraded])
    assert figure == pytest.approx(published[f"{prefix}ssim"], abs=1e-8)
