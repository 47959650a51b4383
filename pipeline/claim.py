"""The lock of an OUTPUT: one run at a time writes to it."""

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import psutil

from pipeline.errors import UsageError
from pipeline.reporting.summary import to_json
from storage.errors import StoreError
from storage.store import OutputStore, is_local

CLAIM = ".claim.json"
_BEAT_SECONDS = 20.0
_EXPIRY_SECONDS = 300.0
_SETTLE_SECONDS = 2.0


class Claim:
    """A context in which this run alone writes to OUTPUT.

    The claim is a file that names its holder, who renews it. A holder is dead if its process on
    this machine is gone, or if it has not renewed for five minutes: then the claim is taken over.
    The file is created atomically; on object stores without conditional writes the last of several
    simultaneous writers wins, and the others notice.

    With `take_over` it is also taken from a holder that may be alive. `on_loss` is called with the
    reason, in another thread, when another run has taken it over.
    """

    def __init__(self, store: OutputStore, take_over: bool, on_loss: Callable[[str], None]):
        self._store = store
        self._take_over = take_over
        self._on_loss = on_loss
        self._held = {
            "run_id": store.run_id,
            "token": uuid.uuid4().hex,
            "host": socket.gethostname(),
            "processes": _process_space(),
            "pid": os.getpid(),
            "pid_started": psutil.Process().create_time(),
            "since": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        self._over = threading.Event()
        # Renewal and release exclude each other; a signal may interrupt a release with another.
        self._changing = threading.RLock()
        self._thread = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self):
        try:
            self._acquire()
        except (OSError, StoreError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UsageError(f"output: {self._store.root!r} cannot be written: {reason}") from None
        self._thread.start()
        return self

    def _acquire(self) -> None:
        while not self._try_create():
            holder = self._read()
            if self._is_ours(holder):
                break  # the answer to the first try of a put was lost
            if holder is None:
                continue
            if not self._take_over and not self._is_dead(holder):
                raise UsageError(
                    f"output: {self._store.root!r} is being written by run "
                    f"{holder.get('run_id')} on {holder.get('host')} (process "
                    f"{holder.get('pid')}) since {holder.get('since')}; wait until it ends, or "
                    "use --take_over if it is dead"
                )
            self._remove(holder)

    def __exit__(self, *_):
        self.release()

    def release(self) -> None:
        """Removes the claim, if it is still this run's."""
        self._over.set()
        with self._changing, suppress(OSError, StoreError):
            if self._is_ours(self._read()):
                self._store.delete(CLAIM)

    def _try_create(self) -> bool:
        content = to_json(self._held | {"renewed": time.time()})
        local = is_local(self._store.root)
        if not local and self._read() is not None or not self._store.create(CLAIM, content):
            return False
        if local or not self._store.create(CLAIM, content):
            return True
        # The second write succeeded as well: this store has no conditional writes.
        time.sleep(_SETTLE_SECONDS)
        return self._is_ours(self._read())

    def _remove(self, holder: dict[str, Any]) -> None:
        """Removes the claim of a dead holder, unless another has replaced it."""
        current = self._read()
        if current is not None and current.get("token") == holder.get("token"):
            self._store.delete(CLAIM)

    def _read(self) -> dict[str, Any] | None:
        try:
            holder = json.loads(self._store.read(CLAIM))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError:
            holder = None
        return holder if isinstance(holder, dict) else {}  # damaged: of no holder

    def _is_ours(self, holder: dict[str, Any] | None) -> bool:
        return holder is not None and holder.get("token") == self._held["token"]

    def _is_dead(self, holder: dict[str, Any]) -> bool:
        here = ("host", "processes")
        if all(holder.get(name) == self._held[name] for name in here):
            with suppress(psutil.NoSuchProcess, TypeError, ValueError):
                process = psutil.Process(holder["pid"])
                return abs(process.create_time() - holder["pid_started"]) > 1.0
            return True
        return time.time() - (holder.get("renewed") or 0.0) > _EXPIRY_SECONDS

    def _renew(self) -> None:
        while not self._over.wait(_BEAT_SECONDS):
            with suppress(OSError, StoreError):  # tried again at the next beat
                taken_by = self._renew_once()
                if taken_by:
                    self._on_loss(f"the output was taken over by run {taken_by}")
                    return

    def _renew_once(self) -> str | None:
        """Writes the claim again; returns the run that holds it if this one does not."""
        with self._changing:
            if self._over.is_set():
                return None
            holder = self._read()
            if not self._is_ours(holder):
                return (holder or {}).get("run_id", "(unknown)")
            self._store.write(CLAIM, to_json(self._held | {"renewed": time.time()}))
            return None


def _process_space() -> str:
    """The namespace of process numbers: containers may share a host's name."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""
