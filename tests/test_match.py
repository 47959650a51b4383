"""Globs to references: matches, output paths, clashes."""

import errno
import glob
import os
import random
import subprocess
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import apache_beam as beam
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import quick

from codec.encode import WRITABLE_SUFFIXES
from storage.store import OutputStore
from storage.walk import walk
from transforms.blocks import to_blocks
from transforms.done import Policy
from transforms.listed import output_path_of
from transforms.match import (
    Settle,
    claim_key,
    claim_output,
    expand_glob,
    fixed_prefix,
)
from transforms.records import ImageRef, ReportRow


@pytest.mark.parametrize(
    ("pattern", "prefix"),
    [
        ("photos/2026/*/a*.png", "photos/2026/"),
        ("photos/a*.png", "photos/"),
        ("photos/**", "photos/"),
        ("photos/**/*.png", "photos/"),
        ("photos/a.png", "photos/"),
        ("/data/[ab]/x?.png", "/data/"),
        ("/data/x?.png", "/data/"),
        ("*.png", ""),
        ("a.png", ""),
        ("**/*.png", ""),
        ("./*.png", "./"),
        ("/*.png", "/"),
        ("gs://bucket/set-1/*.png", "gs://bucket/set-1/"),
        ("gs://bucket/*.png", "gs://bucket/"),
    ],
)
def test_fixed_prefix_ends_before_the_first_wildcard(pattern, prefix):
    assert fixed_prefix(pattern) == prefix


@pytest.mark.parametrize(
    ("relative", "output"),
    [
        ("a/b.png", "a/b.png"),
        ("a/b.JPG", "a/b.JPG"),
        ("b.gif", "b.gif.png"),
        ("b", "b.png"),
        ("a.png/b", "a.png/b.png"),
        (".png", ".png.png"),
        ("b.tar.tif", "b.tar.tif"),
        ("b.webp.bak", "b.webp.bak.png"),
    ],
)
def test_output_path_mirrors_the_source_with_a_writable_suffix(relative, output):
    assert output_path_of(relative) == output


@pytest.mark.parametrize(
    ("relative", "output_format", "output"),
    [
        ("a/b.png", "png", "a/b.png"),
        ("a/b.jpg", "png", "a/b.jpg.png"),  # a/b.png may exist too
        ("a/b.JPEG", "jpeg", "a/b.JPEG"),
        ("a/b.png", "jpeg", "a/b.png.jpg"),
        ("b.gif", "webp", "b.gif.webp"),
        ("b.TIFF", "tiff", "b.TIFF"),
        ("b", "tiff", "b.tif"),
    ],
)
def test_output_format_appends_its_suffix(relative, output_format, output):
    assert output_path_of(relative, output_format) == output


@quick
@given(st.text("ab./ é", min_size=1, max_size=12))
def test_every_output_path_names_a_format_that_can_be_written(relative):
    output = output_path_of(relative)
    assert output in (relative, relative + ".png")
    assert Path(output).suffix.lower() in WRITABLE_SUFFIXES or relative.endswith(("/", "."))


@pytest.fixture
def tree(tmp_path, monkeypatch) -> Path:
    """A directory of files, the current one."""
    for name in (
        "photos/a.png",
        "photos/b.jpg",
        "photos/.hidden.png",
        "photos/.secret/c.png",
        "photos/deep/c.png",
        "photos/deep/er/d.png",
        "photos/set[1]/e.png",
        "photos/with space/ü.png",
        "other/a.png",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * len(name))
    (tmp_path / "photos/folder.png").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def relative_paths(pattern: str) -> list[str]:
    return sorted(ref.relative_path for ref in expand_glob(pattern))


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("photos/*.png", ["a.png", "folder.png"]),
        ("photos/?.*", ["a.png", "b.jpg"]),
        ("photos/a.png", ["a.png"]),
        ("photos/none.png", []),
        ("nowhere/*.png", []),
        ("photos/deep/**/*.png", ["c.png", "er/d.png"]),  # at zero depth, too
        ("photos/deep/**", ["c.png", "er/d.png"]),  # without its directories
        ("photos/*/c.png", ["deep/c.png"]),
        ("photos/.*.png", [".hidden.png"]),
        ("photos/.secret/*", ["c.png"]),
        ("photos/set[[]1]/*.png", ["set[1]/e.png"]),
        ("photos/with space/*", ["ü.png"]),
        ("*/a.png", ["other/a.png", "photos/a.png"]),
        ("./photos/a*", ["a.png"]),
        ("photos/deep/er/../*.png", ["c.png"]),
    ],
)
def test_glob_finds_the_matching_files(tree, pattern, expected):
    assert relative_paths(pattern) == expected
    assert relative_paths(f"{tree}/{pattern}") == expected


@pytest.fixture(scope="module")
def odd_tree(tmp_path_factory) -> Path:
    """Names that the patterns below distinguish, two directories deep."""
    root = tmp_path_factory.mktemp("odd")
    directories = ("", "a", "a/b", "ab", ".a", "a/.b", "[a]")
    for directory in directories:
        (root / directory).mkdir(exist_ok=True)
    for directory in directories:
        for name in ("a.png", ".h.png", "b"):
            if not (root / directory / name).exists():
                (root / directory / name).touch()
    return root


@settings(max_examples=400, deadline=None, derandomize=True)
@given(
    st.lists(
        st.sampled_from(["*", "**", "?", "a", "b", "a*", ".*", "[!b]*", "[[]a]", "*.png", "."]),
        min_size=1,
        max_size=4,
    ),
    st.sampled_from(["", "/"]),
)
def test_glob_semantics_equal_pythons(odd_tree, parts, end):
    pattern = f"{odd_tree}/{'/'.join(parts)}{end}"
    # Python's ** also finds `file/`.
    expected = {path for path in glob.iglob(pattern, recursive=True) if os.path.exists(path)}
    if pattern.endswith("**"):
        expected = {path for path in expected if not os.path.isdir(path)}
    found = {path for path, error in walk(pattern) if not error}
    assert found <= expected
    if parts.count("**") > 1:  # finds files by several paths
        expected, found = (set(map(os.path.realpath, paths)) for paths in (expected, found))
    assert found == expected


def test_double_star_matches_everything_below(tree):
    assert relative_paths("photos/**") == [
        "a.png",
        "b.jpg",
        "deep/c.png",
        "deep/er/d.png",
        "set[1]/e.png",
        "with space/ü.png",
    ]
    assert "folder.png" in relative_paths("photos/**/*.png"), "the report is to name it"


def test_reference_holds_size_and_time_without_reading(tree):
    os.utime("photos/deep/er/d.png", (1.5e9, 1.6e9))
    (ref,) = expand_glob("photos/**/d.png", order=3)
    assert ref == ImageRef(
        uri="photos/deep/er/d.png",
        relative_path="deep/er/d.png",
        output_path="deep/er/d.png",
        size=len("photos/deep/er/d.png"),
        modified=1.6e9,
        order=3,
    )


def test_links_are_followed_and_dangling_links_listed(tree):
    os.symlink("a.png", "photos/link.png")
    os.symlink("nowhere", "photos/lost.png")
    by_name = {ref.relative_path: ref for ref in expand_glob("photos/*.png")}
    assert by_name["link.png"].size == by_name["a.png"].size > 0
    assert (by_name["lost.png"].size, by_name["lost.png"].modified) == (0, 0.0)


def test_link_loops_are_walked_once(tree):
    os.symlink("..", "photos/deep/up")
    os.symlink(".", "photos/deep/er/here")
    os.symlink("itself", "photos/itself")
    os.symlink(tree / "photos", "other/a")
    assert relative_paths("photos/**/*.jpg") == ["b.jpg"]
    assert relative_paths("photos/**/c.png") == ["deep/c.png"]
    assert relative_paths("photos/deep/**/*.jpg") == ["up/b.jpg"]
    assert relative_paths("**/d.png") == ["photos/deep/er/d.png"]


def test_linked_directory_is_followed_and_the_real_path_preferred(tree):
    os.mkdir("elsewhere")
    Path("elsewhere/z.png").touch()
    for name in ("1st", "zzz"):
        os.symlink(tree / "elsewhere", f"photos/{name}")
    os.symlink("deep", "photos/a link")
    assert relative_paths("photos/**/z.png") == ["1st/z.png"]
    assert relative_paths("photos/**/d.png") == ["deep/er/d.png"]
    assert relative_paths("photos/*/z.png") == ["1st/z.png", "zzz/z.png"], "without ** no loop"


def failures(pattern: str, output: str | None = None) -> dict[str, str]:
    """Messages of refusals, by URI."""
    outcomes = expand_glob(pattern, output=output)
    return {o.source_uri: o.error_message for o in outcomes if isinstance(o, ReportRow)}


@pytest.mark.parametrize("pattern", ["photos/**/*.png", "photos/*/*.png", "photos/**"])
def test_unreadable_directory_is_reported(tree, pattern, monkeypatch):
    scandir = os.scandir

    def refuse(path):
        if path.endswith("deep/"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert list(failures(pattern)) == ["photos/deep"]
    refs = [o for o in expand_glob(pattern) if isinstance(o, ImageRef)]
    assert "with space/ü.png" in {ref.relative_path for ref in refs}


def test_directory_without_search_permission_is_reported(tree, monkeypatch):
    def refuse(path, **_):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(os, "stat", refuse)
    assert list(failures("photos/deep/c.png")) == ["photos"]


@pytest.fixture
def abyss(tmp_path, monkeypatch) -> Path:
    """A tree deeper than a path can be long, with a file every 100 directories."""
    monkeypatch.chdir(tmp_path)
    for depth in range(2500):
        if depth % 100 == 0:
            Path("x.png").touch()
        os.mkdir("d")
        os.chdir("d")
    os.chdir(tmp_path)
    yield tmp_path
    subprocess.run(["rm", "-rf", tmp_path / "d"], check=True)  # shutil's recursion has an end


def test_tree_deeper_than_path_max_is_reported(abyss):
    outcomes = list(expand_glob("**/*.png"))
    (refused,) = [outcome for outcome in outcomes if isinstance(outcome, ReportRow)]
    assert refused.error_message == os.strerror(errno.ENAMETOOLONG)
    assert len(refused.source_uri) == 4095
    assert len(outcomes) - 1 == 21


def test_links_into_the_output_are_refused(tree):
    os.makedirs("out/images/sub")
    Path("out/images/x.png").touch()
    Path("out/images/sub/x.png").touch()
    os.symlink(tree / "out/images/x.png", "photos/x.png")
    os.symlink(tree / "out/images", "photos/results")
    os.symlink(tree, "photos/all")
    for pattern in ("photos/**/x.png", f"{tree}/photos/**"):
        refused = failures(pattern, "out")
        assert set(refused.values()) == {"lies in the output directory"}
        assert sorted(os.path.relpath(uri) for uri in refused) == [
            "photos/all/out", "photos/results", "photos/x.png",
        ]  # fmt: skip
    assert list(failures("photos/x.png", "out")) == ["photos/x.png"]
    assert list(failures("photos/*/x.png", "out")) == ["photos/results"]
    assert failures("photos/**/x.png") == {}


def test_output_paths_get_a_writable_suffix(tree):
    Path("other/x.gif").write_bytes(b"x")
    assert {ref.output_path for ref in expand_glob("other/*")} == {"a.png", "x.gif.png"}


@pytest.mark.parametrize("pattern", ["photos//*.jpg", "photos//**/*.jpg", "./photos//*.jpg"])
def test_doubled_slashes_are_ignored(tree, pattern):
    assert relative_paths(pattern) == ["b.jpg"]


def test_no_relative_path_leads_outside_the_output(tree):
    with pytest.raises(ValueError, match="follow a wildcard"):
        relative_paths("photos/*/../../other/*")


def test_claim_key_folds_case_and_composition():
    names = ["a/X.png", "A/x.PNG", "a/\u00e9.png", "a/E\u0301.png", "a/\udcff.png"]
    refs = [ref_of(name, output=name) for name in names]
    assert [claim_key(ref.output_path, names_fold=False) for ref in refs] == names
    keys = [claim_key(ref.output_path, names_fold=True) for ref in refs]
    assert keys[0] == keys[1] and keys[2] == keys[3]
    assert len(set(keys)) == 3


def ref_of(uri: str, order: int = 0, output: str = "x.png") -> ImageRef:
    return ImageRef(uri, output, output, 0, 0.0, order)


def claims(*refs: ImageRef) -> tuple[list[str], dict[str, str]]:
    """URIs that keep their output, and the messages of the refused ones."""
    outcomes = list(claim_output(refs))
    kept = [outcome.uri for outcome in outcomes if isinstance(outcome, ImageRef)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, ReportRow)]
    assert all(row.error_type == "ImageError" for row in refused)
    return kept, {row.source_uri: row.error_message for row in refused}


def test_uncontested_output_is_kept():
    assert claims(ref_of("a")) == (["a"], {})


def test_first_input_keeps_a_contested_output():
    kept, refused = claims(ref_of("a/x.png", 1), ref_of("b/x.png", 0), ref_of("c/x.png", 1))
    assert kept == ["b/x.png"]
    message = "would write the same output as b/x.png"
    assert refused == {"a/x.png": message, "c/x.png": message}


def test_alphabetically_first_source_of_one_input_keeps_the_output():
    kept, refused = claims(ref_of("x.gif.png"), ref_of("x.gif"))
    assert kept == ["x.gif"]
    assert list(refused) == ["x.gif.png"]


def test_source_matched_twice_counts_once():
    assert claims(ref_of("a", 1), ref_of("a", 0), ref_of("a", 0)) == (["a"], {})
    kept, refused = claims(ref_of("b", 1), ref_of("a", 0), ref_of("b", 2))
    assert kept == ["a"] and list(refused) == ["b"]


@quick
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 2)), min_size=1).flatmap(
        lambda refs: st.tuples(st.just(refs), st.permutations(refs))
    )
)
def test_clash_resolution_does_not_depend_on_arrival_order(orders):
    first, second = (claims(*(ref_of(uri, order) for uri, order in refs)) for refs in orders)
    assert first == second
    kept, refused = first
    assert len(kept) == 1
    assert {*kept, *refused} == {uri for uri, _ in orders[0]}


@given(st.integers(1, 3000), st.integers(2, 16), st.integers(0, 999))
@quick
def test_references_are_dealt_evenly_over_workers(count, workers, seed):
    draw = random.Random(seed)
    sizes = [int(draw.lognormvariate(12, 1)) for _ in range(count)]
    found = [ImageRef(f"/{n}", f"{n}", f"{n}", size, 0.0, 0) for n, size in enumerate(sizes)]
    unreadable = ReportRow(source_uri="/bad", relative_path="bad", status="failed")
    pairs = [(ref.output_path.encode(), ref) for ref in found] + [(b"bad", unreadable)]
    listed = defaultdict(list)
    for bucket, block in to_blocks(pairs):
        listed[bucket].append(block)

    settle = Settle(Policy(OutputStore("/nowhere", "run"), "settings"), False, False)
    settle.start_bundle()
    ended = [
        one
        for bucket, blocks in listed.items()
        for one in settle.process(
            (bucket, {"globbed": [], "listed": blocks, "past": [], "results": []})
        )
    ]
    ended += [one.value for one in settle.finish_bundle()]
    (row,) = (one.value for one in ended if isinstance(one, beam.pvalue.TaggedOutput))
    assert row == unreadable
    refs = [one for one in ended if isinstance(one, ImageRef)]
    expected = [replace(ref, change="new") for ref in found]
    assert sorted(refs, key=lambda ref: int(ref.relative_path)) == expected
    shares = [sum(ref.size for ref in refs[first::workers]) for first in range(workers)]
    windows = count // 1024 + 1
    assert max(shares) - min(shares) <= windows * max(sizes)
