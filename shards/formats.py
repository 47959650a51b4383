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
    """Functions that read and write shards of a format.

    Attributes:
      open: of (open file, column or ending of members that holds the images), returns a reader.
        Raises ShardError where nothing can be read.
      write: of (open file, reader, names of figures), returns a writer of the reader's samples.
      count: of the arguments of `open`, returns the number of samples, by headers or index. Raises
        ShardError.
      find: of (open file, name of a sample, column), returns its image file; None: images lie in
        the shard as they are, and rows of the report have their offsets.
      check: of the arguments of `open`, raises ColumnError where no sample can have an image; None:
        only reading the samples shows it.
      jumps: whether the reader seeks in the file.
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
    """Whether a path or URI names a shard, by its ending."""
    return ending_of(path) in FORMATS


def format_of(path: str) -> ShardFormat:
    """The format of a shard."""
    return FORMATS[ending_of(path)]


def refusal(path: str) -> str | None:
    """The reason to refuse a path of a compressed shard; None for all other paths."""
    ending, stem = ending_of(path), path.rpartition(".")[0]
    if ending in _SHORT or ending in _COMPRESSED and is_shard(stem):
        return "compressed shards are not supported: images hardly compress further; unpack it"
    return None
