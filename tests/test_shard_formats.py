"""Shard formats: reading, copying of other members, refusals."""

import io
import tarfile

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from shard_files import (
    info_of,
    parquet_bytes,
    parquet_table,
    picture,
    raw_tar,
    sample_of,
    sparse_header,
    tar_bytes,
)
from support import quick

from shards import parquet
from shards.formats import FORMATS, is_shard, refusal
from shards.samples import NewImage, Sample, ShardError, new_ending, with_ending
from shards.tar import TarReader, TarWriter, count_samples

IMAGES = [picture(seed) for seed in range(3)]


def read(content: bytes, image: str = "") -> list[Sample]:
    return list(TarReader(io.BytesIO(content), image))


def rewritten(content: bytes, new: NewImage | None = None, figures=None) -> bytes:
    target = io.BytesIO()
    writer = TarWriter(target)
    for sample in TarReader(io.BytesIO(content)):
        writer.add(sample, None if sample.name is None else new, figures)
    writer.close()
    return target.getvalue()


def problems(samples: list[Sample]) -> dict[str, str]:
    return {one.name: one.problem for one in samples if one.problem}


names = st.text(st.characters(exclude_categories=["Cc"], exclude_characters="/"), min_size=1)


@quick
@given(
    st.lists(st.tuples(names, st.binary(max_size=1500)), max_size=6),
    st.sampled_from([tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
)
def test_other_members_are_copied_byte_for_byte(members, form):
    try:
        content = tar_bytes(((f"{name}.json", data) for name, data in members), form)
    except (ValueError, UnicodeError):
        return  # the format cannot hold the name
    assert rewritten(content) == content


def test_only_the_image_of_a_sample_is_replaced():
    long = f"{'d' * 90}/{'k' * 90}"
    for form in (tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        members = [
            *sample_of("a", IMAGES[0]),
            *sample_of(long, IMAGES[1], "heic"),
            ("README", b"x"),
        ]
        made = rewritten(tar_bytes(members, form), NewImage(b"new", ".png"))
        with tarfile.open(fileobj=io.BytesIO(made)) as tar:
            found = [(m, tar.extractfile(m).read()) for m in tar]
        assert [(m.name, data) for m, data in found] == [
            ("a.png", b"new"), *members[1:3], (f"{long}.png", b"new"), *members[4:],
        ]  # fmt: skip
        assert {(m.mtime, m.uname) for m, _ in found} == {(1_700_000_000, "bigdata")}


def test_sample_locates_its_image():
    content = tar_bytes([("x.json", b"{}"), *sample_of("y", IMAGES[0])])
    (_, sample) = read(content)
    assert content[sample.offset :][: sample.size] == IMAGES[0] == sample.content()
    assert count_samples(io.BytesIO(content)) == 2


def test_tar_figures_are_a_member_of_their_sample():
    made = rewritten(
        tar_bytes(sample_of("a", IMAGES[0])), None, {"psnr": float("inf"), "failure": None}
    )
    with tarfile.open(fileobj=io.BytesIO(made)) as tar:
        assert tar.getnames() == ["a.jpg", "a.json", "a.txt", "a.restoration.json"]
        text = tar.extractfile("a.restoration.json").read()
        assert text == b'{"psnr": "inf", "failure": null}\n'
    assert "already" in problems(read(made))["a"]


GOOD = (info_of("good.jpg", len(IMAGES[0])), IMAGES[0])
HOSTILE = {
    "above": ((info_of("../x.jpg", 1), b"x"), "points outside the tar"),
    "no sample above": ((info_of("../x", 1), b"x"), "points outside the tar"),
    "absolute": ((info_of("/etc/x.jpg", 1), b"x"), "points outside the tar"),
    "link": ((info_of("x.jpg", type=tarfile.SYMTYPE, linkname="/etc/passwd"), b""), "is a link"),
    "hard link": ((info_of("x.jpg", type=tarfile.LNKTYPE, linkname="good.jpg"), b""), "is a link"),
    "device": ((info_of("x.jpg", type=tarfile.CHRTYPE), b""), "is a device"),
    "tar": ((info_of("x.tar", 1), b"x"), "a tar within a tar"),
    "no image": ((info_of("x.json", 2), b"{}"), "no image; its members are x.json"),
}


@pytest.mark.parametrize(("part", "said"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_tar_member_is_one_bad_sample(part, said):
    content = raw_tar(GOOD, part, (info_of("z.jpg", 2), b"zz"))
    samples = read(content)
    assert [one.problem is None for one in samples] == [True, False, True]
    assert said in samples[1].problem
    assert rewritten(content)[: len(content)] == content


def test_sparse_10_gb_member_is_not_expanded():
    content = raw_tar(GOOD)[:-1024] + sparse_header() + bytes(1024)
    good, sparse = read(content)
    assert good.problem is None and "sparse" in sparse.problem
    assert len(rewritten(content)) < len(content) + 20_000


def test_samples_with_duplicate_images_keys_or_names_are_refused():
    two = [("a.left.png", b"1"), ("a.right.jpg", b"2"), ("a.json", b"{}")]
    content = tar_bytes([*two, *sample_of("b", b"x"), *sample_of("c", b"x"), *sample_of("b", b"y")])
    samples = read(content)
    assert [one.name for one in samples[1:3]] == ["b.jpg", "c.jpg"]
    (several, again) = problems(samples).values()
    assert "--image_column" in several and "a.left.png" in several
    assert "occurs earlier" in again
    assert len({one.name for one in samples}) == 4
    chosen = read(content, "left.png")[0]
    assert (chosen.name, chosen.content()) == ("a.left.png", b"1")
    twice = tar_bytes([("a.jpg", b"1"), ("a.json", b"{}"), ("a.json", b"{}")])
    assert "two members are named a.json" in problems(read(twice))["a"]


@quick
@given(st.data())
def test_truncated_tar_yields_its_whole_samples_and_an_error(data):
    content = tar_bytes([m for n in "abc" for m in sample_of(n, IMAGES[0])])
    end = len(content.rstrip(b"\0"))
    cut = data.draw(st.integers(0, end))
    *whole, last = read(content[:cut])
    assert last.carried is None and "damaged" in last.problem
    assert [one.name for one in whole] == ["a.jpg", "b.jpg", "c.jpg"][: len(whole)]
    size = end // 3
    assert len(whole) in (cut // size, cut // size - 1, cut // size + 1)


@quick
@given(st.data())
def test_damaged_tar_raises_only_shard_errors(data):
    content = bytearray(
        tar_bytes([m for n in "ab" for m in sample_of(n, b"xyz")], tarfile.PAX_FORMAT)
    )
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, 3 * 1024))] = data.draw(st.integers(0, 255))
    samples = read(bytes(content))
    assert len({one.name for one in samples if one.name is not None}) == sum(
        one.name is not None for one in samples
    )


def test_joined_tars_and_huge_headers_are_refused():
    one, two = tar_bytes(sample_of("a", b"x")), tar_bytes(sample_of("b", b"x"))
    (_, damage) = read(one + two)
    assert "concatenated" in damage.problem
    pax = info_of("p", 1 << 30, type=tarfile.XHDTYPE)
    (damage,) = read(pax.tobuf(tarfile.GNU_FORMAT) + bytes(5000))
    assert "longer than 1 MiB" in damage.problem


# Parquet


def table_of(content: bytes) -> pa.Table:
    return pq.read_table(io.BytesIO(content))


def restored(content: bytes, new: NewImage | None, figures=(), keep=lambda _: True) -> bytes:
    reader = parquet.ParquetReader(io.BytesIO(content))
    target = io.BytesIO()
    writer = parquet.ParquetWriter(target, reader, list(figures))
    for sample in reader:
        if sample.carried and keep(sample):
            writer.add(sample, None if sample.problem else new, figures or None)
    writer.close()
    return target.getvalue()


NAMES = ["a.jpg", "b.HEIC", None]


@pytest.mark.parametrize("names", [NAMES, None], ids=["struct", "binary"])
@pytest.mark.parametrize("codec", ["zstd", "none", "snappy"])
def test_parquet_table_is_unchanged_except_its_images(names, codec):
    table = parquet_table(IMAGES, names)
    source = parquet_bytes(table, compression=codec, row_group_size=2)
    made = restored(source, NewImage(b"new", ".png"))
    found = table_of(made)
    assert found.schema.equals(table.schema, check_metadata=True)
    assert found.drop_columns("image") == table.drop_columns("image")
    images = found["image"].to_pylist()
    if names:
        assert [one["path"] for one in images] == ["a.png", "b.png", None]
        images = [one["bytes"] for one in images]
    assert images == [b"new"] * 3
    old, new = pq.ParquetFile(io.BytesIO(source)), pq.ParquetFile(io.BytesIO(made))
    codecs = [
        [f.metadata.row_group(0).column(i).compression for i in range(f.metadata.num_columns)]
        for f in (old, new)
    ]
    assert codecs[0] == codecs[1]
    assert restored(source, NewImage(b"new", ".png")) == made


def test_parquet_rows_are_kept_or_dropped():
    table = parquet_table([IMAGES[0], None, IMAGES[2]], NAMES)
    source = parquet_bytes(table)
    assert table_of(restored(source, None)) == table
    dropped = table_of(restored(source, None, keep=lambda sample: not sample.problem))
    assert dropped == table.take([0, 2])
    samples = list(parquet.ParquetReader(io.BytesIO(source)))
    assert problems(samples) == {"1": "the image is missing (null)"}
    kind = parquet_table([b""], ["x.jpg"]).schema.field("image").type
    only_path = pa.table({"image": pa.array([{"path": "/etc/passwd"}], kind)})
    (sample,) = parquet.ParquetReader(io.BytesIO(parquet_bytes(only_path)))
    assert "/etc/passwd, which is not followed" in sample.problem


def test_row_groups_are_bounded_in_bytes(monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_BYTES", 10_000)
    source = parquet_bytes(parquet_table([bytes(3000)] * 10))
    file = pq.ParquetFile(io.BytesIO(restored(source, None)))
    assert [file.metadata.row_group(n).num_rows for n in range(3)] == [4, 4, 2]


def test_parquet_figures_are_a_column():
    source = parquet_bytes(parquet_table(IMAGES))
    made = restored(source, None, {"psnr": float("inf")})
    expected = [{"failure": None, "psnr": float("inf")}] * 3
    assert table_of(made)["restoration"].to_pylist() == expected
    with pytest.raises(ShardError, match="already"):
        restored(made, None, {"psnr": 1.0})


BINARY, TEXT = pa.array([b"x"], pa.large_binary()), pa.array(["x"])


@pytest.mark.parametrize(
    ("columns", "named", "said"),
    [
        ({"a": BINARY}, "", "a"),
        ({"a": BINARY, "image": BINARY}, "image", "image"),
        ({"a": BINARY, "b": BINARY}, "", "several columns may hold the images: a, b"),
        ({"a": TEXT}, "", "no column holds images"),
        ({"a": TEXT, "b": BINARY}, "a", "column a is string; .* b"),
        ({"b": BINARY}, "img", "column img does not exist; .* b"),
    ],
)
def test_image_column_is_found_if_unique(columns, named, said):
    schema = pa.table(columns).schema
    if said in columns:
        assert parquet.image_column(schema, named) == said
        return
    with pytest.raises(ShardError, match=said):
        parquet.image_column(schema, named)


def test_hugging_face_image_feature_is_preferred():
    table = parquet_table(IMAGES).append_column("mask", pa.array(IMAGES))
    assert parquet.image_column(table.schema) == "image"


def test_damaged_page_loses_only_its_row_group():
    images = [bytes([n]) * 5000 for n in range(9)]
    source = bytearray(
        parquet_bytes(
            parquet_table(images),
            row_group_size=3,
            compression="zstd",
            write_page_checksum=True,
            use_dictionary=False,
        )  # fmt: skip
    )
    group = pq.ParquetFile(io.BytesIO(bytes(source))).metadata.row_group(1)
    place = group.column(1)
    source[place.data_page_offset + place.total_compressed_size - 3] ^= 0xFF
    samples = list(parquet.ParquetReader(io.BytesIO(bytes(source))))
    assert [one.name for one in samples if one.carried] == ["0", "1", "2", "6", "7", "8"]
    (damage,) = [one for one in samples if not one.carried]
    assert "row group 1 is damaged from row 3 on" in damage.problem
    for content in (b"", bytes(source[: len(source) // 2]), b"PAR1" * 9):
        with pytest.raises(ShardError, match="not a readable Parquet file"):
            parquet.ParquetReader(io.BytesIO(content))


@quick
@given(st.data())
def test_damaged_table_raises_only_shard_errors(data):
    content = bytearray(parquet_bytes(parquet_table(IMAGES, NAMES), row_group_size=2))
    for _ in range(data.draw(st.integers(1, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    try:
        restored(bytes(content), NewImage(b"new", ".png"))
    except ShardError:
        return


def test_image_is_found_by_its_row():
    source = parquet_bytes(parquet_table(IMAGES, NAMES), row_group_size=2)
    assert [parquet.find_image(io.BytesIO(source), str(n)) for n in range(3)] == IMAGES
    with pytest.raises(ShardError, match="no row 3"):
        parquet.find_image(io.BytesIO(source), "3")
    assert parquet.count_rows(io.BytesIO(source)) == 3


# Names


@pytest.mark.parametrize(
    ("path", "refused"),
    [
        ("a/b.tar", False), ("b.parquet", False), ("B.TAR", False), ("s3://b/k.tar", False),
        ("b.tar.gz", True), ("b.TGZ", True), ("b.tar.zst", True), ("b.parquet.gz", True),
        ("b.png", False), ("b.json.gz", False), ("tar", False),
    ],
)  # fmt: skip
def test_shard_format_follows_from_the_suffix(path, refused):
    assert (refusal(path) is not None) == refused
    assert is_shard(path) == path.lower().endswith(tuple(FORMATS))


@pytest.mark.parametrize(
    ("file_name", "content", "output_format", "ending"),
    [
        ("a.JPG", b"", "same", ".jpg"),
        ("a.heic", b"", "same", ".png"),
        ("a.png", b"", "jpeg", ".jpg"),
        ("a.JPEG", b"", "jpeg", ".jpeg"),
        ("", picture(0, ending=".png"), "same", ".png"),
        ("noending", picture(0), "same", ".jpg"),
        ("", picture(0), "webp", ".webp"),
    ],
)
def test_member_suffix_follows_the_output_format(file_name, content, output_format, ending):
    sample = Sample("x", None, file_name=file_name)
    assert new_ending(sample, content, output_format) == ending


def test_replacing_a_suffix_keeps_the_name():
    assert with_ending("a/b.seg.heic", ".png") == "a/b.seg.png"
    assert with_ending("a/b.JPG", ".jpg") == "a/b.JPG"
    assert with_ending("a.b/c", ".png") == "a.b/c.png"
