"""Weights files: round trip, refusals by name, choice; importers for published layouts."""

import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from pydantic import ValidationError
from scipy.signal import correlate2d
from support import card_fields, random_tensors, reference_network, stack

from srcnn import convert
from srcnn.architectures import ARCHITECTURES, Architecture, architecture_for
from srcnn.errors import EngineError, WeightsError
from srcnn.importers import match_architecture, read_keras1, read_matlab
from srcnn.weights import (
    ModelCard,
    Weights,
    card_path,
    choose_weights,
    list_weights,
    load_weights,
    parse_weights,
    save_weights,
)

# The isolation is tested in tests/test_hostile_inputs.py.
pytestmark = pytest.mark.usefixtures("parsing_here")

SMALL = stack((5, 3), (3, 2, "same"), (3, 1))
FIRST_KERNEL = "layers/conv2d/vars/0"


def assert_same_tensors(found, expected):
    for pair, expected_pair in zip(found, expected, strict=True):
        for array, expected_array in zip(pair, expected_pair, strict=True):
            assert array.dtype == np.float32
            np.testing.assert_array_equal(array, expected_array)


@pytest.fixture
def saved(tmp_path) -> Path:
    """A good weights file."""
    return save_weights(tmp_path, random_tensors(SMALL), **card_fields(SMALL))


def edit_card(path: Path, **changes) -> None:
    card = json.loads(card_path(path).read_text())
    card_path(path).write_text(json.dumps(card | changes))


def sign(path: Path) -> None:
    """Makes the card's hash that of the file as it is now."""
    edit_card(path, sha256=hashlib.sha256(path.read_bytes()).hexdigest())


def edit_tensors(path: Path, edit) -> None:
    """Changes the file's content and its hash, so that only the content is wrong."""
    with h5py.File(path, "r+") as file:
        edit(file)
    sign(path)


# Round trip.


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_round_trip(tmp_path, name):
    architecture = architecture_for(name, 2)
    tensors = random_tensors(architecture, seed=3)
    fields = card_fields(
        architecture, chroma_taps=(1.2, -0.1), training={"steps": 7}, figures={"psnr": 30.5},
        degrade=("shrink jpeg=30..90",),
    )  # fmt: skip
    path = save_weights(tmp_path / "new" / "directory", tensors, **fields)
    assert path.name == "small_x2_bicubic.weights.h5"
    weights = load_weights(str(path))
    assert_same_tensors(weights.tensors, tensors)
    assert weights.card.architecture == architecture
    assert weights.card.model_dump(exclude={"architecture", "sha256"}) == {
        key: value for key, value in fields.items() if key != "architecture"
    }
    assert weights.card.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert str(weights.card.degradation) == "x2 bicubic (opencv)"
    assert {entry.name for entry in path.parent.iterdir()} == {path.name, card_path(path).name}


def test_saving_casts_to_float32_and_is_reproducible(tmp_path):
    tensors = random_tensors(SMALL)
    doubles = tuple((np.float64(kernel), np.float64(bias)) for kernel, bias in tensors)
    first = save_weights(tmp_path / "a", tensors, **card_fields(SMALL))
    second = save_weights(tmp_path / "b", doubles, **card_fields(SMALL))
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    "architecture",
    [SMALL.padded("valid"), SMALL.padded("replicate"), architecture_for("subpixel-small", 3)],
)
def test_keras_loads_the_weights_file(tmp_path, architecture):
    from srcnn.network import build_network

    tensors = random_tensors(architecture)
    path = save_weights(tmp_path, tensors, **card_fields(architecture))
    model = build_network(architecture)
    model.load_weights(path)
    assert_same_tensors([model.get_weights()], [[array for layer in tensors for array in layer]])
    plane = np.random.default_rng(1).random((19, 23), np.float32)
    expected = reference_network(tensors, architecture, plane)
    output = model.predict(plane[np.newaxis, ..., np.newaxis], verbose=0)
    np.testing.assert_allclose(output[0, ..., 0], expected, atol=1e-5)


def test_saving_refuses_tensors_that_do_not_fit(tmp_path):
    tensors = random_tensors(stack((5, 3), (3, 1)))
    with pytest.raises(WeightsError, match="do not fit small"):
        save_weights(tmp_path, tensors, **card_fields(SMALL))
    assert not list(tmp_path.iterdir())


def test_unknown_engine_is_refused(saved):
    from srcnn.engines import create_engine

    with pytest.raises(EngineError, match="'abacus'.*tensorflow"):
        create_engine("abacus", load_weights(saved))


# Refusals. Each names the file and the fault.


def remove_file(path):
    path.unlink()


def remove_card(path):
    card_path(path).unlink()


def make_card_a_directory(path):
    card_path(path).unlink()
    card_path(path).mkdir()


def truncate(path):
    path.write_bytes(path.read_bytes()[:-200])


def empty(path):
    path.write_bytes(b"")


def replace_by_text(path):
    path.write_text("version https://git-lfs.github.com/spec/v1\n")
    sign(path)


def flip_a_bit_of_a_weight(path):
    content = bytearray(path.read_bytes())
    with h5py.File(path) as file:
        content[file[FIRST_KERNEL].id.get_offset()] ^= 1
    path.write_bytes(content)


def give_another_hash(path):
    edit_card(path, sha256="ab" * 32)


def grow(path):
    with path.open("r+b") as file:
        file.truncate(257 * 1024 * 1024)  # sparse


FILE_DAMAGE = {
    remove_file: "no such weights file",
    remove_card: "no model card",
    make_card_a_directory: "cannot read the model card",
    truncate: "sha256 .* cut short",
    empty: "not HDF5: an empty file",
    replace_by_text: "not HDF5: a Git LFS pointer",
    flip_a_bit_of_a_weight: "sha256",
    give_another_hash: "sha256 .* is not the abababababab",
    grow: "larger than 1,05[0-9],[0-9]{3} bytes",
}


@pytest.mark.parametrize(("damage", "message"), FILE_DAMAGE.items())
def test_damaged_files_are_refused(saved, damage, message):
    load_weights(saved)
    damage(saved)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(saved)
    assert str(caught.value).startswith((str(saved), str(card_path(saved))))


def replace(name, value):
    def edit(file):
        del file[name]
        file[name] = value

    return edit


def delete(name):
    def edit(file):
        del file[name]

    return edit


def set_value(value):
    def edit(file):
        file[FIRST_KERNEL][0, 0, 0, 0] = value

    return edit


def add_layer(file):
    file["layers/conv2d_3/vars/0"] = np.zeros((1, 1, 1, 1), np.float32)


CONTENT_DAMAGE = {
    "missing tensor": (delete("layers/conv2d_1/vars/1"), "conv2d_1/vars/1 is missing"),
    "missing layer": (delete("layers/conv2d_2"), "holds 2 convolutions, small has 3"),
    "extra layer": (add_layer, "holds 4 convolutions, small has 3"),
    "no layers": (delete("layers"), "holds 0 convolutions"),
    "layers an array": (replace("layers", np.zeros(3)), "holds 0 convolutions"),
    "layers a number": (replace("layers", 3.0), "holds 0 convolutions"),
    "shape": (replace(FIRST_KERNEL, np.zeros((5, 5, 3, 1), "f4")), r"is float32 \(5, 5, 3, 1\)"),
    "double": (replace(FIRST_KERNEL, np.zeros((5, 5, 1, 3))), "is float64"),
    "big-endian": (replace(FIRST_KERNEL, np.zeros((5, 5, 1, 3), ">f4")), "is >f4"),
    "integers": (replace(FIRST_KERNEL, np.zeros((5, 5, 1, 3), "i4")), "is int32"),
    "text": (replace(FIRST_KERNEL, "hello"), "needed: float32"),
    "not a number": (set_value(np.nan), "not finite"),
    "infinite": (set_value(-np.inf), "not finite"),
    "soft layer": (replace("layers/conv2d_2", h5py.SoftLink("/layers/conv2d")), "is a link"),
    "external layers": (
        replace("layers", h5py.ExternalLink("other.h5", "/layers")),
        "holds 0 convolutions",
    ),
}


@pytest.mark.parametrize(("edit", "message"), CONTENT_DAMAGE.values(), ids=CONTENT_DAMAGE)
def test_content_that_does_not_fit_the_card_is_refused(saved, edit, message):
    # The target of the links exists and fits: following them would go unnoticed.
    shutil.copy(saved, saved.with_name("other.h5"))
    edit_tensors(saved, edit)
    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(saved)
    assert str(caught.value).startswith(str(saved))


def test_damage_anywhere_raises_weights_error(saved):
    """Whatever h5py raises on a damaged file, the caller gets a WeightsError."""
    content = saved.read_bytes()
    generator = np.random.default_rng(0)
    refused = 0
    for position in generator.integers(0, len(content), 60):
        damaged = bytearray(content)
        damaged[position] ^= int(generator.integers(1, 256))
        saved.write_bytes(damaged)
        with pytest.raises(WeightsError):
            load_weights(saved)
        try:  # in this process, which is quick
            parse_weights(saved, bytes(damaged), SMALL.model_dump_json())
        except WeightsError:
            refused += 1
    assert refused


HOSTILE_CARDS = {
    "unknown key": ({"run": "rm -rf /"}, "run"),
    "unknown key of a layer": (
        {"architecture": {"name": "x", "layers": [{"kernel": 3, "filters": 1, "url": "x"}]}},
        "url",
    ),
    "huge kernel": (
        {"architecture": {"name": "x", "layers": [{"kernel": 99999, "filters": 1}]}},
        r"architecture\.layers\.0\.kernel",
    ),
    "even kernel": (
        {"architecture": {"name": "x", "layers": [{"kernel": 4, "filters": 1}]}},
        "even",
    ),
    "many filters": (
        {"architecture": {"name": "x", "layers": [{"kernel": 3, "filters": 10**9}]}},
        "filters",
    ),
    "no layers": ({"architecture": {"name": "x", "layers": []}}, "layers"),
    "two outputs": (
        {"architecture": {"name": "x", "layers": [{"kernel": 3, "filters": 2}]}},
        "the output needs 1",
    ),
    "unknown padding": (
        {
            "architecture": {
                "name": "x",
                "layers": [{"kernel": 3, "filters": 1, "padding": "reflect"}],
            }
        },
        "padding",
    ),
    "a path for a name": ({"name": "../../evil"}, "name"),
    "scale": ({"scale": 0}, "scale"),
    "huge scale": ({"scale": 10**6}, "scale"),
    "protocol": ({"protocol": "pillow"}, "protocol"),
    "short hash": ({"sha256": "abc"}, "sha256"),
    "taps that change an even colour": ({"chroma_taps": [1.2, -0.2]}, "does not sum to 1"),
    "a huge tap": ({"chroma_taps": [2e9 + 1, -1e9]}, "chroma_taps"),
    "a huge filter": ({"chroma_taps": [1.0] + [0.0] * 16}, "chroma_taps"),
}


@pytest.mark.parametrize(("changes", "message"), HOSTILE_CARDS.values(), ids=HOSTILE_CARDS)
def test_impossible_cards_are_refused(saved, changes, message):
    edit_card(saved, **changes)
    with pytest.raises(WeightsError, match=f"bad model card: .*{message}") as caught:
        load_weights(saved)
    assert str(caught.value).startswith(str(card_path(saved)))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"[]", b"null", b"{}", b'{"a":' * 9999, b"not JSON"]
)
def test_unparsable_cards_are_refused(saved, content):
    card_path(saved).write_bytes(content)
    with pytest.raises(WeightsError, match="bad model card"):
        load_weights(saved)


def test_card_for_another_network_is_refused(saved):
    edit_card(saved, architecture=stack((5, 3), (3, 2), (5, 1)).model_dump(mode="json"))
    with pytest.raises(WeightsError, match="conv2d_2/vars/0 is float32"):
        load_weights(saved)


@pytest.mark.parametrize("name", ["weights.h5", "a.h5", "a.keras", "a.weights.h5.txt", "a.mat"])
def test_other_suffixes_are_refused_naming_the_importer(tmp_path, name):
    with pytest.raises(WeightsError, match=r"\.weights\.h5.*srcnn\.convert"):
        load_weights(tmp_path / name)


# Choice.


@pytest.fixture
def shelf(tmp_path) -> Path:
    """A directory of several weights files."""
    for name, scale, kernel, protocol in (
        ("one_x2_bicubic", 2, "bicubic", "opencv"),
        ("one_x2_bilinear", 2, "bilinear", "opencv"),
        ("one_x3_bicubic", 3, "bicubic", "opencv"),
        ("one_x2_bicubic_matlab", 2, "bicubic", "matlab"),
        ("two_x2_bicubic", 2, "bicubic", "opencv"),
    ):
        architecture = stack((3, 1), name=name[:3])
        fields = card_fields(architecture, name=name, scale=scale, kernel=kernel, protocol=protocol)
        save_weights(tmp_path, random_tensors(architecture), **fields)
    return tmp_path


@pytest.mark.parametrize(
    ("model", "scale", "kernel", "protocol", "chosen"),
    [
        ("one", 2, "bicubic", "opencv", "one_x2_bicubic"),
        ("one", 2, "bilinear", "opencv", "one_x2_bilinear"),
        ("one", 3, "bicubic", "opencv", "one_x3_bicubic"),
        ("one", 2, "bicubic", "matlab", "one_x2_bicubic_matlab"),
        ("two", 2, "bicubic", "opencv", "two_x2_bicubic"),
        # A full name is used whatever the run does.
        ("one_x3_bicubic", 2, "bilinear", "matlab", "one_x3_bicubic"),
    ],
)
def test_weights_are_chosen_by_degradation_or_by_name(
    shelf, model, scale, kernel, protocol, chosen
):
    path = choose_weights(shelf, [model], scale, kernel, protocol)
    assert path == shelf / f"{chosen}.weights.h5"
    assert load_weights(path).card.name == chosen


@pytest.mark.parametrize(
    ("model", "scale", "kernel", "protocol"),
    [
        ("one", 4, "bicubic", "opencv"),
        ("one", 2, "area", "opencv"),
        ("one", 3, "bicubic", "matlab"),
        ("three", 2, "bicubic", "opencv"),
        ("one_x2", 2, "bicubic", "opencv"),
    ],
)
def test_missing_choice_lists_the_existing_weights(shelf, model, scale, kernel, protocol):
    with pytest.raises(WeightsError) as caught:
        choose_weights(shelf, [model], scale, kernel, protocol)
    message = str(caught.value)
    assert f"no weights for model {model!r}, x{scale}, {kernel}, protocol {protocol}" in message
    for card in list_weights(shelf).values():
        assert f"{card.name} ({card.protocol})" in message


def test_empty_directory_of_weights_is_reported(tmp_path):
    with pytest.raises(WeightsError, match="there are: none"):
        choose_weights(tmp_path, ["srcnn-955"], 2, "bicubic", "opencv")


def test_cards_are_listed_by_name_without_unfinished_files(shelf):
    (shelf / ".half.weights.h5").write_bytes(b"")
    names = [card.name for card in list_weights(shelf).values()]
    assert names == sorted(names) and len(names) == 5


# Importers.


def write_keras1(path: Path, tensors) -> None:
    """The layout of Keras 1's save_weights: kernels HWIO, activations without weights."""
    with h5py.File(path, "w") as file:
        names = []
        for index, (kernel, bias) in enumerate(tensors, 1):
            layer = f"convolution2d_{index}"
            group = file.create_group(layer)
            group[f"{layer}_W:0"] = kernel
            group[f"{layer}_b:0"] = bias
            group.attrs["weight_names"] = np.array([f"{layer}_W:0", f"{layer}_b:0"], "S")
            activation = f"activation_{index}"
            file.create_group(activation).attrs["weight_names"] = np.zeros(0, "S1")
            names += [layer.encode(), activation.encode()]
        file.attrs["layer_names"] = np.array(names)


def write_matlab(path: Path, tensors, **changes) -> None:
    """The authors' layout: each filter's values column by column, as MATLAB's (:) lists them."""
    content = {}
    for index, (kernel, bias) in enumerate(tensors, 1):
        height, width, inputs, outputs = kernel.shape
        filters = np.empty((inputs, height * width, outputs))
        for i in range(inputs):
            for o in range(outputs):
                filters[i, :, o] = kernel[:, :, i, o].flatten(order="F")
        if inputs == 1:
            filters = filters[0]
        elif outputs == 1:
            filters = filters[..., 0]
        content[f"weights_conv{index}"] = filters
        content[f"biases_conv{index}"] = np.float64(bias)[:, np.newaxis]
    content |= changes
    scipy.io.savemat(path, {key: value for key, value in content.items() if value is not None})


def read_with(reader, path: Path):
    return reader(path, path.read_bytes())


def test_keras_1_layout_is_imported(tmp_path):
    tensors = random_tensors(architecture_for("srcnn-935-128", 2))
    write_keras1(tmp_path / "k.h5", tensors)
    assert_same_tensors(read_with(read_keras1, tmp_path / "k.h5"), tensors)


@pytest.mark.parametrize("name", ["srcnn-915", "srcnn-935", "srcnn-955"])
def test_matlab_layout_is_imported(tmp_path, name):
    tensors = random_tensors(architecture_for(name, 2))
    write_matlab(tmp_path / "m.mat", tensors)
    found = read_with(read_matlab, tmp_path / "m.mat")
    assert_same_tensors(found, tensors)
    assert match_architecture(found) == architecture_for(name, 2)


def test_matlab_filters_are_read_column_major(tmp_path):
    """A filter that takes the pixel to the upper right: row 0, column 2 of 3 x 3."""
    weights = {
        "weights_conv1": np.zeros((9, 1)),
        "weights_conv2": np.ones((1, 1, 1)),
        "weights_conv3": np.ones((1, 1)),
        **{f"biases_conv{i}": np.zeros((1, 1)) for i in (1, 2, 3)},
    }
    weights["weights_conv1"][6] = 1  # column-major: column 2 begins at the seventh value
    # savemat drops trailing dimensions of 1, as MATLAB itself does; pad to two channels instead.
    weights["weights_conv1"] = np.hstack([weights["weights_conv1"], np.zeros((9, 1))])
    weights["weights_conv2"] = np.ones((2, 1, 2)) / 2
    weights["weights_conv3"] = np.ones((2, 1))
    weights["biases_conv1"] = weights["biases_conv2"] = np.zeros((2, 1))
    scipy.io.savemat(tmp_path / "m.mat", weights)
    tensors = read_with(read_matlab, tmp_path / "m.mat")
    plane = np.random.default_rng(0).random((7, 8))
    upper_right = np.array([[0, 0, 1], [0, 0, 0], [0, 0, 0]])
    expected = correlate2d(plane, upper_right, mode="valid")
    np.testing.assert_array_equal(expected, plane[:-2, 2:])
    result = reference_network(tensors, stack((3, 2), (1, 2), (1, 1)), plane)
    np.testing.assert_allclose(result, expected, atol=1e-7)


def not_hdf5(path):
    path.write_bytes(b"MATLAB 5.0 MAT-file, or so" * 20)


def modern_keras(path):
    saved = save_weights(path.parent, random_tensors(SMALL), **card_fields(SMALL))
    shutil.copy(saved, path)


def kernel_without_bias(path):
    write_keras1(path, random_tensors(SMALL))
    with h5py.File(path, "r+") as file:
        file["convolution2d_1"].attrs["weight_names"] = np.array([b"convolution2d_1_W:0"])


def names_a_number(path):
    with h5py.File(path, "w") as file:
        file.attrs["layer_names"] = 3


def bias_of_another_length(path):
    kernel, bias = random_tensors(SMALL)[0]
    write_keras1(path, [(kernel, bias[:-1])])


def not_finite(path):
    (kernel, bias), *others = random_tensors(SMALL)
    write_keras1(path, [(kernel * np.float32(np.nan), bias), *others])


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (not_hdf5, "not HDF5: a MATLAB file"),
        (modern_keras, "Keras 1 layout"),
        (kernel_without_bias, "Keras 1 layout"),
        (names_a_number, "Keras 1 layout"),
        (bias_of_another_length, "do not fit"),
        (not_finite, "not finite"),
    ],
)
def test_files_of_another_layout_than_keras_1_are_refused(tmp_path, write, message):
    write(tmp_path / "k.h5")
    with pytest.raises(WeightsError, match=f"k.h5: .*{message}"):
        read_with(read_keras1, tmp_path / "k.h5")


def matlab_with(**changes):
    return lambda path: write_matlab(
        path, random_tensors(architecture_for("srcnn-915", 2)), **changes
    )


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (not_hdf5, "not a MATLAB file"),
        (modern_keras, "not a MATLAB file"),
        (matlab_with(weights_conv2=None), "authors' layout: .*'weights_conv2'"),
        (matlab_with(biases_conv3=None), "authors' layout: .*'biases_conv3'"),
        (matlab_with(weights_conv1=np.zeros((80, 64))), "authors' layout"),
        (matlab_with(weights_conv1="text"), "authors' layout"),
        (matlab_with(weights_conv1={"a": 1}), "authors' layout"),
        (matlab_with(weights_conv1=np.zeros((2, 2, 2, 2))), "authors' layout"),
        (matlab_with(biases_conv1=np.zeros((3, 1))), "do not fit"),
        (matlab_with(biases_conv1=np.full((64, 1), np.inf)), "not finite"),
        (matlab_with(biases_conv1=np.full((64, 1), 1e300)), "not finite"),
    ],
)
def test_files_of_another_layout_than_the_authors_are_refused(tmp_path, write, message):
    write(tmp_path / "m.mat")
    with pytest.raises(WeightsError, match=f"m.mat: .*{message}"):
        read_with(read_matlab, tmp_path / "m.mat")


def test_unknown_tensor_shapes_are_refused():
    with pytest.raises(WeightsError, match="no known architecture"):
        match_architecture(random_tensors(SMALL))


# The import command.


def converted(capsys, *arguments) -> tuple[int, str, str]:
    code = convert.main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return code, out, err


def load_printed(out: str) -> Weights:
    return load_weights(out.strip())


def test_command_imports_matlab_files(tmp_path, capsys):
    tensors = random_tensors(architecture_for("srcnn-915", 2))
    write_matlab(tmp_path / "Nine.MAT", tensors)
    code, out, err = converted(
        capsys, tmp_path / "Nine.MAT", "--output", tmp_path / "out", "--scale", 3
    )
    assert (code, err) == (0, "")
    weights = load_printed(out)
    assert_same_tensors(weights.tensors, tensors)
    assert weights.card.architecture == architecture_for("srcnn-915", 2).padded("replicate")
    assert weights.card.name == "Nine_x3_bicubic"
    assert (weights.card.scale, weights.card.protocol) == (3, "matlab")
    digest = hashlib.sha256((tmp_path / "Nine.MAT").read_bytes()).hexdigest()
    assert weights.card.training["source_sha256"] == digest


def test_command_imports_keras_1_files(tmp_path, capsys):
    tensors = random_tensors(architecture_for("srcnn-935-128", 2))
    write_keras1(tmp_path / "k.h5", tensors)
    code, out, _ = converted(
        capsys, tmp_path / "k.h5", "--output", tmp_path, "--scale", 2, "--kernel", "bilinear",
        "--protocol", "opencv", "--name", "tutorial",
    )  # fmt: skip
    assert code == 0
    weights = load_printed(out)
    assert_same_tensors(weights.tensors, tensors)
    # Only the middle layer pads, as published.
    assert weights.card.architecture == architecture_for("srcnn-935-128", 2)
    assert weights.card.name == "tutorial"
    assert str(weights.card.degradation) == "x2 bilinear (opencv)"


@pytest.mark.parametrize(
    ("write", "name", "options", "message"),
    [
        (lambda path: None, "none.h5", (), "none.h5: no such file"),
        (not_hdf5, "text.h5", (), "not HDF5"),
        (not_hdf5, "text.mat", (), "not a MATLAB file"),
        (lambda path: write_keras1(path, random_tensors(SMALL)), "small.h5", (), "no known"),
        (matlab_with(), "m.mat", ("--scale", 99), "scale"),
        (matlab_with(), "m.mat", ("--name", "../up"), "name"),
    ],
)
def test_command_gives_the_reason_of_a_refusal(tmp_path, capsys, write, name, options, message):
    write(tmp_path / name)
    code, out, err = converted(
        capsys, tmp_path / name, "--output", tmp_path / "out", "--scale", 2, *options
    )
    assert code == 2 and out == ""
    assert err.startswith("error: ") and message in err
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    "arguments", [(), ("m.mat",), ("m.mat", "--output", "o", "--scale", "two")]
)
def test_command_refuses_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        convert.main(list(arguments))
    assert caught.value.code == 2
    assert "usage:" in capsys.readouterr().err


def test_command_runs_as_a_module(tmp_path):
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-m", "srcnn.convert", "none.mat", "--output", tmp_path, "--scale", "2"],
        cwd=root,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (2, "error: none.mat: no such file\n")


def test_published_tutorial_weights_are_imported(shared):
    tensors = read_with(read_keras1, shared / "weights/published/3051crop_weight_200.h5")
    assert match_architecture(tensors).name == "srcnn-935-128"


@pytest.mark.parametrize(
    ("name", "architecture"),
    [
        ("9-1-5_91_x2", "srcnn-915"),
        ("9-3-5_ImageNet_x3", "srcnn-935"),
        ("9-5-5_ImageNet_x4", "srcnn-955"),
    ],
)
def test_published_author_weights_are_imported(shared, name, architecture):
    tensors = read_with(read_matlab, shared / f"weights/published/matlab/{name}.mat")
    assert match_architecture(tensors).name == architecture


# The architecture itself.


def test_architecture_counts_its_multiply_adds():
    # Table of arXiv:1501.00092: 8,032 / 24,416 / 57,184 parameters, biases left out.
    work = {name: architecture_for(name, 2).multiply_adds for name in ARCHITECTURES}
    assert (work["srcnn-915"], work["srcnn-935"], work["srcnn-955"]) == (8032, 24416, 57184)


@pytest.mark.parametrize("name", ["", "Upper", "a/b", "-a", "a" * 65, "a b"])
def test_architecture_names_are_restricted(name):
    with pytest.raises(ValidationError):
        Architecture(name=name, layers=SMALL.layers)


def test_cards_are_frozen(saved):
    card = load_weights(saved).card
    assert isinstance(card, ModelCard)
    with pytest.raises(ValidationError):
        card.scale = 3
