"""Pairs that cross a shuffle by the thousand, and are grouped by key after it.

An element of a shuffle costs a runner far more than the few bytes of a row. So pairs are dealt into
buckets by their key, and the pairs of one bucket travel as compressed blocks:
a million rows are some tens of megabytes, and a worker unpacks a bucket at a time.
"""

import pickle
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

# Of a hundred million keys a bucket has 400,000, which still fit a worker; of a few images each has
# one or none, which costs no more than single elements.
_BUCKETS = 256
_GATHERED = 20_000

Pair = tuple[bytes, Any]
Block = tuple[int, bytes]


def to_blocks(pairs: Iterable[Pair]) -> Iterator[Block]:
    """Packs pairs of a key and a value: yields (bucket, block), of equal keys the same bucket."""
    pairs = iter(pairs)
    while some := list(islice(pairs, _GATHERED)):
        buckets = defaultdict(list)
        for pair in some:
            buckets[zlib.crc32(pair[0]) % _BUCKETS].append(pair)
        for bucket, its in buckets.items():
            yield bucket, zlib.compress(pickle.dumps(its, pickle.HIGHEST_PROTOCOL), 1)


def from_blocks(blocks: Iterable[bytes]) -> dict[bytes, list[Any]]:
    """Unpacks the blocks of one bucket: the values of each key, in the order of the blocks."""
    values = defaultdict(list)
    for block in blocks:
        for key, value in pickle.loads(zlib.decompress(block)):
            values[key].append(value)
    return dict(values)
