"""Regenerates the pages of a run and of its OUTPUT.

python -m pipeline.pages OUTPUT [RUN]
"""

import argparse
import json
import sys

from pipeline.errors import ExitCode, UsageError
from pipeline.reporting.history import find_run
from pipeline.reporting.pages import write_output_page, write_run_page
from pipeline.terminal import print_result, printable
from storage.errors import StoreError
from storage.store import OutputStore


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="pipeline.pages", description="Regenerate the pages.")
    parser.add_argument("output", help="directory or URI that the runs wrote to")
    parser.add_argument("run", nargs="?", default="latest", help="run id, latest or previous")
    options = parser.parse_args(arguments)
    store = OutputStore(options.output, "pages")
    try:
        run = find_run(store, options.run)
        if not run.counts:
            raise UsageError(f"run {run.run_id!r} is {run.state}; only complete runs have a page")
        summary = json.loads(store.read(f"runs/{run.run_id}/summary.json"))
        write_run_page(store, run.run_id, summary)
        write_output_page(store)
    except (UsageError, StoreError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    finally:
        store.clean()
    print_result(printable(store.uri(f"runs/{run.run_id}/index.html")))
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main())
