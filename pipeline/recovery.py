"""What a run finds of earlier ones, and ends for those that could not end themselves."""

import json
from contextlib import suppress

from pipeline.reporting.report import compact_journal, journals, remove_journal
from pipeline.reporting.summary import to_json
from storage.store import OutputStore


def recover(store: OutputStore) -> None:
    """Ends runs that were killed: their rows join the report, their manifests say `interrupted`.

    To be called by the only run at work. Killed itself, it leaves all to the next.

    Raises:
      OSError: something could not be read or written.
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
    """The files that hold the rows of earlier runs: reports, and journals of unfinished runs."""
    parts = [part for parts in journals(store).values() for part in parts]
    return store.glob("metrics/run_id=*/*.parquet") + parts


def _unfinished(store: OutputStore) -> set[str]:
    begun, ended = (
        {path.split("/")[1] for path in store.glob(f"runs/*/{name}")}
        for name in ("manifest.json", "_SUCCESS")
    )
    return begun - ended


def _set_interrupted(store: OutputStore, run_id: str) -> None:
    path = f"runs/{run_id}/manifest.json"
    with suppress(ValueError, FileNotFoundError):
        manifest = json.loads(store.read(path))
        if manifest["state"] == "running":
            store.write(path, to_json(manifest | {"state": "interrupted"}))
