"""Choice of the engine, and properties shared by all engines."""

import importlib.util
import os
import subprocess
import sys
import threading

import numpy as np
import pandas as pd
import psutil
import pytest
from conftest import ROOT, files_below, write_images
from PIL import Image
from support import random_weights, stack

from srcnn import engines, load_model
from srcnn.architectures import architecture_for
from srcnn.engines import ENGINES, choose_engine, create_engine
from srcnn.errors import EngineError


def installed(monkeypatch, *names: str, gpu: bool = False) -> None:
    """Pretends that only these engines are installed."""
    find = engines.importlib.util.find_spec
    monkeypatch.setattr(
        engines.importlib.util,
        "find_spec",
        lambda name, *more: (name in names or None) if name in ENGINES else find(name, *more),
    )
    monkeypatch.setattr(engines, "_NVIDIA", ROOT if gpu else ROOT / "no such file")


@pytest.mark.parametrize(
    ("there", "gpu", "chosen"),
    [
        (("openvino", "tensorflow"), False, "openvino"),
        (("openvino", "tensorflow"), True, "tensorflow"),
        (("tensorflow",), False, "tensorflow"),
        (("openvino",), True, "openvino"),
        (("jax", "torch"), False, "torch"),
        (("openvino", "jax", "torch"), True, "torch"),
    ],
)
def test_auto_chooses_the_fastest_engine_for_the_hardware(monkeypatch, there, gpu, chosen):
    installed(monkeypatch, *there, gpu=gpu)
    monkeypatch.delenv("KERAS_BACKEND", raising=False)
    assert choose_engine("auto") == chosen


def test_auto_chooses_the_backend_that_keras_is_set_to_use(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    installed(monkeypatch, "tensorflow", "torch", "jax")
    assert choose_engine("auto") == "jax"
    installed(monkeypatch, *ENGINES)
    assert choose_engine("auto") == "openvino"
    installed(monkeypatch, *ENGINES, gpu=True)
    assert choose_engine("auto") == "jax"
    installed(monkeypatch, "tensorflow", "torch")
    assert choose_engine("auto") == "tensorflow"


def test_keras_runs_on_one_backend_per_process():
    weights = random_weights(stack((3, 1)))
    create_engine("tensorflow", weights)
    other = next((name for name in ("jax", "torch") if importlib.util.find_spec(name)), None)
    if other is None:
        pytest.skip("needs a second backend of Keras")
    with pytest.raises(EngineError, match=f"already runs on tensorflow .* not on {other}"):
        create_engine(other, weights)


_COMPARE = """
import sys
from concurrent.futures import ThreadPoolExecutor
import numpy as np
from support import NumpyEngine, random_weights, stack
from srcnn.architectures import architecture_for
from srcnn.engines import create_engine
networks = [architecture_for("srcnn-915", 2), architecture_for("photo-small", 2),
            architecture_for("subpixel-small", 3), stack((3, 4), (3, 2, "same"), (5, 1)),
            stack((5, 2), (3, 1)).padded("replicate")]
for architecture in networks:
    weights = random_weights(architecture, seed=7)
    engine = create_engine(sys.argv[1], weights, 1)
    assert engine.name == sys.argv[1]
    reference = NumpyEngine(architecture, weights.tensors)
    rng, planes = np.random.default_rng(9), architecture.planes
    shapes = ((2, 24, 27), (1, 33, 31), (1, 32, 32), (1, 24, 27))
    batches = [rng.random((*shape, planes), np.float32) for shape in shapes]
    with ThreadPoolExecutor(4) as threads:
        for batch, result in zip(batches, threads.map(engine.run, batches), strict=True):
            assert result.dtype == np.float32 and isinstance(result, np.ndarray)
            np.testing.assert_allclose(result, reference.run(batch), atol=1e-4)
"""


def with_backend(backend: str, *command: str) -> None:
    """Runs Python in a separate process, because Keras takes one backend per process."""
    pytest.importorskip(backend)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *sys.path])}
    environment.pop("KERAS_BACKEND", None)
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_other_backends_compute_the_reference_network(backend):
    with_backend(backend, "-c", _COMPARE, backend)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_a_job_on_another_backend_names_it_and_gives_the_same_images(
    backend, run_job, tmp_path, photo
):
    write_images(tmp_path / "in", {"a.png": photo[:90, :120], "b.png": photo[100:, 200:]})
    arguments = ["--input", f"{tmp_path}/in/*", "--model", "subpixel-small", "--kernel", "bilinear"]
    output = tmp_path / "other"
    command = ["run_pipeline.py", *arguments, "--engine", backend, "--comparisons", "none"]
    with_backend(backend, *command, "--output", str(output))
    rows = pd.read_parquet(output / "metrics").set_index("relative_path").sort_index()
    assert set(rows.engine) == {backend}
    assert rows.versions.str.contains(f"{backend} ").all()
    job = run_job(*arguments, "--engine", "openvino")
    figures = ["psnr_enhanced", "ssim_enhanced", "psnr_y_enhanced"]
    assert np.allclose(rows[figures], job.rows[figures], atol=1e-3, rtol=0)
    for name in files_below(tmp_path / "in"):
        images = [np.int16(Image.open(out / "images" / name)) for out in (output, job.output)]
        assert np.abs(images[0] - images[1]).max() <= 1


def test_missing_engine_is_refused_before_the_run(run_job, tmp_path, photo, monkeypatch):
    write_images(tmp_path / "in", {"a.png": photo[:20, :20]})
    installed(monkeypatch, "tensorflow")
    job = run_job("--input", f"{tmp_path}/in/*", "--engine", "openvino")
    assert job.code == 2
    assert "pip install 'srcnn-beam[openvino]'" in job.err
    assert not job.output.exists()
    installed(monkeypatch)
    with pytest.raises(EngineError, match="no engine is installed"):
        choose_engine("auto")


@pytest.mark.parametrize("name", ["openvino", "tensorflow"])
@pytest.mark.parametrize("threads", [1, None])
def test_concurrent_calls_give_correct_results(name, threads):
    engine = create_engine(name, random_weights(stack((5, 4), (3, 1))), threads)
    rng = np.random.default_rng(0)
    batches = [np.float32(rng.random((1, 40 + i, 50 - i, 1))) for i in range(12)]
    expected = [engine.run(batch) for batch in batches]
    wrong = []

    def call(first: int) -> None:
        for _ in range(10):
            for index in range(first, len(batches), 3):
                if not np.array_equal(engine.run(batches[index]), expected[index]):
                    wrong.append(index)

    callers = [threading.Thread(target=call, args=(first,)) for first in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("name", ["subpixel-small", "photo-small"])
def test_ensemble_is_the_mean_of_eight_and_commutes_with_rotation(name):
    architecture = architecture_for(name, 2)
    weights = random_weights(architecture, seed=3)
    one = create_engine("openvino", weights, 1)
    ensemble = create_engine("openvino", weights, 1, ensemble=True)
    batch = np.random.default_rng(0).random((2, 24, 31, architecture.planes), np.float32)
    result = ensemble.run(batch)
    assert result.shape == one.run(batch).shape
    for turn in (lambda x: x[:, ::-1], lambda x: x[:, :, ::-1], lambda x: x.swapaxes(1, 2)):
        turned = ensemble.run(np.ascontiguousarray(turn(batch)))
        np.testing.assert_allclose(turned, turn(result), atol=1e-6)
        assert np.abs(one.run(np.ascontiguousarray(turn(batch))) - turn(one.run(batch))).max() > 0.1
    views = [v for turns in range(4) for v in _both_hands(np.rot90(batch, turns, (1, 2)))]
    sums = [one.run(np.ascontiguousarray(view)).sum(dtype=float) for view in views]
    assert result.sum(dtype=float) == pytest.approx(np.mean(sums), rel=1e-5)


def _both_hands(batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return batch, batch[:, :, ::-1]


def test_results_are_not_overwritten_by_later_calls():
    engine = create_engine("openvino", random_weights(stack((3, 1))))
    batch = np.random.default_rng(0).random((1, 20, 20, 1), np.float32)
    first = engine.run(batch)
    kept = first.copy()
    engine.run(batch * 0)
    assert np.array_equal(first, kept)


@pytest.mark.slow
def test_openvino_memory_does_not_grow_with_the_number_of_sizes():
    model = load_model("subpixel-small_x2_bilinear")
    generator, used = np.random.default_rng(0), []
    for number in range(301):
        height, width = generator.integers(32, 256, 2)
        model.enlarge(np.zeros((height, width, 3), np.uint8))
        if number % 100 == 0:
            used.append(psutil.Process().memory_info().rss)
    assert used[3] - used[1] < 60 << 20


@pytest.mark.slow
def test_openvino_runs_without_tensorflow_and_gives_the_same_images(
    run_job, tmp_path, photo, tiny_weights
):
    write_images(tmp_path / "in", {"a.png": photo[:90, :120], "b.png": photo[100:, 200:]})
    arguments = ["--input", f"{tmp_path}/in/*", "--weights", str(tiny_weights)]
    arguments += ["--engine_threads", "2"]
    script = (
        "import sys, run_pipeline\n"
        "code = run_pipeline.main(sys.argv[1:])\n"
        "print('imported:', sorted({'tensorflow', 'keras'} & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments, "--engine", "openvino",
         "--output", str(tmp_path / "fast"), "--comparisons", "none"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "imported: []" in done.stdout
    fast = pd.read_parquet(tmp_path / "fast/metrics").set_index("relative_path").sort_index()
    assert set(fast.engine) == {"openvino"}
    slow = run_job(*arguments, "--engine", "tensorflow", output=tmp_path / "slow")
    assert set(slow.rows.engine) == {"tensorflow"}
    figures = ["psnr_enhanced", "ssim_enhanced", "psnr_y_enhanced"]
    assert np.allclose(fast[figures], slow.rows[figures], atol=1e-3, rtol=0)
    for name in files_below(tmp_path / "in"):
        images = [
            np.int16(Image.open(tmp_path / out / "images" / name)) for out in ("fast", "slow")
        ]
        difference = np.abs(images[0] - images[1])
        assert difference.max() <= 1  # a code where the value lies at one half
        assert (difference > 0).mean() < 1e-3
