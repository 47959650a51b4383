"""Samples of shards, and the interface of readers and writers of all formats."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, BinaryIO

from codec.encode import SUFFIXES_OF, WRITABLE_SUFFIXES
from codec.errors import ImageError
from codec.readers import BEGINNING, READ_SUFFIXES, reader_of

# Endings of the formats that are written; all others become PNG.
_ENDING_OF = {"JPEG": ".jpg", "PNG": ".png", "WEBP": ".webp", "TIFF": ".tiff", "BMP": ".bmp"}
# The member, or column, that holds an image's figures.
FIGURES = "restoration"

Figures = Mapping[str, float | str | None]


class ShardError(ImageError):
    """A shard cannot be read, or not to its end; the message gives the reason."""


class ColumnError(ShardError):
    """The column has no images; the message names the columns that may have them."""


@dataclass
class Sample:
    """An image with its captions, labels and other members, as it is in a shard.

    Attributes:
      name: within the shard; the report's row has it after the shard's name. None: not a sample,
        only copied.
      content: reads the image file's bytes.
      size: number of these bytes.
      file_name: of the image; its ending gives the format. Empty: the content gives it.
      others: names that the new image must not take.
      offset: of the image in the shard, where it lies there as it is.
      problem: why the image cannot be restored, or None.
      carried: the whole sample, for the writer of the same format; None: a part of the shard that
        cannot be read; `problem` gives the reason.
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
    """The image that replaces a sample's own.

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
        """Yields the samples; an unreadable part is a sample with nothing carried."""


class ShardWriter(ABC):
    """Writes samples in order, unchanged or with another image."""

    @abstractmethod
    def add(self, sample: Sample, image: NewImage | None, figures: Figures | None) -> int | None:
        """Writes a sample; returns the offset of the new image if it lies in the file as it is.

        Args:
          sample: of a reader of the same format.
          image: replaces its own; None: the sample stays as it is.
          figures: written beside the image, or None.
        """

    @abstractmethod
    def close(self) -> None:
        """Writes the end of the file; does not close it."""


def ending_of(file_name: str) -> str:
    """The ending of a file's name in lower case, with the dot; empty if there is none."""
    stem, dot, ending = file_name.rpartition("/")[2].rpartition(".")
    return f".{ending.lower()}" if dot and stem else ""


def is_image_name(file_name: str) -> bool:
    """Whether a name has the ending of a format that is read."""
    return ending_of(file_name) in READ_SUFFIXES


def new_ending(sample: Sample, content: bytes, output_format: str) -> str:
    """The ending of a restored image: the source's own where it fits the written format.

    Args:
      sample: the source.
      content: its image.
      output_format: `same` or a key of SUFFIXES_OF.

    Raises:
      ImageError: the content is not an image, and no name gives a format.
    """
    ending = ending_of(sample.file_name)
    if ending not in READ_SUFFIXES:
        ending = _ENDING_OF.get(reader_of(content[:BEGINNING]).name, "")
    if output_format == "same":
        return ending if ending in WRITABLE_SUFFIXES else ".png"
    endings = SUFFIXES_OF[output_format]
    return ending if ending in endings else endings[0]


def with_ending(file_name: str, ending: str) -> str:
    """A file's name with another ending; unchanged where only upper and lower case differ."""
    old = ending_of(file_name)
    if old == ending:
        return file_name
    return file_name[: len(file_name) - len(old)] + ending


def copy_bytes(source: BinaryIO, target: BinaryIO, size: int) -> int:
    """Copies up to `size` bytes in small parts; returns how many there were."""
    left = size
    while left and (some := source.read(min(left, 1 << 20))):
        target.write(some)
        left -= len(some)
    return size - left
