"""Prints the reference of the options, generated from the command line's parser.

.venv/bin/python docs/options.py > docs/options.md
"""

import argparse

from pipeline.options import build_parser

_INTRODUCTION = """\
# Options of run_pipeline.py

Generated from the parser: `.venv/bin/python docs/options.py > docs/options.md`.
`run_pipeline.py --help` prints the same texts with examples.

- Dashes and underscores are the same in option names. Options without a value also take `=true` and
  `=false`.
- Every option but those under "Running" can be a key of a YAML file (`--config`; presets in
  `configs/`). A flag overrides the file. The file has at most 256 KiB, no anchors, aliases or tags,
  and each key once.
- Options of Apache Beam are passed through, such as `--runner` and `--direct_num_workers`
  ([workers](performance.md#workers), [Flink](flink.md), [Dataflow](dataflow.md)).
- Credentials of object stores come from the environment: [object stores](object-stores.md).
"""


def page() -> str:
    """The Markdown page: a table for each group of options."""
    parts = [_INTRODUCTION]
    for group in build_parser()._action_groups:
        actions = [action for action in group._group_actions if action.dest != "help"]
        if actions:
            title = (group.title or "").replace("*", r"\*")
            parts.append(f"\n## {title}\n\n| option | default | meaning |\n|---|---|---|\n")
            parts += map(_row, actions)
    return "".join(parts)


def _row(action: argparse.Action) -> str:
    meaning, _, default = (action.help or "").rstrip("]").partition(" [")
    choices = action.metavar or ""
    values = " " + choices.replace("|", r"\|") if "|" in choices and action.nargs != "?" else ""
    return f"| `{action.option_strings[0]}{values}` | {default} | {_escaped(meaning)} |\n"


def _escaped(text: str) -> str:
    return text.replace("*", r"\*").replace("|", r"\|").replace("<", r"\<")


if __name__ == "__main__":
    print(page(), end="")
