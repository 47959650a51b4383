"""The Python interface equals the job."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from conftest import ROOT, write_images

from srcnn import load_model
from srcnn.errors import EngineError, WeightsError

pytestmark = pytest.mark.usefixtures("parsing_here")


@pytest.mark.parametrize("name", ["srcnn-915_x2_bilinear", "srcnn-915_x3_bicubic"])
def test_enlarge_equals_the_job(run_job, tmp_path, photo, name):
    image = photo[40:110, 100:181]
    images = {
        "colour.png": image,
        "gray.png": cv2.cvtColor(image, cv2.COLOR_BGR2GRAY),
        "deep.png": image.astype(np.uint16) * 257,
    }
    write_images(tmp_path / "in", images)
    job = run_job("--mode", "restore", "--model", name, "--input", f"{tmp_path}/in/*.png")
    assert job.code == 0, job.err
    for kind, image in images.items():
        written = cv2.imread(str(job.output / "images" / kind), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(load_model(name).enlarge(image), written)


def test_improve_keeps_the_size(run_job, tmp_path, photo):
    image = photo[:60, :70]
    write_images(tmp_path / "in", {"a.png": image})
    job = run_job(
        "--mode", "restore", "--scale", 1, "--model", "srcnn-915_x2_bilinear",
        "--input", f"{tmp_path}/in/a.png",
    )  # fmt: skip
    model = load_model("srcnn-915", scale=2, kernel="bilinear")
    written = cv2.imread(str(job.output / "images/a.png"))
    np.testing.assert_array_equal(model.improve(image), written)


def test_array_views_are_accepted(tiny_weights, photo):
    model = load_model(tiny_weights)
    turned = photo[:40, :50, ::-1]
    np.testing.assert_array_equal(model.enlarge(turned), model.enlarge(turned.copy()))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4)), np.zeros((0, 4), np.uint8),
     np.zeros(4, np.uint8)],
)  # fmt: skip
def test_invalid_arrays_are_refused(tiny_weights, image):
    with pytest.raises(ValueError, match="an image of"):
        load_model(tiny_weights).enlarge(image)


def test_unknown_models_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="there are: photo-large_x1"):
        load_model("srcnn-955", scale=7)
    with pytest.raises(WeightsError, match="no model card"):
        load_model(tmp_path / "none.weights.h5")
    with pytest.raises(EngineError, match="no engine"):
        load_model(engine="abacus")


def test_import_is_light_and_free_of_beam():
    script = (
        "import sys, srcnn; before = set(sys.modules); from srcnn import load_model; "
        "heavy = {'apache_beam', 'tensorflow', 'keras', 'pandas', 'matplotlib'}; "
        "assert not heavy & set(sys.modules), heavy & set(sys.modules); "
        "assert 'numpy' not in before"
    )
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)


def test_a_run_starts_without_the_compiler_of_figures():
    script = "import sys, pipeline.run; assert not {'numba', 'scipy.special'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], cwd=ROOT, check=True)
