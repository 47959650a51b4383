"""Published figures of published weights, by the array functions without the job."""

import cv2
import numpy as np
import pytest
from support import golden, restore_plane

from srcnn.colour import peak_of
from srcnn.degradations import Degradation
from srcnn.engines import create_engine
from srcnn.engines.base import Engine
from srcnn.importers import match_architecture, read_keras1, read_matlab
from srcnn.metrics import mse, psnr_of_mse, ssim
from srcnn.protocols import PROTOCOLS
from srcnn.resample import degrade_opencv
from srcnn.restoration import Restoration
from srcnn.training.evaluate import image_figures
from srcnn.weights import ModelCard, Weights

SET5 = ("baby", "bird", "butterfly", "head", "woman")
AUTHORS = (
    "9-1-5_91_x2",
    "9-5-5_ImageNet_x2",
    "9-1-5_91_x3",
    "9-1-5_ImageNet_x3",
    "9-3-5_ImageNet_x3",
    "9-5-5_ImageNet_x3",
    "9-1-5_91_x4",
    "9-5-5_ImageNet_x4",
)


def engine_of(tensors, padding: str | None = None) -> Engine:
    architecture = match_architecture(tensors)
    card = ModelCard(
        name="published",
        architecture=architecture.padded(padding) if padding else architecture,
        scale=2,
        kernel="bicubic",
        protocol="matlab",
        sha256="0" * 64,
    )
    return create_engine("tensorflow", Weights(card, tensors))


def read_set5(shared, name: str) -> np.ndarray:
    image = cv2.imread(str(shared / f"data/Set5/{name}_GT.bmp"))
    assert image is not None
    return image


def luma_figures(engine: Engine, image: np.ndarray, scale: int) -> tuple[float, float]:
    """Luma PSNR of bicubic interpolation and of the network, as the literature measures."""
    degradation = Degradation("matlab", scale, "bicubic")
    figures = image_figures(engine, image, Restoration(engine.architecture, degradation))
    return figures["psnr_y_degraded"], figures["psnr_y_enhanced"]


@pytest.mark.parametrize(
    "name", [AUTHORS[0], *(pytest.param(name, marks=pytest.mark.slow) for name in AUTHORS[1:])]
)
def test_authors_weights_reach_their_luma_psnr_on_set5(shared, name):
    published = golden(shared, "paper_luma_psnr")[name]["Set5"]
    path = shared / f"weights/published/matlab/{name}.mat"
    engine = engine_of(read_matlab(path, path.read_bytes()), "replicate")
    figures = {
        f"{image}_GT.bmp": luma_figures(engine, read_set5(shared, image), int(name[-1]))
        for image in SET5
    }
    for image, expected in published["per_image_bicubic_srcnn"].items():
        assert figures[image] == pytest.approx(expected, abs=0.002), image
    bicubic, srcnn = np.mean(list(figures.values()), axis=0)
    assert bicubic == pytest.approx(published["mean_bicubic"], abs=0.001)
    assert srcnn == pytest.approx(published["mean_srcnn"], abs=0.002)


def test_all_published_weights_are_measured(shared):
    assert set(AUTHORS) == set(golden(shared, "paper_luma_psnr"))
    found = {path.stem for path in (shared / "weights/published/matlab").glob("*.mat")}
    assert set(AUTHORS) == found


def test_tutorial_weights_reach_its_figures_of_the_bird(shared):
    published = golden(shared, "seed_bird")[
        "srcnn_reproduced_rounded_half_to_even_instead_of_truncated"
    ]
    path = shared / "weights/published/3051crop_weight_200.h5"
    tensors = read_keras1(path, path.read_bytes())
    engine = engine_of(tensors)
    opencv = PROTOCOLS["opencv"]
    original = read_set5(shared, "bird")
    degraded = degrade_opencv(original, 2, "bilinear")
    shave = opencv.measure_shave("shave", 2)
    inner = (slice(shave, -shave), slice(shave, -shave))
    restored = restore_plane(engine, opencv.network_luma(degraded), shave, tile=128)
    luma = opencv.round_luma(restored, original.dtype)
    assert peak_of(luma) == 255
    image = opencv.compose(degraded[inner], luma)
    error = mse(original[inner], image)
    assert psnr_of_mse(error) == pytest.approx(published["psnr"], abs=0.0005)
    assert 3 * error == pytest.approx(published["mse"], abs=0.005)
    assert ssim(original[inner], [image]) == pytest.approx([published["ssim"]], abs=0.00002)
