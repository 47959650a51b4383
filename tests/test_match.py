"""Globs to references: what is found, where each goes, who keeps a contested place."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import quick

from transforms.errors import ImageError
from transforms.match import claim_output, expand_glob, fixed_prefix, output_path_of
from transforms.records import ImageRef
from transforms.write import WRITABLE_SUFFIXES


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
def test_fixed_prefix(pattern, prefix):
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
def test_output_path_of(relative, output):
    assert output_path_of(relative) == output


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
def test_expand_glob(tree, pattern, expected):
    assert relative_paths(pattern) == expected
    assert relative_paths(f"{tree}/{pattern}") == expected


def test_everything_below(tree):
    assert relative_paths("photos/**") == [
        "a.png",
        "b.jpg",
        "deep/c.png",
        "deep/er/d.png",
        "set[1]/e.png",
        "with space/ü.png",
    ]
    assert "folder.png" in relative_paths("photos/**/*.png"), "the report is to name it"


def test_a_reference_holds_what_is_known_without_reading(tree):
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


def test_links_are_followed_and_dangling_ones_listed(tree):
    os.symlink("a.png", "photos/link.png")
    os.symlink("nowhere", "photos/lost.png")
    by_name = {ref.relative_path: ref for ref in expand_glob("photos/*.png")}
    assert by_name["link.png"].size == by_name["a.png"].size > 0
    assert (by_name["lost.png"].size, by_name["lost.png"].modified) == (0, 0.0)


def test_output_paths_are_given_a_writable_ending(tree):
    Path("other/x.gif").write_bytes(b"x")
    assert {ref.output_path for ref in expand_glob("other/*")} == {"a.png", "x.gif.png"}


@pytest.mark.parametrize("pattern", ["photos//*.jpg", "photos//**/*.jpg", "./photos//*.jpg"])
def test_doubled_slashes_do_not_matter(tree, pattern):
    assert relative_paths(pattern) == ["b.jpg"]


def test_no_relative_path_leads_out_of_the_output(tree):
    with pytest.raises(ValueError, match="behind a wildcard"):
        relative_paths("photos/*/../../other/*")


def ref_of(uri: str, order: int = 0, output: str = "x.png") -> ImageRef:
    return ImageRef(uri, output, output, 0, 0.0, order)


def claims(*refs: ImageRef) -> tuple[list[str], dict[str, str]]:
    """URIs that may write, and the messages of those that may not."""
    outcomes = list(claim_output(refs))
    kept = [outcome.uri for outcome in outcomes if isinstance(outcome, ImageRef)]
    refused = dict(outcome for outcome in outcomes if not isinstance(outcome, ImageRef))
    assert all(isinstance(error, ImageError) for error in refused.values())
    return kept, {ref.uri: str(error) for ref, error in refused.items()}


def test_a_place_of_its_own_is_kept():
    assert claims(ref_of("a")) == (["a"], {})


def test_the_first_input_keeps_a_contested_place():
    kept, refused = claims(ref_of("a/x.png", 1), ref_of("b/x.png", 0), ref_of("c/x.png", 1))
    assert kept == ["b/x.png"]
    message = "would write the same output as b/x.png"
    assert refused == {"a/x.png": message, "c/x.png": message}


def test_within_one_input_the_alphabetically_first_keeps_it():
    kept, refused = claims(ref_of("x.gif.png"), ref_of("x.gif"))
    assert kept == ["x.gif"]
    assert list(refused) == ["x.gif.png"]


def test_a_source_matched_twice_counts_once():
    assert claims(ref_of("a", 1), ref_of("a", 0), ref_of("a", 0)) == (["a"], {})
    kept, refused = claims(ref_of("b", 1), ref_of("a", 0), ref_of("b", 2))
    assert kept == ["a"] and list(refused) == ["b"]


@quick
@given(
    st.lists(st.tuples(st.sampled_from("abcde"), st.integers(0, 2)), min_size=1).flatmap(
        lambda refs: st.tuples(st.just(refs), st.permutations(refs))
    )
)
def test_claims_do_not_depend_on_the_order_of_arrival(orders):
    first, second = (claims(*(ref_of(uri, order) for uri, order in refs)) for refs in orders)
    assert first == second
    kept, refused = first
    assert len(kept) == 1
    assert {*kept, *refused} == {uri for uri, _ in orders[0]}
