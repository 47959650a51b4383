"""The data flow of the whole job, in one function."""

import os
from functools import partial

import apache_beam as beam

from codec.encode import EncodeSettings
from pipeline.job import Job
from pipeline.progress import ProgressFile
from pipeline.reporting.comparisons import WriteComparisons
from pipeline.reporting.report import EndRow
from pipeline.reporting.summary import MATCHED, WriteTotals
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
    behind the chain: images live within one fused stage. Every stage's failures are rows already
    and meet in `ended`.

    Args:
      pipeline: an empty pipeline.
      job: what to do.
      past: files of the report of earlier runs, below OUTPUT.
      progress: where to report progress to, on a runner of this machine.
      engine_threads: that the network and OpenCV take for one image, where the job does not say.
      image_threads: that work on images of shards in a process; 0: one for each core there.

    Returns:
      Collections of what is written last; when they are complete, so is the run.
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
    return report(job, (files, unmatched, in_shards), (images, *ended), in_shards, progress)


def restore_shards(
    job: Job, chain: list[beam.PTransform], progress: ProgressFile | None, threads: int
) -> RestoreShards:
    """What becomes of shards; for the arguments see `stages` and `build`."""
    c = job.config
    rules = ShardRules(
        image_column=c.image_column,
        write=c.shards == "write",
        figures=shard_figures(c.mode) if c.figures_in == "shards" else (),
        on_failure=c.on_failure,
    )
    tell = (partial(progress.add, "matched"), progress.add) if progress else (None, None)
    return RestoreShards(chain, rules, c.output_format, threads, *tell)


def stages(job: Job, engine_threads: int) -> list[beam.PTransform]:
    """What is done to an image, in order; each gives (images, failed rows), the last one rows."""
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
    in_shards: beam.PCollection,
    progress: ProgressFile | None = None,
) -> tuple[beam.PCollection, ...]:
    """Adds the end of the job: rows to journal, totals and comparison pictures.

    Args:
      job: what to do.
      matched: collections of all that was matched, references or rows.
      ended: collections of rows.
      in_shards: rows of the images of shards, whose progress was reported when they were made.
      progress: where to report progress to, on a runner of this machine.

    Returns:
      See build.
    """
    # Ended where they arise: a runner may hold a flattened collection back until all are done.
    end = partial(EndRow, run_columns(job), job.shard_fingerprint, job.store)
    rows = (
        *(some | f"EndRow{n}" >> beam.ParDo(end(progress)) for n, some in enumerate(ended)),
        in_shards | "EndRowInShards" >> beam.ParDo(end(None)),
    )
    markers = tuple(
        some | f"Matched{index}" >> beam.FlatMap(_marker) for index, some in enumerate(matched)
    )

    totals = (*rows, *markers) | "WriteTotals" >> WriteTotals(job.store)
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
    """Adds the front of the job, which finds what is to be restored: (references, rows).

    Args:
      pipeline: an empty pipeline.
      job: what to do.
      past: files of the report of earlier runs, below OUTPUT.
      progress: where to report progress to, on a runner of this machine.
      dry: decide only, and touch nothing.
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
        versions="; ".join(f"{name} {version}" for name, version in versions().items()),
    )
