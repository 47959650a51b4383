#!/usr/bin/env python3
"""Command line of the job: parse, validate, build, run, summary, exit code."""

import gc
import io
import logging
import os
import sys
import time

from pipeline.runners.lifetime import leaving_on_signals
from pipeline.terminal import printable

# Not the age of the process, which may include a shell's work before its exec.
_STARTED = time.monotonic()


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code.

    Args:
      arguments: of the command; None: those of this process, whose start-up then counts as part of
        the run.
    """
    started = _STARTED if arguments is None else time.monotonic()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # file names need not be Unicode
    # Garbage collection is off during start-up, which makes half a million lasting objects: to
    # search them takes a tenth of the time. Runner.run enables it again.
    gc.disable()
    try:
        with leaving_on_signals():
            return _main(sys.argv[1:] if arguments is None else arguments, started)
    finally:
        if arguments is None:
            gc.freeze()  # the process ends now: a last collection would take a second
        else:
            gc.unfreeze()
            gc.enable()


def _main(arguments: list[str], started: float) -> int:
    from pipeline.errors import UsageError
    from pipeline.options import parse

    try:
        if "--verbose" not in arguments:
            _silence_libraries()  # before parsing, which may load Beam
        command = parse(arguments)
        # Arrow's own pools keep the memory that each thread once needed to write rows.
        os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
        # Imported after parsing: it loads Apache Beam, and --help should not wait for that.
        from pipeline.run import run

        return run(command, started)
    except UsageError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return error.exit_code


def _silence_libraries() -> None:
    logging.basicConfig(level=logging.ERROR)
    # The run itself reports the error that ends it.
    logging.getLogger("apache_beam").setLevel(logging.CRITICAL)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("ABSL_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")


if __name__ == "__main__":
    sys.exit(main())
