"""The graph: its stages, its counters, the constant columns of its rows."""

import dataclasses
import time
from collections import Counter

import apache_beam as beam
import numpy as np
import pytest
from apache_beam.metrics import MetricsFilter
from apache_beam.options.pipeline_options import DirectOptions
from apache_beam.utils.windowed_value import WindowedValue
from conftest import write_images

from pipeline.config import load_config
from pipeline.graph import build, run_columns
from pipeline.job import prepare_job
from pipeline.runners import local
from pipeline.runners.table import find_runner
from transforms.records import ImageRecord, ImageRecordCoder, ReportRow


@pytest.fixture
def job(tmp_path, photo, tiny_weights):
    write_images(tmp_path / "in", {f"{i}.png": photo[:40, : 40 + i] for i in range(3)})
    (tmp_path / "in" / "bad.png").write_text("")
    values = {
        "input": f"{tmp_path}/in/*.png",
        "output": str(tmp_path / "out"),
        "weights": str(tiny_weights),
        "comparisons": "none",
    }
    return prepare_job(load_config(values))


def test_counters_count_what_happened(job):
    with beam.Pipeline(options=find_runner([]).options) as pipeline:
        build(pipeline, job, [])
    found = pipeline.result.metrics().query(MetricsFilter().with_namespace("srcnn"))
    counters = Counter()
    for counter in found["counters"]:  # one for each step that counts
        counters[counter.key.metric.name] += counter.committed
    assert counters["images_written"] == 3
    assert counters["images_failed"] == 1
    assert counters["pixels_restored"] == 40 * (40 + 41 + 42)
    assert counters["num_inferences"] == 3


def test_graph_contains_the_stages_in_order_under_their_names(job):
    pipeline = beam.Pipeline(options=find_runner([]).options)
    build(pipeline, job, [])
    names = [t.unique_name for t in pipeline.to_runner_api().components.transforms.values()]
    stages = [
        "MatchImages", "ReadImages", "Degrade", "CropToYCrCb", "RestoreLuma", "MeasureQuality",
        "WriteImages", "WriteTotals",
    ]  # fmt: skip
    assert set(stages) <= set(names)


def test_image_records_use_the_coder_that_estimates_size(job):
    pipeline = beam.Pipeline(options=find_runner([]).options)
    build(pipeline, job, [])
    components = pipeline.to_runner_api().components
    pictures = ("ReadImages", "Degrade", "CropToYCrCb", "RestoreLuma", "MeasureQuality")
    coders = [
        p.coder_id
        for p in components.pcollections.values()
        if p.unique_name.endswith("ParDo(PerImage).None")
        and any(s in p.unique_name for s in pictures)
    ]
    assert len(coders) >= 5
    assert all("ImageRecordCoder" in coder for coder in coders)


def test_coder_estimates_size_without_encoding(photo):
    record = ImageRecord(ref=None, original=photo, source_shape=photo.shape[:2], luma=photo[..., 0])
    coder = ImageRecordCoder()
    assert coder.estimate_size(record) == photo.nbytes + photo[..., 0].size
    again = coder.decode(coder.encode(record))
    assert (again.original == photo).all()


def test_size_estimate_of_a_huge_image_fits_beams_counters():
    huge = np.broadcast_to(np.uint8(0), (60_000, 60_000, 3))
    record = ImageRecord(ref=None, original=huge, source_shape=huge.shape[:2])
    coder = beam.coders.WindowedValueCoder(ImageRecordCoder())
    size, _ = coder.get_impl().get_estimated_size_and_observables(WindowedValue(record, 0, ()))
    assert size >= 1 << 30


def test_run_columns_make_a_row_self_describing(job):
    columns = dataclasses.asdict(run_columns(job))
    named = {name for name, value in columns.items() if value is not None}
    assert named == {
        "run_id", "mode", "scale", "kernel", "protocol", "border", "measure_shave", "model",
        "weights_sha256", "engine", "versions", "fingerprint", "strength", "ensemble",
    }  # fmt: skip
    assert not named & {"psnr_degraded", "status", "source_uri"}
    assert named <= {field.name for field in dataclasses.fields(ReportRow)}


def test_fingerprint_changes_only_with_settings_that_change_pixels(job):
    def fingerprint(**changes):
        config = job.config.model_copy(update=changes)
        return dataclasses.replace(job, config=config).fingerprint

    same = fingerprint()
    for changes in ({"scale": 3}, {"kernel": "area"}, {"border": "shave"}, {"mode": "restore"}):
        assert fingerprint(**changes) != same
    for changes in ({"tile": 64}, {"comparisons": "all"}):
        assert fingerprint(**changes) == same


@pytest.mark.parametrize(
    ("arguments", "mode", "workers"),
    [
        ([], "multi_threading", 3),
        (["--direct_num_workers=2"], "multi_threading", 2),
        (["--direct_num_workers", "0"], "multi_threading", 3),
        (["--direct_running_mode", "multi_processing"], "multi_processing", 3),
        (["--direct_running_mode=in_memory"], "in_memory", 1),
        (["--direct_running_mode=in_memory", "--direct_num_workers=4"], "in_memory", 1),
        (["--runner", "FlinkRunner"], "in_memory", 1),
    ],
)
def test_local_runner_uses_a_thread_per_core(monkeypatch, arguments, mode, workers):
    monkeypatch.setattr(local, "cores", lambda: 3)
    options = find_runner(arguments).options.view_as(DirectOptions)
    assert (options.direct_running_mode, options.direct_num_workers) == (mode, workers)


class _SlowToWrite:
    """Takes over a second to pickle, longer than Beam's interval between flushes."""

    def __reduce__(self):
        time.sleep(0.2)
        return _SlowToWrite, ()


@pytest.mark.slow
def test_elements_are_written_whole():
    with beam.Pipeline(options=find_runner(["--direct_num_workers=1"]).options) as pipeline:
        _ = (
            pipeline
            | beam.Create(range(12))
            | beam.Map(lambda number: (number, _SlowToWrite()))
            | beam.GroupByKey()
        )
