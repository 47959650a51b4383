"""The end of a network outside its graph: last sums, pixel shuffle and residual, in one pass.

The graph's own operations would each write the whole tile to memory: a tenth of the time of a small
network, and as much again for a last layer of few filters, see last_filters.
"""

import numpy as np

from srcnn.architectures import Architecture
from srcnn.compiled import compiled

# Filters that a vector instruction computes together, needed or not.
_LANES = 16


def last_filters(kernel: np.ndarray) -> np.ndarray:
    """The filters by which a convolution gives the terms that `assembled` adds up.

    A layer of few filters would leave most of a vector unused. So the rows of its kernel become
    filters of one row each, and `assembled` adds their results.

    Args:
      kernel: of the last layer, (rows, columns, inputs, filters).

    Returns:
      (filters, inputs, rows, columns), or (rows * filters, inputs, 1, columns).
    """
    rows, columns, inputs, filters = kernel.shape
    if rows * filters > _LANES:
        return kernel.transpose(3, 2, 0, 1)
    return kernel.transpose(0, 3, 2, 1).reshape(rows * filters, inputs, 1, columns)


def assembled(
    terms: np.ndarray, bias: np.ndarray, batch: np.ndarray, architecture: Architecture
) -> np.ndarray:
    """The network's output.

    Args:
      terms: float32 (n, rows * filters, h + rows - 1, w), by the filters of last_filters.
      bias: float32 (filters,), of the last layer.
      batch: float32, the network's input; see Engine.run.
      architecture: of the network.

    Returns:
      float32 (n, h * upscale, w * upscale, planes).
    """
    upscale, planes = architecture.upscale, architecture.planes
    count, channels, height, width = terms.shape
    height -= channels // bias.size - 1
    result = np.empty((count, height * upscale, width * upscale * planes), np.float32)
    margin = architecture.margin if architecture.residual else -1
    for one, image, source in zip(result, terms, batch, strict=True):
        _assemble(one, image, bias, source.reshape(len(source), -1), upscale, planes, margin)
    return result.reshape(count, height * upscale, width * upscale, planes)


@compiled
def _assemble(result, terms, bias, source, upscale, planes, margin):
    """Fills a result (h * upscale, w * upscale * planes); without a residual, margin is -1.

    Filter (dy * upscale + dx) * planes + p gives plane p of the pixels dy below and dx right of the
    first of their small pixel.
    """
    width = terms.shape[2]
    sums = np.empty(width, np.float32)
    step = upscale * planes
    for y in range(result.shape[0] // upscale):
        for number in range(bias.size):
            first, offset = terms[number, y], bias[number]
            for x in range(width):
                sums[x] = first[x] + offset
            for row in range(1, terms.shape[0] // bias.size):
                further = terms[row * bias.size + number, y + row]
                for x in range(width):
                    sums[x] += further[x]
            if margin >= 0:
                inner = source[y + margin, margin * planes + number % planes :]
                for x in range(width):
                    sums[x] += inner[x * planes]
            target = result[y * upscale + number // step, number % step :]
            for x in range(width):
                target[x * step] = sums[x]
