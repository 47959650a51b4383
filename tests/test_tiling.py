"""Tiled restoration equals that of the whole plane, and both equal the network's definition."""

import numpy as np
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from support import (
    NumpyEngine,
    narrow,
    quick,
    random_image,
    random_tensors,
    random_weights,
    reference_network,
    restore_plane,
    stack,
)

from srcnn.architectures import ARCHITECTURES, Architecture, architecture_for
from srcnn.engines import Engine, create_engine
from srcnn.tiling import frame_of, run_tiled

WHOLE = 1 << 20

STACKS = {
    **{name: narrow(architecture_for(name, 2)) for name in ARCHITECTURES},
    "one-valid": stack((5, 1)),
    "one-same": stack((5, 1, "same")),
    "pointwise": stack((1, 2), (1, 1)),
    "valid-then-replicate": stack((5, 2), (3, 2, "replicate"), (3, 1)),
    "same-then-valid": stack((3, 2, "same"), (7, 1)),
    "mixed-paddings": stack((3, 2, "replicate"), (3, 2, "same"), (1, 1)),
}
SUBPIXEL = {
    f"{name}-x{scale}": architecture_for(name, scale)
    for name, scale in (
        ("subpixel-small", 3), ("subpixel-small", 4), ("photo-small", 1), ("photo-small", 3),
    )
}  # fmt: skip
STACKS |= {name: narrow(architecture) for name, architecture in SUBPIXEL.items()}
for _name in ("srcnn-915", "srcnn-955", "srcnn-935-128"):
    for _padding in ("replicate", "same"):
        STACKS[f"{_name}-{_padding}"] = STACKS[_name].padded(_padding)


def expected_output(engine: NumpyEngine, plane: np.ndarray, shave: int) -> np.ndarray:
    """The frame as documented in frame_of, from the definition of the network.

    A network with a residual runs on the plane continued by mirroring. One whose own border is no
    wider than the shave runs as published; otherwise the plane is continued so far that no pixel
    sees a layer's padding.
    """
    architecture = engine.architecture
    luma = np.float64(plane)
    if plane.dtype.kind == "u":
        luma /= np.iinfo(plane.dtype).max
    if architecture.margin <= shave and architecture.upscale == 1:
        result = reference_network(engine.tensors, architecture, luma)
        shave -= architecture.margin
    else:
        radius = architecture.radius
        beyond = ((radius, radius), (radius, radius), (0, 0))[: luma.ndim]
        padded = np.pad(luma, beyond, mode="symmetric" if architecture.residual else "edge")
        result = reference_network(engine.tensors, architecture.padded("valid"), padded)
    height, width = result.shape[:2]
    return result[shave : height - shave, shave : width - shave]


def engine_of(architecture: Architecture, seed: int = 0) -> NumpyEngine:
    return NumpyEngine(architecture, random_tensors(architecture, seed))


sides = st.one_of(st.integers(1, 48), st.sampled_from([1, 2, 3, 13, 17, 31, 37, 47]))
dtypes = st.sampled_from([np.uint8, np.uint16, np.float32])


def random_plane(engine: Engine, shape: tuple[int, int], dtype, seed: int) -> np.ndarray:
    """The input of the engine's network for a picture of a shape."""
    if engine.architecture.planes > 1:
        shape = (*shape, engine.architecture.planes)
    if dtype == np.float32:
        return np.random.default_rng(seed).random(shape, np.float32)
    return random_image(shape, dtype, seed)


@settings(quick, max_examples=12)
@pytest.mark.parametrize("name", STACKS)
@given(
    height=sides,
    width=sides,
    tile=st.integers(5, 50),
    shave=st.integers(0, 9),
    dtype=dtypes,
    seed=st.integers(0, 99),
)
@example(height=1, width=40, tile=16, shave=0, dtype=np.uint8, seed=0)
@example(height=43, width=1, tile=7, shave=0, dtype=np.uint8, seed=1)
@example(height=1, width=1, tile=1, shave=0, dtype=np.uint8, seed=2)
@example(height=9, width=11, tile=1, shave=2, dtype=np.uint16, seed=3)
@example(height=32, width=48, tile=16, shave=0, dtype=np.float32, seed=4)
@example(height=47, width=37, tile=16, shave=6, dtype=np.uint8, seed=5)
def test_tiled_and_whole_results_equal_the_reference(name, height, width, tile, shave, dtype, seed):
    upscale = STACKS[name].upscale
    assume(min(height, width) * upscale > 2 * shave)
    engine = engine_of(STACKS[name], seed)
    plane = random_plane(engine, (height, width), dtype, seed)
    tiled = restore_plane(engine, plane, shave, tile)
    whole = restore_plane(engine, plane, shave, WHOLE)
    assert tiled.shape[:2] == (height * upscale - 2 * shave, width * upscale - 2 * shave)
    assert tiled.dtype == np.float32
    np.testing.assert_allclose(tiled, whole, atol=2e-6)
    np.testing.assert_allclose(tiled, expected_output(engine, plane, shave), atol=2e-6)


@pytest.mark.parametrize("name", STACKS)
def test_every_pixel_is_produced_once(name):
    engine = engine_of(STACKS[name])
    height, width = (side * STACKS[name].upscale - 6 for side in (45, 33))
    given_pixels = np.zeros((height, width), int)
    plane = random_plane(engine, (45, 33), np.uint8, seed=0)
    for target, values in run_tiled(engine, plane, shave=3, tile=24):
        assert values.shape[:2] == given_pixels[target].shape
        given_pixels[target] += 1
    assert (given_pixels == 1).all()


@quick
@given(
    name=st.sampled_from(list(STACKS)),
    height=sides,
    width=sides,
    tile=st.integers(8, 40),
    shave=st.integers(0, 6),
)
def test_engine_calls_are_bounded_by_tile_and_halo(name, height, width, tile, shave):
    engine = engine_of(STACKS[name])
    plane = random_plane(engine, (height + 2 * shave, width + 2 * shave), np.uint8, seed=0)
    assert list(run_tiled(engine, plane, shave, tile))
    # The last tile of a row gets what others lack.
    bound = tile + engine.side_multiple - 1 + 2 * engine.architecture.radius
    for _, rows, columns in engine.calls:
        assert max(rows, columns) <= bound + -bound % engine.side_multiple


def test_only_the_last_tile_of_a_row_computes_pixels_for_the_shape_alone():
    engine = engine_of(stack((3, 1)))
    list(run_tiled(engine, random_image((30, 143)), tile=50))
    seen = [columns - 2 * engine.architecture.radius for _, _, columns in engine.calls]
    assert len(seen) == 3
    assert sum(seen) - 143 < engine.side_multiple


def test_pictures_of_nearly_one_size_need_one_shape_of_the_engine():
    engine = engine_of(stack((3, 1)))
    for height, width in ((37, 46), (40, 39), (46, 46)):
        list(run_tiled(engine, random_image((height, width))))
    for height, width in ((37, 92), (92, 46)):  # in two tiles each
        list(run_tiled(engine, random_image((height, width)), tile=46))
    assert len(set(engine.calls)) == 1


def test_tiles_are_yielded_as_they_are_computed():
    engine = engine_of(stack((3, 1)))
    next(run_tiled(engine, random_image((50, 50)), tile=25))
    assert len(engine.calls) == 1


def test_values_are_not_clipped():
    engine = engine_of(stack((1, 1)))
    engine.tensors = ((np.full((1, 1, 1, 1), 3, np.float32), np.float32([-1])),)
    result = restore_plane(engine, np.array([[0, 255]], np.uint8))
    assert result.tolist() == [[-1, 2]]


@pytest.mark.parametrize(
    ("name", "radius", "margin"),
    [("srcnn-915", 6, 6), ("srcnn-935", 7, 7), ("srcnn-955", 8, 8), ("srcnn-935-128", 7, 6)],
)
def test_geometry_of_the_published_networks(name, radius, margin):
    architecture = architecture_for(name, 2)
    assert (architecture.radius, architecture.margin) == (radius, margin)
    assert architecture.padded("replicate").margin == 0


def test_border_of_six_needs_no_padding():
    """The middle layer's zero padding then shows, as in the published figures."""
    frame = frame_of(architecture_for("srcnn-935-128", 2), 6)
    assert (frame.pad, frame.crop) == (0, 0)
    assert frame_of(architecture_for("srcnn-935-128", 2), 0).pad == 7


@pytest.mark.parametrize("engine_name", ["openvino", "tensorflow"])
@pytest.mark.parametrize(
    "name", [*ARCHITECTURES, "srcnn-955-replicate", "srcnn-915-same", *SUBPIXEL]
)
def test_engines_equal_the_reference_network(name, engine_name):
    pytest.importorskip(engine_name)

    base, _, padding = name.rpartition("-")
    if name in SUBPIXEL:
        architecture = SUBPIXEL[name]
    elif name in ARCHITECTURES:
        architecture = architecture_for(name, 2)
    else:
        architecture = architecture_for(base, 2).padded(padding)
    weights = random_weights(architecture, seed=7)
    engine = create_engine(engine_name, weights)
    plane = random_plane(engine, (31, 45), np.uint8, seed=8)
    reference = NumpyEngine(architecture, weights.tensors)
    for shave in (0, 6):
        expected = expected_output(reference, plane, shave)
        for tile in (16, WHOLE):
            result = restore_plane(engine, plane, shave, tile)
            np.testing.assert_allclose(result, expected, atol=1e-4)
    # Batches of unpadded input, as the interface requires.
    batch = np.random.default_rng(9).random((2, 24, 27, architecture.planes), np.float32)
    assert engine.run(batch).shape == reference.run(batch).shape
    np.testing.assert_allclose(engine.run(batch), reference.run(batch), atol=1e-4)
