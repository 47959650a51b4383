"""The manifest of a run: its settings, versions and state."""

import os
import socket
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.job import Job
from pipeline.models import other_choice
from pipeline.reporting.summary import to_json
from pipeline.version import versions
from srcnn.weights import list_weights
from weights import DIRECTORY


@dataclass
class Manifest:
    """runs/<id>/manifest.json, rewritten at every change of state."""

    job: Job
    beam_arguments: list[str]
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    def write(self, state: str) -> None:
        """Writes the manifest: `running`, `complete`, `failed` or `interrupted`."""
        content = describe_job(self.job) | {
            "state": state,
            "started_at": self.started_at.isoformat(),
            "finished_at": None if state == "running" else datetime.now(UTC).isoformat(),
            "beam_arguments": self.beam_arguments,
            "host": socket.gethostname(),
            "pid": os.getpid(),
        }
        self.job.store.write(f"{self.job.run_directory}/manifest.json", to_json(content))


def describe_job(job: Job) -> dict[str, Any]:
    """The part that manifest and summary share."""
    card = job.weights.card
    return {
        "run_id": job.store.run_id,
        "configuration": job.config.model_dump(mode="json", exclude={"run_id"}),
        "fingerprint": job.fingerprint,
        "model": {
            "name": card.name,
            "architecture": card.architecture.name,
            "made_for": card.made_for,
            "weights_sha256": card.sha256,
            "engine": job.engine,
            "other_choice": other_choice(card, list_weights(DIRECTORY).values()),
        },
        "versions": versions(job.engine),
    }
