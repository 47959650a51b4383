"""Runs a network over a whole plane in tiles, in bounded memory.

A tile carries a halo of the receptive field, so its inner part equals the result for the whole
picture. At the picture's edges the network meets the edge itself, as it would on the whole picture;
pixels beyond it that the requested border needs are padded: by replication, as published, or for
networks with a residual by mirroring, since the small picture of a mirrored image is the mirrored
small picture (0.02 dB more on Set5, 0.06 on Set14).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from srcnn.architectures import Architecture
from srcnn.colour import unit_range
from srcnn.engines.base import Engine

# A tile's data between the layers are about a processor's cache; smaller ones are mostly halo.
DEFAULT_TILE = 256


@dataclass(frozen=True)
class Frame:
    """How the output of a network lies on its input plane; all in input pixels.

    Attributes:
      pad: pixels to add on each side of the input.
      crop: pixels to drop on each side of the network's output.
      halo: pixels that an inner tile must see beyond those that the valid layers consume.
    """

    pad: int
    crop: int
    halo: int


@dataclass(frozen=True)
class _Tile:
    """The part of a plane for one call: its input, the part of the result to keep, and its place.

    Input ranges are in plane coordinates and may reach beyond the edge.
    """

    top: int
    bottom: int
    left: int
    right: int
    keep: tuple[slice, slice]
    target: tuple[slice, slice]


def frame_of(architecture: Architecture, shave: int) -> Frame:
    """The frame for an output that lacks `shave` input pixels on each side.

    Where the network's own border is no wider than the shave it runs exactly as published, without
    padding. Otherwise the input is padded as far as the receptive field reaches, so that no pixel
    sees a layer's zero padding.
    """
    pad = 0 if architecture.margin <= shave else architecture.radius - shave
    return Frame(
        pad=pad,
        crop=pad + shave - architecture.margin,
        halo=architecture.radius - architecture.margin,
    )


def run_tiled(
    engine: Engine, plane: np.ndarray, shave: int = 0, tile: int = DEFAULT_TILE
) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Runs the network over a plane, tile by tile.

    Args:
      engine: the network.
      plane: (h, w) luma or (h, w, planes): uint8 or uint16 codes, or floating point in [0, 1].
      shave: output pixels to leave out on each side.
      tile: about the largest side of a tile in input pixels, without what it sees beyond.

    Yields:
      (where in the output, float32 values nominally in [0, 1]); together they cover the output
      once, which is (h * upscale - 2 * shave, w * upscale - 2 * shave[, planes]). Values are not
      clipped.
    """
    mirrored = engine.architecture.residual
    for piece in _plan(plane.shape[:2], engine, shave, tile):
        # One at a time: on some processors the last bits depend on the rest of a batch.
        window = _window(plane, piece, mirrored)
        (result,) = engine.run(window.reshape(1, *window.shape[:2], -1))
        yield piece.target, result.reshape(*result.shape[:2], *plane.shape[2:])[piece.keep]


def _plan(shape: tuple[int, int], engine: Engine, shave: int, tile: int) -> Iterator[_Tile]:
    columns = list(_spans(shape[1], engine, shave, tile))
    for top, bottom, keep_rows, target_rows in _spans(shape[0], engine, shave, tile):
        for left, right, keep_columns, target_columns in columns:
            yield _Tile(
                top, bottom, left, right,
                (keep_rows, keep_columns), (target_rows, target_columns),
            )  # fmt: skip


def _spans(
    length: int, engine: Engine, shave: int, tile: int
) -> Iterator[tuple[int, int, slice, slice]]:
    """Cuts one dimension: (input start, input end, slice of the result to keep, its place)."""
    architecture = engine.architecture
    scale, margin = architecture.upscale, architecture.margin
    # Whole input pixels of the shave are not computed; the rest is cut off the outermost tiles.
    outer, rest = divmod(shave, scale)
    frame = frame_of(architecture, outer)
    lowest, highest = -frame.pad, length + frame.pad
    total = length - 2 * outer
    pieces = -(-total // tile)
    end = 0
    # Of about one size: a sliver would be mostly halo.
    for index in range(1, pieces + 1):
        start, end = end, total * index // pieces
        if not frame.halo and index < pieces:  # the last one gets what others lack
            beyond = (end - start + 2 * margin) % engine.side_multiple
            end -= beyond if beyond < end - start else 0
        # The result for input pixel o lies at o + outer and sees `margin` beyond it through the
        # valid layers; the halo beyond that exists only inside the (padded) picture.
        first = max(lowest, start + outer - margin - frame.halo)
        last = min(highest, end + outer + margin + frame.halo)
        if not frame.halo:
            last += -(last - first) % engine.side_multiple  # nothing that is kept sees these
        begin, stop = max(start * scale, rest), min(end * scale, total * scale - rest)
        if begin < stop:
            skip = (first + margin - outer) * scale
            yield first, last, slice(begin - skip, stop - skip), slice(begin - rest, stop - rest)


def _window(plane: np.ndarray, piece: _Tile, mirrored: bool) -> np.ndarray:
    """float32 window of planes, scaled to [0, 1], continued beyond the edges."""
    height, width = plane.shape[:2]
    rows = _places(piece.top, piece.bottom, height, mirrored)
    columns = _places(piece.left, piece.right, width, mirrored)
    return unit_range(plane[rows][:, columns])


def _places(start: int, stop: int, length: int, mirrored: bool) -> slice | np.ndarray:
    """The places of the pixels of a range, which may reach beyond the plane."""
    if start >= 0 and stop <= length:
        return slice(start, stop)
    positions = np.arange(start, stop)
    if not mirrored:
        return positions.clip(0, length - 1)
    positions %= 2 * length
    return np.minimum(positions, 2 * length - 1 - positions)
