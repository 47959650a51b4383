"""Alternatives to the job, for comparison.

    python -m benchmarks.peers tutorial --input 'photos/*' --output DIRECTORY --weights FILE

`tutorial` is the procedure of the SRCNN-in-Keras tutorials: the degraded images are written first;
for each the model is built and its weights are loaded, and scikit-image measures. `onnxruntime` and
`opencv` are good hand-written scripts: a process per core that keeps the network, on one thread
each; scikit-image measures. They degrade by bilinear interpolation, write the restored images and
a Parquet report of the headline figures; the scripts also those of luma, as the job does.
"""

import argparse
import glob
import multiprocessing
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pandas as pd
from onnx import TensorProto, helper, numpy_helper
from skimage.metrics import mean_squared_error, peak_signal_noise_ratio, structural_similarity

from srcnn.engines import cores
from srcnn.weights import Weights, load_weights

Row = dict[str, object]
Network = Callable[[np.ndarray], np.ndarray]


def tutorial(weights: Weights, paths: list[str], output: Path) -> list[Row]:
    """One image after the other, a new model for each."""
    from srcnn.network import build_network, set_tensors

    model = build_network(weights.card.architecture)
    set_tensors(model, weights.tensors)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        file = f"{directory}/model.weights.h5"
        model.save_weights(file)
        small = Path(directory) / "degraded"
        small.mkdir()
        for path in paths:
            _, degraded, _ = _prepared(path, weights.card.scale)
            cv2.imwrite(str(small / Path(path).name), degraded)
        for path in paths:
            model = build_network(weights.card.architecture)
            model.load_weights(file)
            margin = weights.card.architecture.margin
            inner = (slice(margin, -margin), slice(margin, -margin))
            original = cv2.imread(path, cv2.IMREAD_COLOR)
            degraded = cv2.imread(str(small / Path(path).name), cv2.IMREAD_COLOR)
            ycrcb = cv2.cvtColor(degraded, cv2.COLOR_BGR2YCrCb)
            luma = np.zeros((1, *ycrcb.shape[:2], 1), float)
            luma[0, :, :, 0] = ycrcb[:, :, 0].astype(float) / 255
            values = model.predict(luma, batch_size=1, verbose=0) * 255
            ycrcb = ycrcb[inner]
            ycrcb[:, :, 0] = np.clip(values, 0, 255).astype(np.uint8)[0, :, :, 0]
            restored = cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)
            pictures = (original[inner], degraded[inner], restored)
            rows.append({"path": path} | _figures(*pictures))
            cv2.imwrite(str(output / Path(path).name), restored)
    return rows


def onnx_file(weights: Weights, path: Path) -> Path:
    """Writes the network as an ONNX model of (1, 1, h, w) to (1, 1, h - 2 m, w - 2 m)."""
    nodes, constants, name = [], [], "luma"
    layers = weights.card.architecture.layers
    last = len(weights.tensors) - 1
    for index, (kernel, bias) in enumerate(weights.tensors):
        filters = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
        constants.append(numpy_helper.from_array(filters, f"kernel{index}"))
        constants.append(numpy_helper.from_array(bias, f"bias{index}"))
        inputs = [name, f"kernel{index}", f"bias{index}"]
        name = f"conv{index}"
        pads = [layers[index].radius if layers[index].padding == "same" else 0] * 4
        nodes.append(
            helper.make_node("Conv", inputs, [name], kernel_shape=kernel.shape[:2], pads=pads)
        )
        if index < last:
            nodes.append(helper.make_node("Relu", [name], [f"relu{index}"]))
            name = f"relu{index}"
    plane = (TensorProto.FLOAT, [1, 1, "height", "width"])
    graph = helper.make_graph(
        nodes,
        "srcnn",
        [helper.make_tensor_value_info("luma", *plane)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, "h", "w"])],
        constants,
    )
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10, producer_name="srcnn"
    )
    onnx.save(model, str(path))
    return path


def by_onnxruntime(path: Path) -> Network:
    """The network on one thread of ONNX Runtime."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    return lambda luma: session.run(None, {"luma": luma})[0]


def by_opencv(path: Path) -> Network:
    """The network on one thread of OpenCV's dnn module."""
    net = cv2.dnn.readNetFromONNX(str(path))

    def run(luma: np.ndarray) -> np.ndarray:
        net.setInput(luma)
        return net.forward()

    return run


NETWORKS = {"onnxruntime": by_onnxruntime, "opencv": by_opencv}


def script(engine: str, weights: Weights, paths: list[str], output: Path) -> list[Row]:
    """Images side by side, in a process per core that keeps its network."""
    with tempfile.TemporaryDirectory() as directory:
        file = onnx_file(weights, Path(directory) / "network.onnx")
        card = weights.card
        arguments = (engine, file, card.scale, card.architecture.margin, output)
        with multiprocessing.get_context("spawn").Pool(cores(), _start, arguments) as pool:
            return list(pool.imap_unordered(_restore, paths))


_state: tuple = ()


def _start(engine: str, file: Path, scale: int, margin: int, output: Path) -> None:
    global _state
    cv2.setNumThreads(1)
    _state = (NETWORKS[engine](file), scale, margin, output)


def _restore(path: str) -> Row:
    network, scale, margin, output = _state
    original, degraded, ycrcb = _prepared(path, scale)
    luma = np.pad(np.float32(ycrcb[..., 0]) / 255, margin, mode="edge")
    values = network(luma[np.newaxis, np.newaxis])[0, 0]
    ycrcb[..., 0] = np.clip(np.rint(values * 255), 0, 255)
    restored = cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR)
    cv2.imwrite(str(output / Path(path).name), restored)
    lumas = [
        cv2.cvtColor(image, cv2.COLOR_BGR2YCrCb)[..., 0] for image in (original, degraded, restored)
    ]
    of_luma = {f"{name}_y": value for name, value in _figures(*lumas).items()}
    return {"path": path} | _figures(original, degraded, restored) | of_luma


def _prepared(path: str, scale: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Original and degraded image, BGR, and the degraded one's YCrCb."""
    original = cv2.imread(path, cv2.IMREAD_COLOR)
    height, width = original.shape[:2]
    small = cv2.resize(original, (width // scale, height // scale), interpolation=cv2.INTER_LINEAR)
    degraded = cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)
    return original, degraded, cv2.cvtColor(degraded, cv2.COLOR_BGR2YCrCb)


def _figures(original: np.ndarray, degraded: np.ndarray, restored: np.ndarray) -> Row:
    axis = 2 if original.ndim == 3 else None
    return {
        f"{name}_{which}": value
        for which, image in (("degraded", degraded), ("enhanced", restored))
        for name, value in (
            ("psnr", peak_signal_noise_ratio(original, image)),
            ("mse", mean_squared_error(original, image)),
            ("ssim", structural_similarity(original, image, channel_axis=axis)),
        )
    }


def main() -> int:
    """Runs one of the peers."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("peer", choices=("tutorial", *NETWORKS))
    parser.add_argument("--input", required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--weights", type=Path, required=True)
    options = parser.parse_args()
    weights, paths = load_weights(options.weights), sorted(glob.glob(options.input))
    options.output.mkdir(parents=True, exist_ok=True)
    if options.peer == "tutorial":
        rows = tutorial(weights, paths, options.output)
    else:
        rows = script(options.peer, weights, paths, options.output)
    pd.DataFrame(rows).to_parquet(options.output / "report.parquet")
    return 0


if __name__ == "__main__":
    sys.exit(main())
