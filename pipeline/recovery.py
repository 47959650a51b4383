"""Recovers the rows of earlier runs, and ends runs that were killed."""

import json
from contextlib import suppress

from pipeline.reporting.report import compact_journal, journals, remove_journal
from pipeline.reporting.summary import to_json
from storage.store import OutputStore


def recover(store: OutputStore) -> None:
    """Ends runs that were killed: their rows join the report, their state becomes `interrupted`.

    Only for the holder of the claim. If this is killed, the next run does it.
    """
    store.clean(everything=True)
    journaled = journals(store)
    unfinished = _unfinished(store)
    for run_id in sorted({*journaled, *unfinished}):
        if run_id in unfinished and run_id in journaled:
            compact_journal(store, run_id)
        _set_interrupted(store, run_id)
        remove_journal(store, run_id)


def past_files(store: OutputStore) -> list[str]:
    """The files with rows of earlier runs: reports, and journals of unfinished runs."""
    parts = [part for parts in journals(store).values() for part in parts]
    return store.glob("metrics/run_id=*/*.parquet") + parts


def _unfinished(store: OutputStore) -> set[str]:
    def runs_with(name: str) -> set[str]:
        return {path.split("/")[1] for path in store.glob(f"runs/*/{name}")}

    return runs_with("manifest.json") - runs_with("_SUCCESS")


def _set_interrupted(store: OutputStore, run_id: str) -> None:
    path = f"runs/{run_id}/manifest.json"
    with suppress(ValueError, FileNotFoundError):
        manifest = json.loads(store.read(path))
        if manifest["state"] == "running":
            store.write(path, to_json(manifest | {"state": "interrupted"}))
