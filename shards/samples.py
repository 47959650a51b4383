"""What all formats of shards have in common: samples, and what may be wrong with them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES
from codec.errors import ImageError
from codec.readers import BEGINNING, READ_SUFFIXES, reader_of

# What a format without a writer is written as, and the endings of those that have one.
_ENDING_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp"}
# The member, or column, that holds an image's figures.
FIGURES = "restoration"

Figures = Mapping[str, float | str | None]


class ShardError(ImageError):
    """A shard cannot be read, or not to its end; the message tells its owner why."""


class ColumnError(ShardError):
    """There are no images where they should be; the message tells where they may be."""


@dataclass
class Sample:
    """An image with what belongs to it, as it stands in a shard.

    Attributes:
      name: within the shard; with the shard's name it is that of the report's row. None: no sample,
        something that is carried along.
      content: reads the image file's bytes.
      size: of these.
      file_name: of the image, whose ending says its format; empty: its content says so.
      others: names that the new image's must not be.
      offset: of the image in the shard, where it lies there as it is.
      problem: why the image cannot be restored, or None.
      carried: the whole sample, for the writer of the same format; None: it stands for a part of
        the shard that cannot be read, as `problem` says.
    """

    name: str | None
    carried: Any
    content: Callable[[], bytes] = bytes
    size: int = 0
    file_name: str = ""
    others: frozenset[str] = frozenset()
    offset: int | None = None
    problem: str | None = None


@dataclass(frozen=True)
class NewImage:
    """What takes the place of a sample's image.

    Attributes:
      content: the file's bytes.
      ending: of its name, with the dot.
    """

    content: bytes
    ending: str


class ShardReader(ABC):
    """A shard's samples in order, one at a time."""

    @abstractmethod
    def __iter__(self) -> Iterator[Sample]:
        """Yields what can be read, and in place of what cannot a sample with nothing carried."""


class ShardWriter(ABC):
    """Writes samples, as they are or with another image, in order."""

    @abstractmethod
    def add(self, sample: Sample, image: NewImage | None, figures: Figures | None) -> int | None:
        """Writes a sample; returns the new image's offset in the file if it lies there as it is.

        Args:
          sample: of a reader of the same format.
          image: in place of its own; None: the sample stays as it is.
          figures: to be written too, or None.
        """

    @abstractmethod
    def close(self) -> None:
        """Writes what ends the file, and leaves that open."""


def ending_of(file_name: str) -> str:
    """The ending of a file's name in lower case, with the dot; empty if there is none."""
    stem, dot, ending = file_name.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


def is_image_name(file_name: str) -> bool:
    """Whether a name ends like that of an image that is read."""
    return ending_of(file_name) in READ_SUFFIXES


def new_ending(sample: Sample, content: bytes, output_format: str) -> str:
    """The ending of a restored image: the source's where that names what is to be written.

    Args:
      sample: the source.
      content: its image.
      output_format: `same` or a key of SUFFIXES_OF.

    Raises:
      ImageError: the content is no image, and no name says what it should be.
    """
    ending = ending_of(sample.file_name)
    if ending not in READ_SUFFIXES:
        ending = _ENDING_OF.get(reader_of(content[:BEGINNING]).name, "")
    if output_format == "same":
        return ending if ending in WRITABLE_SUFFIXES else ".png"
    endings = SUFFIXES_OF[output_format]
    return ending if ending in endings else endings[0]


def with_ending(file_name: str, ending: str) -> str:
    """A file's name with another ending; the same where it has that in whatever case."""
    old = ending_of(file_name)
    if old == ending:
        return file_name
    return file_name[: len(file_name) - len(old)] + ending


def copy_bytes(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copies so many bytes, or those that there are, a little at a time; returns their number."""
    left = size
    while left and (some := source.read(min(left, 1 << 20))):
        target.write(some)
        left -= len(some)
    return size - left
