"""Tars of samples, as WebDataset reads and writes them.

Adjacent members with the same key are a sample; a key is a name up to the first dot after its last
slash. All other members are copied byte for byte, with their headers.
"""

import copy
import io
import json
import math
import tarfile
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO

from shards.samples import (
    FIGURES,
    Figures,
    NewImage,
    Sample,
    ShardError,
    ShardReader,
    ShardWriter,
    copy_bytes,
    ending_of,
    is_image_name,
    with_ending,
)

_BLOCK = tarfile.BLOCKSIZE
_DAMAGE = "damage"
# Limit of a member's bytes; larger offsets cannot be sought.
_LARGEST = 1 << 60
# Limit of a header's bytes, extended headers included.
_LONGEST_HEADER = 1 << 20
# Larger samples wait for their image on disk.
_new_spool = partial(tempfile.SpooledTemporaryFile, 1 << 20)
_JOINED = "data follows its end; concatenated tars are not supported"
_ODD_KINDS = {
    tarfile.SYMTYPE: "a link",
    tarfile.LNKTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}
# Errors of tarfile on invalid headers.
_BAD_HEADER = (tarfile.TarError, ValueError, OverflowError, RecursionError)


@dataclass
class _Member:
    """A member in a sample's spool.

    Attributes:
      info: its header, as tarfile reads it.
      start: where the member begins in the spool, with all of its headers.
      own: where its own headers begin, after global ones.
      data: where its content begins.
      end: where it ends, padding included.
    """

    info: tarfile.TarInfo
    start: int
    own: int
    data: int
    end: int


@dataclass
class _Carried:
    """Adjacent members and the spool that holds them; `image` is the image's member."""

    members: list[_Member]
    spool: BinaryIO
    image: _Member | None = None


class _Headers(io.RawIOBase):
    """The archive for tarfile, which reads headers only; keeps the bytes of a header."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.seen = b""

    def read(self, size=-1):
        if not 0 <= size <= _LONGEST_HEADER - len(self.seen):
            raise tarfile.ReadError("a header is longer than 1 MiB")
        content = self._file.read(size)
        self.seen += content
        return content

    def seek(self, offset, whence=io.SEEK_SET):
        return self._file.seek(offset, whence)

    def tell(self):
        return self._file.tell()


class TarReader(ShardReader):
    """Reads a tar from its start to its end.

    Args:
      file: the archive, open at its start.
      image: ending of the members to restore, such as `jpg`; empty: every sample has one image.
    """

    def __init__(self, file: BinaryIO, image: str = ""):
        self._file = file
        self._image = image.lower().lstrip(".")
        self._seen: set[int] = set()  # hashes of keys and of samples' names

    def __iter__(self) -> Iterator[Sample]:
        """Yields the samples, and the members between them."""
        key, carried, damage = None, None, []
        for info, header, size in _headers(self._file, damage):
            its = _key_of(info)
            if carried is not None and (its is None or its != key):
                yield self._sample(key, carried)
                carried = None
            if carried is None:
                key, carried = its, _Carried([], _new_spool())
            if (at := self._take(carried, info, header, size)) is not None:
                damage.append(f"it is cut off at byte {at:,}")
                break
        if carried is not None and damage in ([], [_JOINED]):
            yield self._sample(key, carried)
            carried = None
        for cause in damage:
            within = "" if carried is None else f", within {key or carried.members[-1].info.name}"
            yield Sample(
                self._unique(_DAMAGE), None, problem=f"the tar is damaged: {cause}{within}"
            )

    def _take(
        self, carried: _Carried, info: tarfile.TarInfo, header: bytes, size: int
    ) -> int | None:
        """Copies a member into a sample; returns the byte where the tar is cut off, or None."""
        start = carried.spool.tell()
        carried.spool.write(header)
        data = carried.spool.tell()
        copied = copy_bytes(self._file, carried.spool, size)
        own = data - (info.offset_data - info.offset)
        carried.members.append(_Member(info, start, own, data, data + copied))
        return None if copied == size else info.offset_data + copied

    def _sample(self, key: str | None, carried: _Carried) -> Sample:
        first = carried.members[0].info
        if key is None and not (problem := _hostile(first)):
            return Sample(None, carried)
        if key is not None:
            is_new = self._add(f"key {key}")
            problem = self._problem(key, carried) if is_new else "its key occurs earlier in the tar"
        if problem:
            return Sample(self._unique(key or first.name), carried, problem=problem)
        info = carried.image.info
        return Sample(
            name=self._unique(info.name),
            carried=carried,
            content=lambda: _content(carried),
            size=info.size,
            file_name=info.name,
            others=frozenset(m.info.name for m in carried.members if m is not carried.image),
            offset=info.offset_data,
        )

    def _unique(self, name: str) -> str:
        """The name of a sample's row, unique in the tar."""
        while not self._add(f"name {name}"):
            name = f"{name}#{len(self._seen)}"
        return name

    def _add(self, name: str) -> bool:
        """Records a name as reports write it; returns whether it is new."""
        before = len(self._seen)
        self._seen.add(hash(name.encode("utf-8", "backslashreplace")))
        return len(self._seen) > before

    def _problem(self, key: str, carried: _Carried) -> str | None:
        """Finds the image of a sample; returns the reason where there is none."""
        infos = [member.info for member in carried.members]
        for info in infos:
            if problem := _hostile(info):
                return problem
        names = Counter(info.name for info in infos)
        if twice := [name for name, number in names.items() if number > 1]:
            return f"two members are named {twice[0]}"
        if f"{key}.{FIGURES}.json" in names:
            return f"it already has a member {key}.{FIGURES}.json"
        images = [m for m in carried.members if self._is_image(key, m.info.name)]
        listed = ", ".join(names)
        if not images:
            return f"it has no image; its members are {listed}"
        if len(images) > 1:
            return f"it has several images: {listed}; name one of the endings with --image_column"
        carried.image = images[0]
        return None

    def _is_image(self, key: str, name: str) -> bool:
        if self._image:
            return name[len(key) + 1 :].lower() == self._image
        return is_image_name(name)


class TarWriter(ShardWriter):
    """Writes a tar. The same samples give the same bytes.

    Args:
      file: open for writing, at its start.
    """

    def __init__(self, file: BinaryIO):
        self._file = file

    def add(self, sample: Sample, image: NewImage | None, figures: Figures | None) -> int | None:
        carried, offset = sample.carried, None
        last = carried.members[-1]
        for member in carried.members:
            if image and member is carried.image:
                offset = self._add_image(carried, member, image)
            else:
                carried.spool.seek(member.start)
                copy_bytes(carried.spool, self._file, member.end - member.start)
        if figures is not None and sample.name is not None:
            key = _key_of(last.info) or last.info.name
            self._add_file(last, f"{key}.{FIGURES}.json", _json(figures))
        return offset

    def close(self) -> None:
        self._file.write(bytes(2 * _BLOCK))
        self._file.write(bytes(-self._file.tell() % tarfile.RECORDSIZE))

    def _add_image(self, carried: _Carried, member: _Member, image: NewImage) -> int:
        carried.spool.seek(member.start)
        copy_bytes(carried.spool, self._file, member.own - member.start)  # global headers
        carried.spool.seek(member.data - _BLOCK)
        is_gnu = tarfile.GNU_MAGIC in carried.spool.read(_BLOCK)
        name = with_ending(member.info.name, image.ending)
        return self._add_file(member, name, image.content, is_gnu)

    def _add_file(self, like: _Member, name: str, content: bytes, is_gnu: bool = False) -> int:
        info = copy.copy(like.info)
        info.name, info.size, info.type = name, len(content), tarfile.REGTYPE
        info.pax_headers = {
            key: value for key, value in info.pax_headers.items() if key not in ("path", "size")
        }
        kind = tarfile.GNU_FORMAT if is_gnu else tarfile.PAX_FORMAT
        self._file.write(info.tobuf(kind, "utf-8", "surrogateescape"))
        offset = self._file.tell()
        self._file.write(content)
        self._file.write(bytes(-len(content) % _BLOCK))
        return offset


def count_samples(file: BinaryIO, image: str = "") -> int:
    """The number of samples in a tar, by its headers.

    Raises:
      ShardError: it is damaged.
    """
    damage: list[str] = []
    number, before = 0, None
    for info, _, size in _headers(file, damage):
        key = _key_of(info)
        number += key is not None and key != before
        before = key
        file.seek(size, io.SEEK_CUR)
    if damage:
        raise ShardError(damage[0])
    return number


def _headers(file: BinaryIO, damage: list[str]) -> Iterator[tuple[tarfile.TarInfo, bytes, int]]:
    """Yields each member's header, the header's bytes, and the size of content and padding.

    The file is then at the content. The caller moves it past the content before the next one.
    """
    headers = _Headers(file)
    at = 0
    archive = None
    while True:
        headers.seen = b""
        try:
            if archive is None:
                archive = tarfile.TarFile(fileobj=headers, encoding="utf-8")
            info = archive.next()
            archive.members.clear()  # tarfile keeps all of them
        except _BAD_HEADER as error:
            damage.append(f"a header at byte {at:,} is damaged: {error}")
            return
        if info is None:
            damage.extend(_end_problem(file, headers.seen, at))
            return
        size = archive.offset - info.offset_data
        if not 0 <= size < _LARGEST or info.offset < at or info.size < 0:
            damage.append(f"a header at byte {at:,} is damaged: it states an impossible size")
            return
        yield info, headers.seen, size
        at = archive.offset


def _end_problem(file: BinaryIO, seen: bytes, at: int) -> Iterator[str]:
    """Yields the problem of an archive's end, given the bytes of its last block."""
    if len(seen) < _BLOCK:
        yield f"it is cut off at byte {at + len(seen):,}: the end marker is missing"
    elif any(seen):
        yield f"a header at byte {at:,} is damaged"
    else:
        while some := file.read(1 << 20):
            if some.count(0) < len(some):
                yield _JOINED
                return


def _content(carried: _Carried) -> bytes:
    carried.spool.seek(carried.image.data)
    return carried.spool.read(carried.image.info.size)


def _key_of(info: tarfile.TarInfo) -> str | None:
    """The key of a member's sample, or None where it belongs to none."""
    directory, slash, name = info.name.rpartition("/")
    stem, dot, _ = name.partition(".")
    if info.isdir() or not stem or not dot or _is_meta(info.name):
        return None
    return f"{directory}{slash}{stem}"


def _is_meta(name: str) -> bool:
    """Whether WebDataset reads a member as metadata of the shard."""
    first = name.partition("/")[0]
    return first.startswith("__") and first.endswith("__") and len(first) > 4


def _hostile(info: tarfile.TarInfo) -> str | None:
    """The reason to refuse a member, or None."""
    if info.name.startswith("/") or ".." in info.name.split("/"):
        return f"{info.name} points outside the tar"
    if info.issparse():
        return f"{info.name} is a sparse file"
    if not info.isreg() and not info.isdir():
        return f"{info.name} is {_ODD_KINDS.get(info.type, 'not a file')}"
    if info.isreg() and ending_of(info.name) in (".tar", ".tgz") or ".tar." in info.name:
        return f"{info.name} is a tar within a tar, which is not supported; unpack it"
    return None


def _json(figures: Figures) -> bytes:
    """Strict JSON, which has no infinity: infinities are texts."""
    values = {
        name: str(value) if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in figures.items()
    }
    return json.dumps(values).encode() + b"\n"
