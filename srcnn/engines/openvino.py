"""The fast engine for CPUs: OpenVINO, an optional extra. Imports no TensorFlow."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

# Importing it would fork a process that reports the use to its makers: from a process with
# threads, and without the consent of the machine's owner.
_asked = sys.modules.setdefault("openvino_telemetry", None)
import openvino  # noqa: E402
from openvino import opset13  # noqa: E402

if _asked is None:
    del sys.modules["openvino_telemetry"]

from srcnn.architectures import ConvLayer  # noqa: E402
from srcnn.engines.base import Engine  # noqa: E402
from srcnn.engines.last_layer import assembled, last_filters  # noqa: E402
from srcnn.isolated import Tensors  # noqa: E402


class RequestPool:
    """A network as compiled models of one stream, one for each call that runs at the same time.

    With one thread such a model computes in its caller's. One model of several streams would hand
    every call over to another thread, which made a call by itself a fifth slower and lost more
    where others were busy.

    Args:
      network: the network.
      threads: of one call.
    """

    def __init__(self, network: openvino.Model, threads: int):
        self._core, self._network = openvino.Core(), network
        self._settings = {
            "NUM_STREAMS": 1,
            "INFERENCE_NUM_THREADS": threads,
            # Otherwise every process of a machine would bind its threads to the same cores.
            "ENABLE_CPU_PINNING": False,
            # Otherwise processors that have bfloat16 would compute in it.
            "INFERENCE_PRECISION_HINT": "f32",
            # Entries of layers by input size, 90 kB each. The default of 5000 takes gigabytes
            # where every image has another size.
            "CPU_RUNTIME_CACHE_CAPACITY": 512,
        }
        self._idle = [self._request()]

    @contextmanager
    def infer(self, planes: np.ndarray) -> Iterator[np.ndarray]:
        """The network's output for float32 (n, planes, h, w), contiguous.

        It is a view of memory that later calls overwrite: use it within the context.
        """
        try:
            request = self._idle.pop()  # of a list, which threads may do
        except IndexError:
            request = self._request()
        try:
            yield request.infer(planes, share_inputs=True, share_outputs=True)[0]
        finally:
            self._idle.append(request)

    def _request(self) -> openvino.InferRequest:
        compiled = self._core.compile_model(self._network, "CPU", self._settings)
        return compiled.create_infer_request()


class OpenVinoEngine(Engine):
    """Runs the network as an OpenVINO model in float32; see RequestPool."""

    name = "openvino"
    # A new shape takes longer than a thumbnail itself, a third of the time of 0.6 megapixels.
    side_multiple = 12

    def _load(self, tensors: Tensors) -> None:
        self._pool = RequestPool(self._model(tensors), self.threads)

    def run(self, batch: np.ndarray) -> np.ndarray:
        # With one plane this copies nothing: (n, h, w, 1) and (n, 1, h, w) are the same in memory.
        planes = np.ascontiguousarray(batch.transpose(0, 3, 1, 2), np.float32)
        with self._pool.infer(planes) as terms:
            return assembled(terms, self._bias, batch, self.architecture)

    def _model(self, tensors: Tensors) -> openvino.Model:
        """The network up to the products of its last layer, which `assembled` puts together."""
        planes = self.architecture.planes
        values = inputs = opset13.parameter([-1, planes, -1, -1], np.float32, name="planes")
        for layer, (kernel, bias, *slopes) in zip(
            self.architecture.layers[:-1], tensors[:-1], strict=True
        ):
            values = _biased(_convolved(_padded(values, layer), kernel.transpose(3, 2, 0, 1)), bias)
            values = (
                opset13.prelu(values, opset13.constant(slopes[0].ravel()))
                if slopes
                else opset13.relu(values)
            )
        kernel, self._bias = tensors[-1]
        values = _padded(values, self.architecture.layers[-1])
        end = _convolved(values, last_filters(kernel))
        return openvino.Model([end], [inputs], self.architecture.name)


def _biased(values: openvino.Output, bias: np.ndarray) -> openvino.Output:
    return opset13.add(values, opset13.constant(bias.reshape(1, -1, 1, 1)))


def _padded(values: openvino.Output, layer: ConvLayer) -> openvino.Output:
    if layer.padding == "valid" or not layer.radius:
        return values
    beyond = [0, 0, layer.radius, layer.radius]
    if layer.padding == "replicate":
        return opset13.pad(values, beyond, beyond, "edge")
    return opset13.pad(values, beyond, beyond, "constant", np.float32(0))


def _convolved(values: openvino.Output, filters: np.ndarray) -> openvino.Output:
    filters = opset13.constant(np.ascontiguousarray(filters))
    return opset13.convolution(values, filters, [1, 1], [0, 0], [0, 0], [1, 1])
