"""The data flow of the whole job; `build` is the whole graph."""

import os
from functools import partial

import apache_beam as beam

from codec.encode import EncodeSettings
from pipeline.job import Job
from pipeline.progress import ProgressFile
from pipeline.reporting.combine import CombineWhereMade
from pipeline.reporting.comparisons import WriteComparisons
from pipeline.reporting.report import EndRow
from pipeline.reporting.summary import MATCHED, SummaryFn, write_totals
from pipeline.version import versions
from transforms.crop import CropToYCrCb
from transforms.degrade import Degrade
from transforms.done import Policy
from transforms.fit import FitSize
from transforms.listed import ListRules, covered
from transforms.match import MatchImages
from transforms.measure import MeasureQuality
from transforms.read import ReadImages
from transforms.records import BESIDE_MATCHED, ImageRef, ReportRow, ShardRef
from transforms.restore import RestoreLuma
from transforms.shards import RestoreShards, ShardRules, shard_figures
from transforms.upscale import Upscale
from transforms.write import WriteImages


def build(
    pipeline: beam.Pipeline,
    job: Job,
    past: list[str],
    progress: ProgressFile | None = None,
    engine_threads: int = 1,
    image_threads: int = 0,
) -> tuple[beam.PCollection, ...]:
    """Adds the job to a pipeline.

    Only references and old rows cross the shuffles in MatchImages, and only combined figures those
    after the chain: images live within one fused stage. Failures leave every stage as rows and meet
    in `ended`.

    Args:
      pipeline: an empty pipeline.
      job: the job.
      past: paths of the rows of earlier runs in OUTPUT.
      progress: the file of progress events, if the workers are on this machine.
      engine_threads: threads of network and OpenCV for one image, unless the job names them.
      image_threads: images of shards that a process restores at a time; 0: one for each core.

    Returns:
      The last collections; the run is complete when they are.
    """
    refs, unmatched = match(pipeline, job, past, progress)
    chain = stages(job, engine_threads)
    files = images = refs | "Files" >> beam.Filter(lambda ref: not isinstance(ref, ShardRef))
    ended = [unmatched]
    for stage in chain:
        images, failed = images | type(stage).__name__ >> stage
        ended.append(failed)
    in_shards = (
        refs
        | "Shards" >> beam.Filter(lambda ref: isinstance(ref, ShardRef))
        | "RestoreShards" >> restore_shards(job, chain, progress, image_threads)
    )
    return report(job, (files, unmatched, in_shards), (images, *ended), progress, in_shards)


def restore_shards(
    job: Job, chain: list[beam.PTransform], progress: ProgressFile | None, threads: int
) -> RestoreShards:
    """The branch of shards, which runs the stages within one transform."""
    c = job.config
    rules = ShardRules(
        image_column=c.image_column,
        write=c.shards == "write",
        figures=shard_figures(c.mode) if c.figures_in == "shards" else (),
        on_failure=c.on_failure,
    )
    events = (partial(progress.add, "matched"), progress.add) if progress else (None, None)
    return RestoreShards(chain, rules, c.output_format, threads, *events)


def stages(job: Job, engine_threads: int) -> list[beam.PTransform]:
    """The stages of an image; each returns (images, failed rows), the last one (rows, failed)."""
    c, restoration, card = job.config, job.restoration, job.weights.card
    return [
        ReadImages(c.max_megapixels, c.max_seconds, c.largest_input),
        Degrade(restoration) if c.mode == "evaluate" else Upscale(restoration, c.max_megapixels),
        CropToYCrCb(restoration),
        RestoreLuma(
            job.weights, job.engine, c.engine_threads or engine_threads, restoration, c.tile,
            c.max_seconds, c.ensemble,
        ),
        MeasureQuality(c.mode, restoration, card.degradation, c.without),
        FitSize(c.fit_size),
        WriteImages(job.store, EncodeSettings(c.quality, c.compression), c.metadata == "keep"),
    ]  # fmt: skip


def report(
    job: Job,
    matched: tuple[beam.PCollection, ...],
    ended: tuple[beam.PCollection, ...],
    progress: ProgressFile | None = None,
    in_shards: beam.PCollection | None = None,
) -> tuple[beam.PCollection, ...]:
    """Adds the end of the job: rows to journal, totals and comparison pictures.

    Args:
      job, progress: see build, also for the result.
      matched: collections of everything that was matched, references or rows.
      ended: collections of rows.
      in_shards: rows of images in shards, whose progress was reported before.
    """
    # Not flattened first: a runner may hold a flattened collection back until all are done.
    end = partial(EndRow, run_columns(job), job.shard_fingerprint, job.store)
    rows = tuple(some | f"EndRow{n}" >> beam.ParDo(end(progress)) for n, some in enumerate(ended))
    if in_shards is not None:
        rows += (in_shards | "EndRowInShards" >> beam.ParDo(end(None)),)
    markers = tuple(
        some | f"Matched{index}" >> beam.FlatMap(_marker) for index, some in enumerate(matched)
    )

    combined = (*rows, *markers) | "CombineTotals" >> CombineWhereMade(SummaryFn())
    totals = combined | "WriteTotals" >> beam.Map(write_totals, job.store)
    if job.config.comparisons == "none":
        return (totals,)
    return totals, rows | "WriteComparisons" >> WriteComparisons(job)


def match(
    pipeline: beam.Pipeline,
    job: Job,
    past: list[str],
    progress: ProgressFile | None = None,
    dry: bool = False,
) -> tuple[beam.PCollection, beam.PCollection]:
    """Adds the front of the job: returns references of images to restore, and rows of the others.

    The arguments are those of build; `dry`: decide only, and touch nothing.
    """
    c = job.config
    policy = Policy(
        store=job.store,
        fingerprint=job.fingerprint,
        shard_fingerprint=job.shard_fingerprint,
        take="all" if c.force else "failed" if c.retry_failed else "needed",
        prune=c.prune,
        covers=covered(c.input, c.input_root),
        dry=dry,
    )
    on_match = partial(progress.add, "matched") if progress else None
    rules = ListRules(c.input_root, job.store.root, c.output_format, os.getcwd())
    return pipeline | "MatchImages" >> MatchImages(
        c.input, c.input_list, policy, past, rules, job.names_fold, on_match
    )


def _marker(found: ImageRef | ReportRow) -> list[str]:
    beside = isinstance(found, ReportRow) and found.status in BESIDE_MATCHED
    return [] if beside else [MATCHED]


def run_columns(job: Job) -> ReportRow:
    """The columns that are the same in every row of a run."""
    c, card = job.config, job.weights.card
    return ReportRow(
        run_id=job.store.run_id,
        fingerprint=job.fingerprint,
        mode=c.mode,
        scale=c.scale,
        kernel=c.kernel,
        protocol=c.protocol,
        border=c.border,
        strength=c.strength,
        measure_shave=job.restoration.measure_shave if c.mode == "evaluate" else None,
        model=card.name,
        weights_sha256=card.sha256,
        engine=job.engine,
        ensemble=8 if c.ensemble else 1,
        versions="; ".join(f"{name} {version}" for name, version in versions(job.engine).items()),
    )
