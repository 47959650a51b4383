"""Totals and samples do not depend on how rows are split over bundles and workers."""

import gc
import json
import math
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import run_pipeline
from pipeline.reporting.comparisons import SampleFn
from pipeline.reporting.summary import (
    MATCHED,
    SummaryFn,
    format_summary,
    ranking,
    reconcile,
    to_json,
)
from transforms.records import ReportRow


def row(index: int, gain: float | None, status: str = "written") -> ReportRow:
    failed = {"stage": "read", "error_type": "ImageError", "error_message": f"damaged: {index}"}
    written = {"width": 10, "height": 10, "output_width": 10, "output_height": 10}
    return ReportRow(
        source_uri=f"in/{index:04}.png",
        relative_path=f"{index:04}.png",
        output_uri=f"out/{index:04}.png",
        status=status,
        mode="evaluate",
        figures={"psnr_gain": gain},
        infer_seconds=0.5,
        **(failed if status == "failed" else written),
    )


def combine(fn, elements, cuts):
    """Accumulates in bundles, merges and extracts."""
    bounds = [0, *sorted(cuts), len(elements)]
    accumulators = []
    for start, end in zip(bounds, bounds[1:], strict=False):
        accumulator = fn.create_accumulator()
        for element in elements[start:end]:
            accumulator = fn.add_input(accumulator, element)
        accumulators.append(accumulator)
    return fn.extract_output(fn.merge_accumulators(accumulators))


gains = st.one_of(st.none(), st.just(math.inf), st.integers(-50, 50).map(lambda n: n / 8))
statuses = st.sampled_from(["written", "failed", "skipped"])


@st.composite
def split_rows(draw):
    entries = draw(st.lists(st.tuples(gains, statuses), max_size=60))
    rows = [row(i, gain, status) for i, (gain, status) in enumerate(entries)]
    cuts = draw(st.lists(st.integers(0, len(rows)), max_size=4))
    return rows, cuts


def test_warnings_are_counted_by_text():
    rows = [
        replace(row(index, 1.0), warnings=("flattened", "cut") if index < 3 else ("cut",))
        for index in range(8)
    ]
    totals = combine(SummaryFn(), [*rows, row(8, 1.0)], [4])
    assert [(w["warning"], w["count"]) for w in totals["warnings"]] == [
        ("cut", 8),
        ("flattened", 3),
    ]
    assert totals["warnings"][1]["examples"] == [f"in/{index:04}.png" for index in range(3)]


def test_number_of_distinct_warnings_is_bounded():
    rows = [replace(row(index, 1.0), warnings=(f"kind {index}",)) for index in range(100)]
    warnings = combine(SummaryFn(), rows, [50])["warnings"]
    assert len(warnings) <= 21
    assert sum(warning["count"] for warning in warnings) == 100


@given(split_rows())
def test_totals_do_not_depend_on_the_split(case):
    rows, cuts = case
    elements = rows + [MATCHED] * len(rows)
    totals = combine(SummaryFn(), elements, cuts)
    assert totals == combine(SummaryFn(), elements, [])
    counts = totals["counts"]
    assert reconcile(totals, len(rows)) is None
    for status in ("written", "failed", "skipped"):
        assert counts[status] == sum(r.status == status for r in rows)
    gains = [r.figure("psnr_gain") for r in rows if r.status == "written"]
    figures = [gain for gain in gains if gain is not None]
    finite = [f for f in figures if math.isfinite(f)]
    mean = totals["means"].get("psnr_gain")
    if figures:
        assert (mean["finite"], mean["infinite"]) == (len(finite), len(figures) - len(finite))
    if finite:
        assert mean["mean"] == pytest.approx(sum(finite) / len(finite), abs=1e-12)
    json.loads(to_json(totals))


@given(split_rows(), st.integers(1, 12))
def test_sample_does_not_depend_on_the_split_and_holds_the_extremes(case, size):
    rows, cuts = case
    sample = combine(SampleFn(size), rows, cuts)
    assert sample == combine(SampleFn(size), rows, [])
    chosen = [row for _, row in sample]
    ranked = sorted(
        (r for r in rows if r.status == "written" and r.figure("psnr_gain") is not None),
        key=lambda r: (r.figure("psnr_gain"), r.relative_path),
    )
    assert len(chosen) == len({r.relative_path for r in chosen}) == min(size, len(ranked))
    if ranked:
        assert ranked[0] in chosen
    if len(ranked) > 1 and size > 1:
        assert ranked[-1] in chosen


def test_sample_size_is_bounded():
    fn = SampleFn(9)
    accumulator = fn.create_accumulator()
    for index in range(3000):
        accumulator = fn.add_input(accumulator, row(index, index / 7))
    assert len(accumulator["worst"]) == len(accumulator["best"]) == 9
    assert len(accumulator["reservoir"]) == 1000
    chosen = {r.figure("psnr_gain") * 7 for _, r in fn.extract_output(accumulator)}
    assert {0, 1, 2, 2997, 2998, 2999} < chosen
    middle = chosen - {0, 1, 2, 2997, 2998, 2999}
    assert all(1200 < m < 1800 for m in middle)


def test_size_of_totals_does_not_grow_with_the_number_of_images():
    fn = SummaryFn()
    sizes = []
    for number in (200, 4000):
        accumulator = fn.create_accumulator()
        for index in range(number):
            status = "failed" if index % 2 else "written"
            accumulator = fn.add_input(accumulator, row(index, index / 7, status))
        sizes.append(len(to_json(fn.extract_output(accumulator))))
    assert sizes[1] < sizes[0] * 1.1


def test_failures_are_grouped_by_cause_with_examples():
    rows = [row(i, None, "failed") for i in range(8)]
    (failure,) = combine(SummaryFn(), rows, [3])["failures"]
    assert (failure["stage"], failure["count"]) == ("read", 8)
    assert failure["examples"][0] == {"source_uri": "in/0000.png", "message": "damaged: 0"}
    assert len(failure["examples"]) == 5


def test_lost_image_is_detected():
    counts = {"matched": 3, "written": 1, "skipped": 0, "failed": 1}
    gone = {"vanished": 0, "pruned": 0}
    assert "bug" in reconcile({"counts": counts, "source_gone": gone}, 3)
    counts |= {"matched": 2}
    assert "bug" in reconcile({"counts": counts, "source_gone": gone}, 1)
    gone = {"vanished": 3, "pruned": 1}
    assert reconcile({"counts": counts, "source_gone": gone}, 6) is None


def test_ranking_is_by_gain_or_consistency():
    figures = {"psnr_gain": 1.5, "consistency_psnr": 40.0}
    assert ranking(ReportRow(mode="evaluate", figures=figures)) == 1.5
    assert ranking(ReportRow(mode="restore", figures=figures)) == 40.0
    assert ranking(ReportRow(mode="evaluate")) is None


def test_terminal_summary_fits_80_columns():
    totals = combine(SummaryFn(), [row(1, 2.0), row(2, None, "failed"), MATCHED, MATCHED], [])
    summary = totals | {
        "configuration": {"mode": "evaluate", "scale": 2, "kernel": "bilinear",
                          "protocol": "opencv", "border": "keep", "output": "out",
                          "comparisons": "none"},
        "run_id": "one",
        "model": {"name": "srcnn-955_x2_bilinear", "engine": "tensorflow"},
        "wall_seconds": 2.0,
        "megapixels_per_second": 0.00005,
    }  # fmt: skip
    text = format_summary(summary)
    assert "2 matched = 1 written + 0 skipped + 1 failed" in text
    assert "+2.000 dB  0001.png" in text
    assert "read: damaged: 2" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("is_the_program", [True, False])
def test_wall_seconds_count_from_program_start_or_call(monkeypatch, is_the_program):
    begun = []
    monkeypatch.setattr("pipeline.run.run", lambda command, started: begun.append(started) or 0)
    arguments = ["--input", "a.png", "--output", "out"]
    monkeypatch.setattr("sys.argv", ["run_pipeline.py", *arguments])
    before = time.monotonic()
    try:
        assert run_pipeline.main(None if is_the_program else arguments) == 0
    finally:
        gc.unfreeze()
        gc.enable()
    assert (begun[0] < before) == is_the_program
