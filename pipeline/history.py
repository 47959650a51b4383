"""Lists the runs of an OUTPUT, or compares two of them.

    python -m pipeline.history OUTPUT
    python -m pipeline.history OUTPUT compare RUN_A RUN_B --min_psnr_gain 0.05 --max_regression 0.5

A run is named by its id, by the beginning of its id, or as `latest` or `previous` complete run.
"""

import argparse
import json
import math
import sys
from dataclasses import asdict
from typing import Any

from pipeline.errors import ExitCode, UsageError
from pipeline.reporting.history import compare, find_run, gates, list_runs
from pipeline.reporting.render import render
from pipeline.reporting.summary import to_json
from pipeline.terminal import print_result, printable
from storage.errors import StoreError
from storage.store import OutputStore

_SHOWN = 10
_LISTS = ("appeared", "vanished", "newly_failed", "newly_written")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = _parser().parse_args(arguments)
    store = OutputStore(options.output, "")
    try:
        if options.command == "compare":
            return _compare(store, options)
        runs = list_runs(store, options.limit)
        if not runs:
            raise UsageError(f"output: {options.output!r} has no runs")
    except (UsageError, StoreError, OSError) as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        return ExitCode.USAGE
    if options.json:
        print_result(json.dumps([asdict(run) for run in runs], indent=2))
    else:
        print_result(render("runs.txt", runs=runs))
    return ExitCode.OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="pipeline.history",
        description="List the runs of an OUTPUT, or compare two.",
        epilog="exit codes: 0 done; 2 bad usage; 5 a gate failed",
    )
    parser.add_argument("output", help="directory or URI that the runs wrote to")
    parser.add_argument("--limit", type=int, metavar="N", help="list only the newest N runs")
    parser.add_argument("--json", action="store_true", help="print JSON")
    commands = parser.add_subparsers(dest="command")
    two = commands.add_parser("compare", help="compare run B with run A")
    two.add_argument("a", help="run id, the beginning of one, latest or previous")
    two.add_argument("b", help="the same")
    two.add_argument(
        "--figure", metavar="NAME", help="figure to compare by [psnr or consistency_psnr]"
    )
    two.add_argument(
        "--min_psnr_gain", type=float, metavar="DB",
        help="gate: least improvement of the mean of that figure, over images of both runs",
    )  # fmt: skip
    two.add_argument(
        "--max_regression", type=float, metavar="DB",
        help="gate: largest loss of an image in that figure; no image may newly fail",
    )  # fmt: skip
    two.add_argument("--csv", metavar="FILE", help="write the differences of all images to FILE")
    return parser


def _compare(store: OutputStore, options: argparse.Namespace) -> int:
    a, b = find_run(store, options.a), find_run(store, options.b)
    comparison = compare(store, a, b, options.figure)
    failed = gates(comparison, options.min_psnr_gain, options.max_regression)
    if options.csv:
        comparison.images.to_csv(options.csv, index=False)
    if options.json:
        content = {
            "a": a.run_id, "b": b.run_id, "figure": comparison.column.name, "gates_failed": failed,
            "images": len(comparison.images), "infinite": comparison.infinite,
            "worst": comparison.images.head(_SHOWN).to_dict("records"),
            **{n: getattr(comparison, n) for n in ("means", "settings", *_LISTS)},
        }  # fmt: skip
        print_result(to_json(_finite(content)).decode())
    else:
        worse = comparison.images[comparison.improvements < 0]
        text = render(
            "comparison.txt", a=a, b=b, comparison=comparison, worse=list(worse.itertuples()),
            better=int((comparison.improvements > 0).sum()), shown=_SHOWN,
        )  # fmt: skip
        print_result(text)
    for problem in failed:
        print(f"gate failed: {problem}", file=sys.stderr)
    return ExitCode.GATE if failed else ExitCode.OK


def _finite(value: Any) -> Any:
    """The value with infinite numbers as texts, because JSON has none."""
    if isinstance(value, dict):
        return {key: _finite(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(one) for one in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value


if __name__ == "__main__":
    sys.exit(main())
