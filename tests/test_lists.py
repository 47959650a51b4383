"""Lists of images: their formats, and jobs over them."""

import os
import threading
from pathlib import Path

import apache_beam as beam
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import files_below, write_images
from hypothesis import given
from hypothesis import strategies as st
from support import quick

from benchmarks import references
from codec.errors import ImageError
from pipeline.runners.table import find_runner
from storage import lists
from storage.lists import Listed, ListError, Part, check_list, list_files, read_list, read_part
from storage.store import OutputStore
from transforms.done import Policy
from transforms.listed import ListRules, covered, refer
from transforms.match import MatchImages
from transforms.records import ImageRef


def entries(path: Path, content: bytes | str) -> list[Listed]:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    check_list(str(path))
    return list(read_list(str(path)))


def uris(path: Path, content: bytes | str) -> list[str]:
    return [entry.uri for entry in entries(path, content)]


def problems(found: list[Listed]) -> dict[str, str]:
    return {entry.uri: entry.problem for entry in found if entry.problem}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", []),
        ("\n\n", []),
        ("a.png", ["a.png"]),
        ("a.png\r\n\r\nb.png\n", ["a.png", "b.png"]),
        ("\ufeffa.png\n", ["a.png"]),
        ("s3://bucket/ü x.png\n#1.png\n*.png \n", ["s3://bucket/ü x.png", "#1.png", "*.png "]),
        (b"\xff.png\n", ["\udcff.png"]),
    ],
)
def test_each_text_line_is_one_uri(tmp_path, content, expected):
    assert uris(tmp_path / "list", content) == expected


def test_overlong_line_is_cut_and_reading_continues(tmp_path):
    found = uris(tmp_path / "list", b"x" * 200_000 + b"\nnext\n")
    assert [len(uri) for uri in found] == [1 << 16, 4]


def test_zero_byte_in_a_name_is_refused(tmp_path):
    found = entries(tmp_path / "list", "a" * 2000 + "\nb\0c\nd\n")
    assert problems(found) == {
        f"{tmp_path}/list:byte 2001": "bad line: the name contains a zero byte: b\0c"
    }
    assert found[2] == Listed("d")


@quick
@given(
    st.lists(st.binary(max_size=9).filter(lambda line: not set(line) & set(b"\0\r\n"))),
    st.integers(1, 12),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
)
def test_text_read_in_parts_equals_the_whole(tmp_path_factory, names, size, end, ended):
    path = tmp_path_factory.mktemp("parts") / "list"
    path.write_bytes(end.join(names) + (end if ended else b""))
    length = path.stat().st_size
    parts = [Part(str(path), at, min(at + size, length)) for at in range(0, length, size)]
    found = [entry.uri for part in parts for entry in read_part(part)]
    expected = [name.decode("utf-8", "surrogateescape") for name in names if name]
    assert found == [name for name in expected if name != "\ufeff"]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("a.png\nb.png\n", [Listed("a.png"), Listed("b.png")]),
        ("a.png,7\nb.png,8\n", [Listed("a.png"), Listed("b.png")]),
        ("uri\na.png\n\n", [Listed("a.png")]),
        ('\ufeffuri\n"a, b\nc"".png"\n', [Listed('a, b\nc".png')]),
        (
            "bucket,size,modified,uri,relative_path\nx,12,1.5e9,a,b/c\nx,,,d,\n",
            [Listed("a", "b/c", 12, 1.5e9), Listed("d")],
        ),
        (
            "uri,modified\na,2026-01-01T00:00:00Z\nb,2026-01-01 01:00:00+01:00\nc,2026-01-01\n",
            [Listed(name, modified=1767225600.0) for name in "abc"],
        ),
        (b"uri\n\xe9.png\n", [Listed("\udce9.png")]),
    ],
)
def test_csv_lists_are_read(tmp_path, content, expected):
    assert entries(tmp_path / "list.csv", content) == expected


def test_bad_csv_lines_are_reported_and_the_others_read(tmp_path):
    lines = [
        "uri,size,modified", "a,1,2", "b,1", ",1,2", "c,many,2", "d,-1,2", "e,1,inf", "f,1,noon",
        f"g,{1 << 63},2", 'h,1"2,3', '"i" x,1,2', "j,1,2", '"k,1,2', "",
    ]  # fmt: skip
    path = tmp_path / "list.csv"
    found = entries(path, "\n".join(lines))
    assert [entry for entry in found if not entry.problem] == [
        Listed("a", None, 1, 2.0),
        Listed("j", None, 1, 2.0),
    ]
    assert list(problems(found)) == [
        "b", f"{path}:line 4", "c", "d", "e", "f", "g", "h", f"{path}:line 11", f"{path}:line 13",
    ]  # fmt: skip
    assert all(problem.startswith("bad line: ") for problem in problems(found).values())


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.binary()])
@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_parquet_lists_of_any_column_type_are_read(tmp_path, kind, unit):
    path = str(tmp_path / "list.parquet")
    seconds = pa.array([1_500_000_000, None, 3])
    table = pa.table(
        {
            "other": [1, 2, 3],
            "size": pa.array([5, None, 7], pa.int32()),
            "uri": pa.array(["a", "ü", None]).cast(kind),
            "modified": seconds.cast(pa.timestamp("s")).cast(pa.timestamp(unit, "UTC")),
        }
    )
    pq.write_table(table, path, row_group_size=2)
    check_list(path)
    assert list(read_list(path)) == [
        Listed("a", None, 5, 1.5e9),
        Listed("ü"),
        Listed(f"{path}:row 0 of row group 1", problem="bad line: no uri"),
    ]


def test_parquet_binary_and_dictionary_columns_are_read(tmp_path):
    path = str(tmp_path / "list.parquet")
    odd = pa.array([b"\xff", b"\xff"]).view(pa.string()).dictionary_encode()
    pq.write_table(pa.table({"uri": odd, "modified": [1.5, 2.5], "size": [1, 2]}), path)
    check_list(path)
    assert list(read_list(path)) == [
        Listed("\udcff", None, 1, 1.5),
        Listed("\udcff", None, 2, 2.5),
    ]


def test_damage_inside_a_list_is_reported(tmp_path):
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"uri": [f"{i:099}" for i in range(500)]}), path, compression="none")
    content = bytearray(path.read_bytes())
    content[4:60] = b"\xff" * 56
    path.write_bytes(content)
    check_list(str(path))
    found = list(read_list(str(path)))
    assert problems(found)[str(path)].startswith("the list cannot be read")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("list.txt", b"PAR1\0\0", "not text"),
        ("list", "ü.png".encode("utf-16"), "not text"),
        ("list.parquet", b"a.png\n", "not a Parquet file"),
        ("list.csv.gz", b"\x1f\x8b", "compressed"),
    ],
)
def test_unreadable_lists_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ListError, match=message):
        check_list(str(tmp_path / name))


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"url": ["a"], "size": [1]}, "no column 'uri', but 'url', 'size'"),
        ({"uri": [1]}, "'uri' is int64, not text"),
        ({"uri": ["a"], "size": ["1"]}, "'size' is string, not a whole number"),
        ({"uri": ["a"], "modified": ["noon"]}, "'modified' is string, not a timestamp"),
    ],
)
def test_columns_of_unusable_types_are_refused(tmp_path, columns, message):
    path = str(tmp_path / "list.parquet")
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ListError, match=message):
        check_list(path)


def test_list_globs_are_sorted_and_missing_lists_reported(tmp_path):
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).touch()
    assert list_files(f"{tmp_path}/*.csv") == [f"{tmp_path}/a.csv", f"{tmp_path}/b.csv"]
    assert list_files(f"{tmp_path}/c.txt") == [f"{tmp_path}/c.txt"]
    for missing in ("*.parquet", "d.txt"):
        with pytest.raises(ListError, match="no such file"):
            list_files(f"{tmp_path}/{missing}")
    with pytest.raises(OSError, match="s3:// or gs://"):
        list_files("nosuch://bucket/list.txt")


@pytest.mark.parametrize(
    ("listed", "root", "expected"),
    [
        (Listed("/photos/a/b.png"), "", "photos/a/b.png"),
        (Listed("photos//a.png"), "", "photos/a.png"),
        (Listed("./a.png"), "", "a.png"),
        (Listed("s3://bucket/a/b.png"), "", "a/b.png"),
        (Listed("s3://bucket/a/b.png"), "s3://bucket/a", "b.png"),
        (Listed("s3://bucket/a/b.png"), "s3://bucket", "a/b.png"),
        (Listed("/photos/a/b.png"), "/photos/", "a/b.png"),
        (Listed("/photos/a/../b.png"), "/photos", "b.png"),
        (Listed("/photos/a.png"), "/", "photos/a.png"),
        (Listed("photos/a.png"), "photos", "a.png"),
        (Listed(f"{os.getcwd()}/photos/a.png"), "photos", "a.png"),
        (Listed("/photos/a.png", "x/y.png"), "/elsewhere", "x/y.png"),
        (Listed("/photos/a.png", "x//./y.png"), "", "x/y.png"),
    ],
)
def test_relative_path_depends_on_the_entry_alone(listed, root, expected):
    assert ListRules(root).relative_path(listed) == expected


@pytest.mark.parametrize(
    ("listed", "root", "message"),
    [
        (Listed("../a.png"), "", "outside"),
        (Listed("/a.png", "../b.png"), "", "outside"),
        (Listed("/a.png", "/b.png"), "", "outside"),
        (Listed("/a.png", ""), "", "no file"),
        (Listed("s3://bucket"), "", "no file"),
        (Listed("s3://bucket/a/"), "", "no file"),
        (Listed("s3://bucket/a/../../b"), "", "outside"),
        (Listed("s3://other/a.png"), "s3://bucket", "is not below s3://bucket"),
        (Listed("s3://bucket-2/a.png"), "s3://bucket", "is not below"),
        (Listed("/photos-2/a.png"), "/photos", "is not below"),
    ],
)
def test_no_entry_leads_outside_the_output(listed, root, message):
    with pytest.raises(ImageError, match=message):
        ListRules(root).relative_path(listed)


def test_entries_become_references_or_are_refused(tmp_path):
    (tmp_path / "a.gif").write_bytes(b"12345")
    os.utime(tmp_path / "a.gif", (0, 1.5e9))
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "b.png").touch()
    os.symlink(tmp_path / "out", tmp_path / "link")
    os.symlink(tmp_path / "out" / "b.png", tmp_path / "b.png")
    names = ("a.gif", "none.png", "out/b.png", "link/b.png", "b.png", "x/../a.gif")
    listed = [Listed(f"{tmp_path}/{name}") for name in names]
    listed += [Listed("nosuch://bucket/a.png"), Listed("bad", problem="bad line: so")]
    outcomes = list(refer(listed, 3, ListRules(str(tmp_path), str(tmp_path / "out"))))
    assert outcomes[0] == ImageRef(f"{tmp_path}/a.gif", "a.gif", "a.gif.png", 5, 1.5e9, 3)
    messages = [row.error_message for row in outcomes[1:]]
    assert "No such file" in messages[0]
    assert messages[1:4] == ["lies in the output directory"] * 3
    assert "No such file" in messages[4], "x is no directory"
    assert "is not below" in messages[5] and messages[6] == "bad line: so"


def test_relative_entry_is_refused_for_remote_workers(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(b"1")
    monkeypatch.chdir(tmp_path)
    here, elsewhere = ListRules(directory=str(tmp_path)), ListRules(directory="/other")
    assert [ref.uri for ref in refer([Listed("a.png")], 0, here)] == ["a.png"]
    (row,) = refer([Listed("a.png")], 0, elsewhere)
    assert row.source_uri == "a.png" and "relative to /other" in row.error_message
    assert [ref.size for ref in refer([Listed(f"{tmp_path}/a.png")], 0, elsewhere)] == [1]


def test_sizes_and_times_in_a_list_are_not_looked_up(monkeypatch):
    def refuse(*_):
        raise AssertionError("looked up")

    monkeypatch.setattr(os, "stat", refuse)
    (ref,) = refer([Listed("/none/a.png", None, 7, 8.0)], 0, ListRules())
    assert (ref.size, ref.modified) == (7, 8.0)
    with pytest.raises(AssertionError):
        list(refer([Listed("/none/a.png", None, 7)], 0, ListRules()))


def test_list_covers_paths_below_its_root():
    assert covered(("a/*",), "") == ("a/*",)
    assert set(covered((), "s3://b[1]/x/")) == {"s3://b[[]1]/x/**"}
    assert set(covered((), "x")) == {"x/**", f"{os.getcwd()}/x/**"}


def test_references_of_one_list_are_spread_over_all_workers(tmp_path):
    (tmp_path / "list.txt").write_text("".join(f"/none/{i}.png\n" for i in range(40)))
    write = tmp_path / "seen"
    policy = Policy(OutputStore(str(tmp_path / "out"), "run"), "x")
    rules = ListRules(output=str(tmp_path / "out"))

    def note(_):
        with open(write, "a") as file:
            file.write(f"{threading.get_ident()}\n")

    with beam.Pipeline(options=find_runner(["--direct_num_workers=4"]).options) as pipeline:
        outputs = pipeline | MatchImages((), (f"{tmp_path}/list.txt",), policy, [], rules)
        _ = outputs | beam.Flatten() | beam.Map(note)
    shares = pd.Series(write.read_text().split()).value_counts()
    assert sorted(shares) == [10] * 4


@pytest.fixture
def folder(tmp_path, photo) -> Path:
    write_images(tmp_path / "in", {f"d/{i}.png": photo[i : i + 30, :40] for i in range(4)})
    return tmp_path / "in"


def test_job_reads_lists_and_globs_together(run_job, folder, tmp_path):
    (tmp_path / "a.txt").write_text(f"{folder}/d/0.png\n{folder}/d/1.png\n{folder}/d/none.png\n")
    (tmp_path / "b.csv").write_text(f"uri,relative_path\n{folder}/d/1.png,d/1.png\nx\n")
    arguments = (
        "--input", f"{folder}/**/2.png", "--input_list", f"{tmp_path}/a.txt",
        "--input_list", f"{tmp_path}/*.csv", "--input_root", folder,
    )  # fmt: skip
    job = run_job(*arguments)
    assert job.code == 3, job.err
    assert job.rows.status.to_dict() == {
        "d/0.png": "written", "d/1.png": "written", "d/2.png": "written",
        "d/none.png": "failed", "x": "failed",
    }  # fmt: skip
    assert job.rows.stage["d/none.png"] == job.rows.stage["x"] == "match"
    assert "No such file" in job.rows.error_message["d/none.png"]
    assert "bad line: 1 fields instead of 2" in job.rows.error_message["x"]
    assert files_below(job.output / "images") == {"d/0.png", "d/1.png", "d/2.png"}
    again = run_job(*arguments, "--dry_run")
    assert "to restore: nothing; 3 would be skipped" in again.out
    assert "would fail" in again.out


def test_list_without_root_reports_nothing_as_vanished(run_job, folder, tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("".join(f"{folder}/d/{i}.png\n" for i in range(4)))
    command = ("--input_list", path, "--input_root", folder)
    settings = {"input_list": [str(path)], "input_root": str(folder)}
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(settings))
    assert run_job("--config", tmp_path / "job.yaml").code == 0
    path.write_text(f"{folder}/d/0.png\n")  # 1 still exists but is not listed
    for number in (2, 3):
        (folder / f"d/{number}.png").unlink()
    assert "would be skipped" in run_job(*command[:2], "--dry_run").out
    quiet = run_job(*command[:2], "--dry_run", "--prune")
    assert "its source is gone" not in quiet.out
    gone = run_job(*command, "--prune")
    assert "2 results were removed, their source is gone" in gone.out
    assert files_below(gone.output / "images") == {"d/0.png", "d/1.png"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--input_list", "{0}/none.txt"), 2, "no such file; name a file of URIs"),
        (("--input_list", "{0}/*.nothing"), 2, "no such file; name a file of URIs"),
        (("--input_list", "{0}"), 2, "is not a regular file; name a file of URIs"),
        (("--input_list", "{0}/bad.parquet"), 2, "has no column 'uri', but 'url'"),
        (("--input_list", "{0}/*.parquet"), 2, "bad.parquet': has no column 'uri', but 'url'"),
        (("--input_list", "{0}/empty.txt"), 4, "nothing is listed in"),
        (("--input_list", "{0}/good.parquet", "--input_list", "{0}/empty.txt", "--fail_on_empty"),
         4, "nothing is listed in"),
        (("--input", "{0}/*.png", "--input_root", "{0}"), 2, "input_root: applies to lists only"),
        ((), 2, "or a list of URIs with input_list"),
    ],
)  # fmt: skip
def test_lists_are_checked_before_the_run(run_job, tmp_path, arguments, code, message):
    (tmp_path / "empty.txt").write_text("\n")
    pq.write_table(pa.table({"uri": ["a"]}), tmp_path / "good.parquet")
    pq.write_table(pa.table({"url": ["a"]}), tmp_path / "bad.parquet")
    job = run_job(*(argument.format(tmp_path) for argument in arguments))
    assert job.code == code
    assert message in job.err
    assert not job.output.exists()


def test_nights_of_the_list_benchmark_have_the_expected_counts(tmp_path):
    count = 300
    for night, expected in enumerate(references.expected_counts(count)):
        references.write_lists(tmp_path, night, count)
        assert references.run_night(tmp_path, night) == 0
        assert references.counts_of(tmp_path, night) == expected
        assert (tmp_path / f"out/runs/night-{night}/index.html").stat().st_size > 1000


def test_large_lists_are_read_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr(lists, "_PART_BYTES", 10)
    (tmp_path / "list.txt").write_text("".join(f"{i:07}\n" for i in range(5)))
    parts = list(lists.parts_of(str(tmp_path / "list.txt")))
    assert [(part.start, part.end) for part in parts] == [(0, 10), (10, 20), (20, 30), (30, 40)]
    assert sum(len(list(read_part(part))) for part in parts) == 5
