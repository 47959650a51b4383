"""The jobs of a Flink cluster, by its REST interface.

Beam's Flink job server, asked to cancel a job, forgets it and lets it go on in the cluster: its
`JobInvocation.cancel` interrupts the thread that waits for the job (seen with 2.62).
"""

import json
from urllib.error import URLError
from urllib.request import Request, urlopen

from apache_beam.runners.portability.flink_runner import FlinkRunner

_ANSWER_SECONDS = 10.0
_ENDED = ("FINISHED", "CANCELED", "FAILED", "SUSPENDED")


class FlinkJobs:
    """The jobs of one name that began after this object was made.

    Args:
      master: address of the REST interface, with or without `http://`.
      name: of the jobs.

    Raises:
      OSError: nothing answers there, or something else than Flink.
    """

    def __init__(self, master: str, name: str):
        self._url = FlinkRunner.add_http_scheme(master).rstrip("/")
        self._name = name
        self._others = frozenset(self._named())

    def running(self) -> list[str]:
        """Identities of those that have not ended.

        Raises:
          OSError: see above.
        """
        states = self._named()
        return [job for job in states if job not in self._others and states[job] not in _ENDED]

    def cancel(self) -> None:
        """Asks for the end of those that run; returns at once.

        Raises:
          OSError: see above.
        """
        for job in self.running():
            with urlopen(
                Request(f"{self._url}/jobs/{job}?mode=cancel", method="PATCH"),
                timeout=_ANSWER_SECONDS,
            ):
                pass

    def _named(self) -> dict[str, str]:
        """States by identity."""
        with urlopen(f"{self._url}/jobs/overview", timeout=_ANSWER_SECONDS) as answer:
            try:
                jobs = json.load(answer)["jobs"]
            except (ValueError, KeyError, TypeError):
                raise URLError("it is not Flink's REST interface") from None
        return {job["jid"]: job["state"] for job in jobs if job["name"] == self._name}
