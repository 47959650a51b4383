"""Malicious weights, model cards and configurations are refused in one line."""

import hashlib
import io
import json
import os
import pickle
import random
import struct
import time
import tracemalloc
import zipfile
import zlib
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from conftest import ROOT
from support import card_fields, random_tensors, stack

from pipeline.config import load_config as load_job_config
from pipeline.errors import UsageError
from srcnn import convert, isolated, weights
from srcnn.errors import WeightsError
from srcnn.importers import read_keras1, read_matlab
from srcnn.isolated import parse_isolated
from srcnn.training.checkpoint import read_checkpoint
from srcnn.training.config import TrainingError
from srcnn.training.config import load_config as load_training_config
from srcnn.weights import card_path, load_card, load_weights, parse_weights, save_weights

SMALL = stack((5, 3), (3, 2, "same"), (3, 1))
FIRST_KERNEL = "layers/conv2d/vars/0"


def refused(error: type[Exception], call, *arguments) -> str:
    """The message of a refusal: one printable line, at little CPU time and memory."""
    tracemalloc.start()
    begun = time.process_time()
    try:
        with pytest.raises(error) as caught:
            call(*arguments)
        assert tracemalloc.get_traced_memory()[1] < 100e6
    finally:
        tracemalloc.stop()
    assert time.process_time() - begun < 15
    message = str(caught.value)
    assert message.isprintable(), message
    assert len(message) < 600
    return message


# Configurations. The job and the training share one loader.


def job(path: Path):
    return load_job_config({"input": ("a",), "output": "b"}, str(path))


def training(path: Path):
    return load_training_config(path, {"images": ["a"], "scale": 2, "kernel": "bilinear"})


READERS = pytest.mark.parametrize(
    ("read", "error"), [(job, UsageError), (training, TrainingError)], ids=["job", "training"]
)

LAUGHS = "a0: &a0 [lol, lol]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)
)

HOSTILE_YAML = {
    "billion laughs": (LAUGHS, "line 1: anchors and aliases are not allowed"),
    "alias of itself": ("kernel: &a [*a]", "anchors and aliases"),
    "merge key": ("<<: {kernel: area}", "'<<' is not a key"),
    "python tag": ("!!python/object/apply:os.system [touch owned]", "tags such as"),
    "inner python tag": ("kernel: !!python/name:os.system", "line 1: tags such as"),
    "own tag": ("kernel: !secret x", "tags such as '!secret'"),
    "set": ("!!set {kernel}", "tags such as"),
    "deep list": ("kernel: " + "[" * 100_000, "nested deeper than 16"),
    "deep mapping": ("kernel: " + "{a: " * 50_000, "nested deeper than 16"),
    "deep dashes": ("- " * 100_000, "nested deeper than 16"),
    "deep question marks": ("? " * 100_000, "nested deeper than 16"),
    "key twice": ("kernel: bicubic\nkernel: area", "line 2: key 'kernel' is given twice"),
    "inner key twice": ("kernel: {a: 1, a: 2}", "key 'a' is given twice"),
    "number as a key": ("1: 2", "'1' is not a key"),
    "truth as a key": ("on: 2", "'on' is not a key"),
    "list as a key": ("? [a]\n: 1", "is not a key"),
    "line break in a key": ('"a\\nb": 1', "is not a key"),
    "two documents": ("kernel: area\n---\nkernel: area", "another document"),
    "zero byte": ("kernel: a\0", "not valid YAML"),
    "escaped zero byte": ('kernel: "a\\0"', r"'\x00' is not allowed"),
    "escape to the terminal": ('kernel: "\\e[2J"', r"'\x1b' is not allowed"),
    "half a surrogate": ('kernel: "\\ud800"', r"'\ud800' is not allowed"),
    "binary": (bytes(range(256)), "not valid YAML"),
    "not UTF-8": (b"kernel: \xff", "not valid YAML"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "not valid YAML"),
    "huge file": ("#" * (256 * 1024 + 1), "larger than 262,144 bytes"),
    "huge number": (f"kernel: {'9' * 5000}", "too large a number"),
    "huge hexadecimal number": (f"kernel: 0x{'f' * 5000}", "too large a number"),
    "number of 64 bits": (f"kernel: {2**63}", "'9223372036854775808' is too large"),
    "sixties": (f"kernel: 1{':1' * 60_000}", "too large a number"),
    "a day that never was": ("kernel: 2001-99-99", "not valid YAML: month"),
    "a list": ("- kernel", "holds a list"),
    "a word": ("kernel", "holds a str"),
    "long key": (f"{'k' * 900}: 1", "kkk"),
    "long word": (f"protocol: {'k' * 50_000}", "kkk..."),
    "long list": (f"protocol: [{'1,' * 5_000}1]", "1, 1..."),
}


@pytest.mark.parametrize("name", HOSTILE_YAML)
def test_hostile_yaml_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    content, words = HOSTILE_YAML[name]
    path = tmp_path / "c.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    assert words in refused(UsageError, job, path)
    assert not (tmp_path / "owned").exists()


def test_training_uses_the_same_yaml_loader(tmp_path):
    path = tmp_path / "c.yaml"
    for name in ("billion laughs", "python tag", "key twice", "huge number"):
        content, words = HOSTILE_YAML[name]
        path.write_text(content)
        assert words in refused(TrainingError, training, path)


NUMBERS = [".nan", ".inf", "-.inf", "1e999", "-1e999", "1.0e+999", f"'{'9' * 5000}'", "[]", "{}"]


@pytest.mark.parametrize("value", [*NUMBERS, str(2**62), "-1"], ids=lambda value: value[:8])
@pytest.mark.parametrize(
    ("read", "error", "name"),
    [
        *((job, UsageError, n) for n in ("tile", "scale", "max_megapixels", "compression")),
        *((job, UsageError, n) for n in ("max_failures", "comparisons")),
        *((training, TrainingError, n) for n in ("steps", "batch", "crop", "seed", "ema_decay")),
        (training, TrainingError, "learning_rate"),
    ],
)
def test_impossible_numbers_are_refused(tmp_path, read, error, name, value):
    (tmp_path / "c.yaml").write_text(f"{name}: {value}")
    assert f"{name}: " in refused(error, read, tmp_path / "c.yaml")


def test_key_given_with_dash_and_underscore_is_refused(tmp_path):
    (tmp_path / "c.yaml").write_text("max-failures: 1\nmax_failures: 2")
    assert "'max_failures' is given twice" in refused(UsageError, job, tmp_path / "c.yaml")


def make_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def make_directory(path: Path) -> Path:
    path.mkdir()
    return path


NO_FILES = {
    "pipe": (make_pipe, "a pipe or a device"),
    "endless device": (lambda path: Path("/dev/zero"), "a pipe or a device"),
    "link to a device": (lambda path: path.symlink_to("/dev/zero") or path, "a pipe or a device"),
    "directory": (make_directory, "Is a directory"),
    "link to itself": (lambda path: path.symlink_to(path) or path, "Too many levels"),
    "long name": (lambda path: path.with_name("a" * 300), "File name too long"),
    "missing": (lambda path: path, "no |No such file"),
}


@READERS
@pytest.mark.parametrize(("make", "words"), NO_FILES.values(), ids=NO_FILES)
def test_configuration_must_be_a_regular_file(tmp_path, read, error, make, words):
    message = refused(error, read, make(tmp_path / "c.yaml"))
    assert any(word in message for word in words.split("|"))


def test_configuration_from_a_pipe_is_refused_without_waiting(tmp_path):
    reading, writing = os.pipe()
    try:
        message = refused(UsageError, job, Path(f"/dev/fd/{reading}"))
    finally:
        os.close(reading)
        os.close(writing)
    assert "a pipe or a device; a regular file is needed" in message


# Model cards and weights files.


@pytest.fixture
def saved(tmp_path) -> Path:
    """A good weights file."""
    return save_weights(tmp_path, random_tensors(SMALL), **card_fields(SMALL))


def with_json(**values: str):
    """A card with further keys, given as JSON text."""

    def edit(path: Path) -> str:
        text = card_path(path).read_text().rstrip().removesuffix("}")
        return text + "".join(f', "{key}": {value}' for key, value in values.items()) + "}"

    return edit


def with_changes(**changes):
    def edit(path: Path) -> str:
        return json.dumps(json.loads(card_path(path).read_text()) | changes)

    return edit


def layers(*layers: dict) -> dict:
    return {"architecture": {"name": "x", "layers": [*layers, {"kernel": 3, "filters": 1}]}}


HOSTILE_CARDS = {
    "key twice": (with_json(scale="4"), "key 'scale' is given twice"),
    "inner key twice": (with_json(x='{"a": 1, "a": 2}'), "key 'a' is given twice"),
    "not a number": (with_changes(figures={"a": float("nan")}), "NaN is not a finite number"),
    "infinite": (with_changes(figures={"a": -float("inf")}), "-Infinity is not a finite number"),
    "overflowing": (with_json(x="1e999"), "1e999 is not a finite number"),
    "huge number": (with_json(x="9" * 5000), "too large a number"),
    "deep": (with_json(x="[" * 20 + "]" * 20), "nested deeper than 16"),
    "very deep": (with_json(x="[" * 100_000 + "]" * 100_000), "recursion"),
    "very deep mapping": (with_json(x='{"a":' * 100_000), "recursion"),
    "huge file": (with_json(x='"' + "x" * 2**20 + '"'), "larger than 1,048,576 bytes"),
    "many keys": (with_json(x=json.dumps({str(i): i for i in range(50_000)})), "x: Extra"),
    "control characters in a key": (with_changes(**{"a\n\x1b[2J": 1}), "a ?[2J"),
    "absolute path as a name": (with_changes(name="/etc/passwd"), "name"),
    "control character in the name": (with_changes(name="a\x1b"), "name"),
    "line break behind the name": (with_changes(name="a\n"), "name"),
    "zero byte in the name": (with_changes(name="a\0"), "name"),
    "line break in the kernel": (with_changes(kernel="area\nkernel"), "kernel"),
    "long kernel": (with_changes(kernel="a" * 10_000), "kernel"),
    "many layers": (
        with_changes(**layers(*[{"kernel": 1, "filters": 1}] * 10_000)),
        "at most 16",
    ),
    "large in all": (
        with_changes(**layers(*[{"kernel": 31, "filters": 1024}] * 15)),
        "parameters; at most 4000000",
    ),
    "UTF-16": (lambda path: card_path(path).read_text().encode("utf-16"), "utf-8"),
    "zero bytes": (lambda path: b"\0" * 1000, "bad model card"),
    "pickle": (lambda path: pickle.dumps({"name": "a"}), "bad model card"),
}


@pytest.mark.parametrize(("edit", "words"), HOSTILE_CARDS.values(), ids=HOSTILE_CARDS)
def test_hostile_cards_are_refused(saved, edit, words):
    content = edit(saved)
    card_path(saved).write_bytes(content if isinstance(content, bytes) else content.encode())
    message = refused(WeightsError, load_weights, saved)
    assert message.startswith(str(card_path(saved)))
    assert words in message


@pytest.mark.parametrize("kind", ["pipe", "link to a device", "directory", "missing"])
@pytest.mark.parametrize("part", ["card", "weights"])
def test_weights_and_card_must_be_regular_files(saved, kind, part):
    make, words = NO_FILES[kind]
    path = saved if part == "weights" else card_path(saved)
    path.unlink()
    make(path)
    message = refused(WeightsError, load_weights, saved)
    assert any(word in message for word in words.split("|"))
    assert message.startswith(str(path))


def sign(path: Path) -> None:
    """Makes the card's hash that of the file as it is now."""
    card = json.loads(card_path(path).read_text())
    card["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    card_path(path).write_text(json.dumps(card))


def test_hdf5_opens_only_bytes_with_the_hash_on_the_card(saved, monkeypatch):
    content = saved.read_bytes()
    opened = []
    monkeypatch.setattr(weights, "parse_isolated", lambda *_: opened.append(1))
    saved.write_bytes(content + b"\0")
    assert "sha256" in refused(WeightsError, load_weights, saved)
    assert not opened


def test_parsed_bytes_are_the_hashed_bytes(saved, monkeypatch):
    """The file is replaced between the check and the parsing."""
    expected = load_weights(saved).tensors[0][0]

    def exchange(*arguments):
        saved.write_bytes(b"")
        return parse_isolated(*arguments)

    monkeypatch.setattr(weights, "parse_isolated", exchange)
    np.testing.assert_array_equal(load_weights(saved).tensors[0][0], expected)


def compressed(file, name, shape=None):
    shape = shape or file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", chunks=shape, compression="gzip", fillvalue=0)


def virtual(file, name):
    shape = file[name].shape
    del file[name]
    layout = h5py.VirtualLayout(shape, np.float32)
    layout[:] = h5py.VirtualSource("other.h5", "data", shape)
    file.create_virtual_dataset(name, layout)


def external(file, name):
    shape = file[name].shape
    del file[name]
    file.create_dataset(name, shape, "f4", external=[("/dev/zero", 0, 4 * int(np.prod(shape)))])


def of_type(dtype):
    def edit(file, name):
        shape = file[name].shape
        del file[name]
        file.create_dataset(name, shape, dtype)

    return edit


def link(target):
    def edit(file, name):
        del file[name]
        file[name] = target

    return edit


def declared(shape):
    def edit(file, name):
        del file[name]
        file.create_dataset(name, shape, "f4")  # contiguous, and never written

    return edit


def group(file, name):
    del file[name]
    file.create_group(name)


def cycle(file, name):
    """The dataset's place leads back to the root, by hard links only."""
    del file[name]
    file[name] = file["/"]


def empty(file, name):
    del file[name]
    file[name] = h5py.Empty("f4")


def named_type(file, name):
    del file[name]
    file[name] = np.dtype("f4")


HOSTILE_DATASETS = {
    "compressed": (compressed, "stored in chunks"),
    "compressed bomb": (lambda f, n: compressed(f, n, (2**28,)), "stored in chunks"),
    "virtual": (virtual, "stored in other datasets"),
    "external storage": (external, "stored outside the file"),
    "soft link": (link(h5py.SoftLink("/elsewhere")), "is a link"),
    "soft link that dangles": (link(h5py.SoftLink("/nowhere")), "is a link"),
    "external link": (link(h5py.ExternalLink("other.h5", "/data")), "is a link"),
    "external link to a device": (link(h5py.ExternalLink("/dev/zero", "/data")), "is a link"),
    "huge": (declared((2**40,)), "declares"),
    "huge in four dimensions": (declared((2**14,) * 4), "declares"),
    "group": (group, "not a plain dataset"),
    "cycle": (cycle, "not a plain dataset"),
    "type": (named_type, "not a plain dataset"),
    "nothing": (empty, "float32"),
    "object references": (of_type(h5py.ref_dtype), "is object"),
    "region references": (of_type(h5py.regionref_dtype), "is object"),
    "variable length": (of_type(h5py.vlen_dtype("f4")), "is object"),
    "texts": (of_type(h5py.string_dtype()), "is object"),
    "compound": (of_type([("a", "f4")]), "[('a', '<f4')]"),
    "arrays": (of_type(np.dtype(("f4", 2))), "is "),
    "opaque": (of_type("V4"), "is |V4"),
    "complex": (of_type("c8"), "is complex64"),
    "truths": (of_type("?"), "is bool"),
}


@pytest.mark.parametrize(("edit", "words"), HOSTILE_DATASETS.values(), ids=HOSTILE_DATASETS)
def test_hostile_datasets_of_weights_are_refused(saved, edit, words):
    with h5py.File(saved, "r+") as file:
        file["elsewhere"] = file[FIRST_KERNEL][...]
        edit(file, FIRST_KERNEL)
    with h5py.File(saved.with_name("other.h5"), "w") as other:
        other["data"] = np.zeros((5, 5, 1, 3), np.float32)
    message = refused(WeightsError, read_weights, saved, saved.read_bytes())
    assert message.startswith(f"{saved}: {FIRST_KERNEL}")
    assert words in message


def loop(content: bytes) -> bytes:
    """Makes the first free list lead to itself: HDF5 follows it, and allocates, without end."""
    heap = content.index(b"HEAP")
    first, data = struct.unpack_from("<QQ", content, heap + 16)
    position = data + first
    return content[:position] + struct.pack("<Q", first) + content[position + 8 :]


def test_file_that_loops_hdf5_is_refused(saved, tmp_path):
    saved.write_bytes(loop(saved.read_bytes()))
    sign(saved)
    assert "damaged" in refused(WeightsError, load_weights, saved)
    (tmp_path / "k.h5").write_bytes(loop(keras1(random_tensors(SMALL))))
    assert "k.h5: " in refused(WeightsError, import_file, tmp_path / "k.h5")


def sleep(path: Path, content: bytes):
    time.sleep(60)


def crash(path: Path, content: bytes):
    os.abort()


@pytest.mark.parametrize(
    ("parse", "words"), [(sleep, "parsing took more than 0.5"), (crash, "with -6")]
)
def test_hang_or_crash_of_the_parser_is_a_refusal(monkeypatch, parse, words):
    monkeypatch.setattr(isolated, "_SECONDS", 0.5 if parse is sleep else 300)
    assert words in refused(WeightsError, parse_isolated, parse, Path("a.h5"), b"")


def test_file_too_large_for_its_network_is_refused_unread(saved):
    with saved.open("r+b") as file:
        file.truncate(2**40)  # sparse
    assert "larger than 1,05" in refused(WeightsError, load_weights, saved)


# Importers of foreign files.


def keras1(tensors) -> bytes:
    """The layout of Keras 1's save_weights."""
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        for index, (kernel, bias) in enumerate(tensors):
            layer = file.create_group(f"c{index}")
            layer["W"], layer["b"] = kernel, bias
            layer.attrs["weight_names"] = np.array([b"W", b"b"])
        file.attrs["layer_names"] = np.array([f"c{i}".encode() for i in range(len(tensors))])
    return buffer.getvalue()


def matlab(compress=False, **changes) -> bytes:
    """The authors' layout, with a smaller network than theirs."""
    shapes = {
        **{"weights_conv1": (9, 3), "weights_conv2": (3, 9, 2), "weights_conv3": (2, 9)},
        **{"biases_conv1": (3, 1), "biases_conv2": (2, 1), "biases_conv3": (1, 1)},
    }
    rng = np.random.default_rng(0)
    content = {name: rng.normal(size=shape) for name, shape in shapes.items()} | changes
    buffer = io.BytesIO()
    scipy.io.savemat(buffer, content, do_compression=compress)
    return buffer.getvalue()


def import_file(path: Path) -> Path:
    return convert.convert(path, path.parent / "out", 2, "bicubic", "matlab")


@pytest.mark.parametrize(("edit", "words"), HOSTILE_DATASETS.values(), ids=HOSTILE_DATASETS)
def test_hostile_keras_1_datasets_are_refused(tmp_path, edit, words):
    path = tmp_path / "k.h5"
    path.write_bytes(keras1(random_tensors(SMALL)))
    with h5py.File(path, "r+") as file:
        file["elsewhere"] = file["c0/W"][...]
        edit(file, "c0/W")
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["data"] = np.zeros((5, 5, 1, 3), np.float32)
    message = refused(WeightsError, read_keras1, path, path.read_bytes())
    assert message.startswith(str(path))
    assert words in message or "c0/W is" in message or "Keras 1 layout" in message


def attribute(name, value):
    def edit(file):
        file["c0" if name == "weight_names" else "/"].attrs[name] = value

    return edit


def linked_layer(file):
    del file["c0"]
    file["c0"] = h5py.ExternalLink("other.h5", "/")


HOSTILE_NAMES = {
    "many names": (attribute("layer_names", np.array([b"c0"] * 65)), "at most 64"),
    "many dimensions": (attribute("layer_names", np.array([[b"c0"]])), "at most 64"),
    "long names": (attribute("layer_names", np.array([b"c" * 257])), "fixed length"),
    "names of variable length": (attribute("layer_names", ["c0"]), "fixed length"),
    "numbers as names": (attribute("layer_names", np.arange(3)), "fixed length"),
    "references as names": (attribute("layer_names", h5py.Reference()), "fixed length"),
    "no UTF-8": (attribute("layer_names", np.array([b"\xff"])), "utf-8"),
    "empty name": (attribute("layer_names", np.array([b""])), "Keras 1"),
    "the parent": (attribute("layer_names", np.array([b"../x"])), "is a link"),
    "nowhere": (attribute("layer_names", np.array([b"none"])), "is a link"),
    "linked layer": (linked_layer, "is a link"),
    "three arrays": (attribute("weight_names", np.array([b"W", b"b", b"b"])), "too many"),
    "one array": (attribute("weight_names", np.array([b"W"])), "not enough"),
    "the same array": (attribute("weight_names", np.array([b"W", b"W"])), "do not fit"),
}


@pytest.mark.parametrize(("edit", "words"), HOSTILE_NAMES.values(), ids=HOSTILE_NAMES)
def test_hostile_keras_1_names_are_refused(tmp_path, edit, words):
    path = tmp_path / "k.h5"
    path.write_bytes(keras1(random_tensors(SMALL)))
    with h5py.File(path, "r+") as file:
        edit(file)
    assert words in refused(WeightsError, read_keras1, path, path.read_bytes())


def element(kind: int, data: bytes) -> bytes:
    return struct.pack("<II", kind, len(data)) + data + bytes(-len(data) % 8)


def matrix(shape=(1, 1), *parts: bytes, of_class=6, name=b"weights_conv1") -> bytes:
    """A variable; without parts, of one double."""
    head = (
        element(6, struct.pack("<II", of_class, 0)),
        element(5, struct.pack(f"<{len(shape)}i", *shape)),
        element(1, name),
    )
    return element(14, b"".join((*head, *(parts or (element(9, bytes(8)),)))))


def mat_file(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + b"".join(elements)


def packed(data: bytes) -> bytes:
    data = zlib.compress(data, 9)
    return struct.pack("<II", 15, len(data)) + data


def nested(depth: int) -> bytes:
    """A cell in a cell in a cell."""
    inner = matrix(name=b"")
    for _ in range(depth):
        inner = matrix((1, 1), inner, of_class=1, name=b"")
    return matrix((1, 1), inner, of_class=1)


MILLION = element(9, bytes(8 * 10**6))
PARTS = [packed(matrix((10**6, 1), MILLION, name=b"%d" % i)) for i in range(5)]
LARGE = matrix((1, 5_000_000), element(2, bytes(5_000_000))), matrix(name=b"biases_conv1")
NO_FILE = "not a MATLAB file of version 7 or before"
NO_LAYOUT = "not weights in the authors' layout"
CRASH = "the library that parses it ended with -11"
CELL, TEXT = 1, 4

HOSTILE_MATRICES = {
    "bomb": (mat_file(packed(matrix((2**26, 1), element(9, bytes(2**29))))), "MemoryError"),
    "bomb of zeros": (mat_file(packed(element(14, bytes(300_000_000)))), NO_FILE),
    "bomb in parts that nobody asked for": (mat_file(*PARTS), "no array is called"),
    "huge shape": (mat_file(matrix((2**30, 2**30))), NO_FILE),
    "overflowing shape": (mat_file(matrix((2**30,) * 4)), NO_FILE),
    "negative shape": (mat_file(matrix((-1, -1))), NO_FILE),
    "many dimensions": (mat_file(matrix((1,) * 100)), NO_FILE),
    "one dimension": (mat_file(matrix((1,))), NO_LAYOUT),
    "huge text": (mat_file(matrix((2**15,) * 2, element(16, b""), of_class=TEXT)), "MemoryError"),
    "huge cells": (mat_file(matrix((2**15,) * 2, of_class=CELL)), "Unable to allocate"),
    "overflowing cells": (mat_file(matrix((2**30,) * 2, of_class=CELL)), NO_FILE),
    "nested cells": (mat_file(nested(20_000)), CRASH),
    "unknown stored type": (mat_file(matrix((1, 1), element(200, bytes(8)))), CRASH),
    "variable in a variable": (mat_file(matrix((1, 1), element(14, bytes(8)))), CRASH),
    "half a value": (mat_file(matrix((1, 1), element(9, bytes(7)))), NO_FILE),
    "name that is no text": (mat_file(matrix(name=b"\xff")), "no array is called"),
    "name twice": (mat_file(matrix(), matrix()), "Duplicate variable name"),
    "huge element": (mat_file(struct.pack("<II", 14, 2**32 - 1)), NO_FILE),
    "large small element": (mat_file(struct.pack("<HHI", 14, 9, 0) + bytes(64)), NO_FILE),
    "empty variable": (mat_file(element(14, b"")), NO_FILE),
    "no class": (mat_file(element(14, element(6, b""))), NO_FILE),
    "few parts": (mat_file(element(14, element(6, b"\6\0\0\0"))), NO_FILE),
    "huge, stored as bytes": (mat_file(*LARGE), "more than 4000000 values"),
    "packed nothing": (mat_file(packed(b"")), NO_FILE),
    "packed twice": (mat_file(packed(packed(matrix()))), NO_FILE),
    "packed rubbish": (mat_file(struct.pack("<II", 15, 8) + b"rubbish!"), NO_FILE),
    "packed and cut": (mat_file(packed(matrix())[:-9]), NO_FILE),
    "objects": (matlab(weights_conv1=np.array([{"a": 1}, "b"], object)), "not an array of real"),
    "structure": (matlab(weights_conv1={"a": 1}), "not an array of real"),
    "sparse": (matlab(weights_conv1=scipy.sparse.eye_array(9, 3)), "not an array of real"),
    "complex": (matlab(weights_conv1=np.ones((9, 3)) * 1j), "not an array of real"),
    "version 7.3": (b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM", "HDF reader"),
    "version 4, cut": (struct.pack("<5i", 0, 1, 1, 0, 2) + b"a\0" + bytes(200), NO_FILE),
    "pickle": (pickle.dumps({"weights_conv1": 1}), NO_FILE),
}


@pytest.mark.parametrize(("content", "words"), HOSTILE_MATRICES.values(), ids=HOSTILE_MATRICES)
def test_hostile_matlab_files_are_refused(tmp_path, content, words):
    path = tmp_path / "m.mat"
    path.write_bytes(content)
    message = refused(WeightsError, import_file, path)
    assert message.startswith(f"{path}: ")
    assert words in message


class Owned:
    """Unpickling it leaves a file behind."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def npy_of_objects(owned: Owned) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.array([owned], object), allow_pickle=True)
    return buffer.getvalue()


def zip_of_pickle(owned: Owned) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("data.pkl", pickle.dumps(owned))
    return buffer.getvalue()


FOREIGN = {
    "pickle": (pickle.dumps, "a Python pickle"),
    "array of objects": (npy_of_objects, "a NumPy array file"),
    "zip archive": (zip_of_pickle, "a zip archive"),
    "nothing": (lambda owned: b"", "an empty file"),
    "text": (lambda owned: b"hello", "an unknown kind"),
}


@pytest.mark.usefixtures("parsing_here")
@pytest.mark.parametrize(("make", "words"), FOREIGN.values(), ids=FOREIGN)
def test_other_file_types_are_refused_by_name(tmp_path, saved, make, words):
    content = make(Owned(tmp_path / "owned"))
    (tmp_path / "k.pkl").write_bytes(content)
    assert words in refused(WeightsError, import_file, tmp_path / "k.pkl")
    saved.write_bytes(content)
    sign(saved)
    assert words in refused(WeightsError, load_weights, saved)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["k.h5", "m.mat"])
@pytest.mark.parametrize(("make", "words"), NO_FILES.values(), ids=NO_FILES)
def test_imported_file_must_be_a_regular_file(tmp_path, capsys, make, words, name):
    path = make(tmp_path / name)
    code = convert.main([str(path), "--output", str(tmp_path / "out"), "--scale", "2"])
    err = capsys.readouterr().err
    assert code == 2 and err.count("\n") == 1
    assert any(word in err for word in words.split("|"))


def test_huge_file_is_not_imported(tmp_path):
    with (tmp_path / "k.h5").open("wb") as file:
        file.truncate(2**40)  # sparse
    assert "larger than 33,048,576 bytes" in refused(WeightsError, import_file, tmp_path / "k.h5")


# Checkpoints of training runs.


def npz(**arrays) -> bytes:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    return buffer.getvalue()


def wrong_method(content: bytes) -> bytes:
    """Declares a compression that nobody knows, in all places."""
    return content.replace(b"\x08\0\0\0", b"\x63\0\0\0")


CHECKPOINT = {"identity": np.array("{}"), "history": np.zeros((1, 4)), "state_0000": np.zeros(9)}
HOSTILE_CHECKPOINTS = {
    "array of objects": npz(**CHECKPOINT | {"history": np.array([{}], object)}),
    "pickle": pickle.dumps(CHECKPOINT),
    "array file": b"\x93NUMPY\x01\0\x04\0{  }",
    "no archive": b"PK half",
    "identity no mapping": npz(**CHECKPOINT | {"identity": np.array("[1]")}),
    "identity deep": npz(**CHECKPOINT | {"identity": np.array("[" * 100_000)}),
    "damaged": npz(**CHECKPOINT)[:70] + b"\xff" * 10 + npz(**CHECKPOINT)[80:],
    "unknown compression": wrong_method(npz(**CHECKPOINT)),
    "missing parts": npz(identity=np.array("{}")),
}


@pytest.mark.parametrize("content", HOSTILE_CHECKPOINTS.values(), ids=HOSTILE_CHECKPOINTS)
def test_hostile_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "checkpoint.npz").write_bytes(content)
    message = refused(TrainingError, read_checkpoint, tmp_path / "checkpoint.npz")
    assert "checkpoint.npz: not a checkpoint: " in message


# Mutations of valid files are read or refused by the project's errors.


def mutated(content: bytes, seed: int) -> bytes:
    """The content with a few bytes or words changed, or truncated; mostly in its structure."""
    rng = random.Random(seed)
    if rng.random() < 0.1:
        return content[: rng.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 4, 8))):
        reach = len(content) if rng.random() < 0.3 else min(len(content), 4096)
        position, width = rng.randrange(reach), rng.choice((1, 1, 2, 4, 8))
        value = rng.choice((0, 1, 2**31 - 1, 2**64 - 1, rng.getrandbits(64), len(content)))
        changed[position : position + width] = value.to_bytes(8, "little")[:width]
    return bytes(changed)


def weights_content(path: Path) -> bytes:
    return save_weights(path, random_tensors(SMALL), **card_fields(SMALL)).read_bytes()


def read_weights(path: Path, content: bytes) -> None:
    """In this process, which is fast; these mutations do not loop."""
    parse_weights(path, content, SMALL.model_dump_json())


def card_content(path: Path) -> bytes:
    return next((ROOT / "weights").glob("*.json")).read_bytes()


def read_card(path: Path, content: bytes) -> None:
    (path / "card.json").write_bytes(content)
    load_card(path / "card.json")


def yaml_content(path: Path) -> bytes:
    return (ROOT / "configs/training/srcnn.yaml").read_bytes()


def read_yaml(path: Path, content: bytes) -> None:
    (path / "c.yaml").write_bytes(content)
    load_training_config(path / "c.yaml", {})


MUTATED = {
    "weights": (weights_content, read_weights),
    "card": (card_content, read_card),
    "keras 1": (lambda path: keras1(random_tensors(SMALL)), read_keras1),
    "yaml": (yaml_content, read_yaml),
}


@pytest.mark.parametrize(("make", "read"), MUTATED.values(), ids=MUTATED)
def test_mutated_files_are_read_or_refused(tmp_path, make, read):
    content = make(tmp_path)
    read(tmp_path, content)
    refusals = 0
    for seed in range(150):
        begun = time.process_time()
        try:
            read(tmp_path, mutated(content, seed))
        except (WeightsError, TrainingError) as error:
            refusals += 1
            assert str(error).isprintable(), str(error)
        assert time.process_time() - begun < 10, seed
    assert refusals > 25


@pytest.mark.slow
@pytest.mark.parametrize("compress", [False, True])
def test_mutated_matlab_files_are_read_or_refused(compress):
    # Each in a child: the last two end SciPy's reader with a segmentation fault.
    content, refusals = matlab(compress), []
    for seed in (*range(8), 122, 129):
        try:
            parse_isolated(read_matlab, Path("m.mat"), mutated(content, seed))
        except WeightsError as error:
            refusals.append(str(error))
            assert str(error).isprintable() and str(error).startswith("m.mat: ")
    assert len(refusals) > 5
