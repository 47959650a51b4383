"""Blocks of a shuffle group pairs by key and stay small."""

from collections import defaultdict

from hypothesis import given
from hypothesis import strategies as st
from support import quick

from transforms.blocks import from_blocks, to_blocks
from transforms.done import PastRow


@quick
@given(st.lists(st.tuples(st.binary(max_size=2), st.integers(0, 9)), max_size=300))
def test_blocks_group_pairs_by_key(pairs):
    expected, buckets = defaultdict(list), defaultdict(list)
    for key, value in pairs:
        expected[key].append(value)
    for half in (pairs[:100], pairs[100:]):
        for bucket, block in to_blocks(half):
            buckets[bucket].append(block)
    grouped = [from_blocks(blocks) for blocks in buckets.values()]
    assert sum(map(len, grouped)) == len(expected), "a key lies in one bucket"
    assert {key: its[key] for its in grouped for key in its} == expected


def past_row(number: int) -> tuple[bytes, PastRow]:
    path = f"{number // 1000:05}/IMG_{number:08}.jpg"
    row = PastRow(
        run_id="night-0",
        status="written",
        source_uri=f"/data/photos/{path}",
        relative_path=path,
        source_bytes=200_000 + 7919 * number % 100_003,
        source_modified=1.7e9 + 104_729 * number % 1_000_003,
        same_settings=True,
        output_path=path,
        output_bytes=300_000 + 7907 * number % 100_019,
        finished=1.8e9 + 0.01 * number,
    )
    return path.encode(), row


def test_hundred_thousand_rows_make_few_small_elements():
    blocks = list(to_blocks(map(past_row, range(100_000))))
    assert len(blocks) <= 256 * 5
    assert sum(len(block) for _, block in blocks) < 60 * 100_000
    fullest = max(sum(1 for b, _ in blocks if b == bucket) for bucket in range(256))
    assert fullest <= 5, "no bucket is a worker's whole memory"
