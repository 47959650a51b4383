"""The formats of shards, in one table."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from shards import parquet, tar
from shards.samples import ShardReader, ShardWriter, ending_of

_COMPRESSED = [".gz", ".bz2", ".xz", ".zst", ".lz4", ".z"]
_SHORT = {".tgz", ".tbz", ".tbz2", ".txz", ".tzst"}


@dataclass(frozen=True)
class ShardFormat:
    """How shards of a format are read and written.

    Attributes:
      open: a reader of an open file, given which column, or ending of members, holds the images.
        Raises ShardError where nothing can be read.
      write: a writer to an open file of what a reader gives, and the figures that it gets.
      count: the number of samples in an open file, by its headers or its index. Raises ShardError.
      find: the image of an open file with the name of a sample, and that column; None: images lie
        there as they are, so that rows of the report know where.
      check: raises ColumnError where no sample of an open file can have an image there; None: that
        is not known beforehand.
      jumps: whether the reader goes forth and back in the file.
    """

    open: Callable[[BinaryIO, str], ShardReader]
    write: Callable[[BinaryIO, ShardReader, Sequence[str]], ShardWriter]
    count: Callable[[BinaryIO, str], int]
    find: Callable[[BinaryIO, str, str], bytes] | None = None
    check: Callable[[BinaryIO, str], object] | None = None
    jumps: bool = False


FORMATS = {
    ".tar": ShardFormat(tar.TarReader, lambda file, *_: tar.TarWriter(file), tar.count_samples),
    ".parquet": ShardFormat(
        open=parquet.ParquetReader,
        write=parquet.ParquetWriter,
        count=parquet.count_rows,
        find=parquet.find_image,
        check=parquet.ParquetReader,
        jumps=True,
    ),
}


def is_shard(path: str) -> bool:
    """Whether a path or URI is that of a shard, by its ending."""
    return ending_of(path) in FORMATS


def format_of(path: str) -> ShardFormat:
    """The format of a shard."""
    return FORMATS[ending_of(path)]


def refusal(path: str) -> str | None:
    """Why what a path names is no shard that can be read, or None where it does not name one."""
    ending, stem = ending_of(path), path.rpartition(".")[0]
    if ending in _SHORT or ending in _COMPRESSED and is_shard(stem):
        return "compressed shards are not read: a tar of images gains nothing by it; unpack it"
    return None
