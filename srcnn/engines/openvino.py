"""The fast engine for CPUs: OpenVINO, an optional extra. Imports no TensorFlow."""

import threading

import numpy as np
import openvino
from openvino import opset13

from srcnn.engines.base import Engine, cores
from srcnn.weights import Tensors


class OpenVinoEngine(Engine):
    """Runs the network as an OpenVINO model in float32.

    As many calls run side by side, each in a thread of its caller's, as `threads` goes into the
    cores.
    """

    name = "openvino"

    def _load(self, tensors: Tensors) -> None:
        self._compiled = openvino.Core().compile_model(
            self._model(tensors),
            "CPU",
            {
                "NUM_STREAMS": max(1, cores() // self.threads),
                "INFERENCE_NUM_THREADS": max(cores(), self.threads),
                # Otherwise every process of a machine would bind its threads to the same cores.
                "ENABLE_CPU_PINNING": False,
                # Otherwise processors that have bfloat16 would compute in it.
                "INFERENCE_PRECISION_HINT": "f32",
            },
        )
        self._of_thread = threading.local()

    def run(self, batch: np.ndarray) -> np.ndarray:
        # A request holds one call at a time.
        request = getattr(self._of_thread, "request", None)
        if request is None:
            request = self._of_thread.request = self._compiled.create_infer_request()
        # With one channel the orders (n, h, w, 1) and (n, 1, h, w) are the same in memory.
        batch = np.ascontiguousarray(batch, np.float32)
        request.infer([batch.reshape(len(batch), 1, *batch.shape[1:3])])
        result = request.get_output_tensor().data
        return result.reshape(len(result), *result.shape[2:], 1).copy()

    def _model(self, tensors: Tensors) -> openvino.Model:
        values = luma = opset13.parameter([-1, 1, -1, -1], np.float32, name="luma")
        last = len(self.architecture.layers) - 1
        for index, layer in enumerate(self.architecture.layers):
            kernel, bias = tensors[index]
            pad = [0, 0] if layer.padding == "valid" else [layer.radius, layer.radius]
            if layer.padding == "replicate":
                values = opset13.pad(values, [0, 0, *pad], [0, 0, *pad], "edge")
                pad = [0, 0]
            # Keras keeps (height, width, in, out), OpenVINO (out, in, height, width).
            filters = opset13.constant(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
            values = opset13.convolution(values, filters, [1, 1], pad, pad, [1, 1])
            values = opset13.add(values, opset13.constant(bias.reshape(1, -1, 1, 1)))
            if index < last:
                values = opset13.relu(values)
        return openvino.Model([values], [luma], self.architecture.name)
