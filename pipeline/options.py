"""The command line: flags derived from JobConfig; Beam's options are passed through."""

import argparse
import sys
import textwrap
from dataclasses import dataclass
from typing import Literal, NoReturn, get_args, get_origin

from pipeline.config import JobConfig, load_config, nearest
from pipeline.errors import UsageError
from pipeline.terminal import print_result
from pipeline.version import VERSION

_EXAMPLES = """
examples:
  measure a model on your own photographs (x2, full-size output):
    python run_pipeline.py --input 'photos/**/*.jpg' --output out

  measure as the literature does (luma PSNR, MATLAB's bicubic), without pictures:
    python run_pipeline.py --config configs/paper.yaml \\
        --input 'Set5/*.png' --output out --comparisons none

  enlarge a folder twofold:
    python run_pipeline.py --mode restore --input 'scans/*.png' --output big

  restore the images of a list:
    python run_pipeline.py --mode restore --input_list photos.parquet --output big

  run on a cluster, by Beam's options (docs/flink.md, docs/dataflow.md):
    python run_pipeline.py --input '/data/in/*.png' --output /data/out \\
        --runner PortableRunner --job_endpoint localhost:8099 \\
        --environment_type EXTERNAL --environment_config localhost:50000

  read from and write to object stores (docs/object-stores.md):
    python run_pipeline.py --input 's3://photos/**/*.jpg' --output s3://results

exit codes:
  0  all images written, or failures within --max_failures
  1  the job crashed, a worker process died, OUTPUT is full or its store fails; run it again
  2  bad usage or configuration; nothing was touched
  3  more failed images than --max_failures
  4  no input matched anything; nothing was touched
  5  python -m pipeline.history: a gate failed
  130, 143  interrupted (SIGINT, SIGTERM)

Options of Apache Beam are passed through, such as --direct_num_workers 2 for two workers.
Option names may have dashes or underscores.
"""


@dataclass(frozen=True)
class Command:
    """A parsed command line: the job, Beam's options, and the options of the group Running."""

    config: JobConfig
    beam_arguments: list[str]
    dry_run: bool
    verbose: bool
    quiet: bool = False
    json: bool = False


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        raise UsageError(message)


def parse(arguments: list[str]) -> Command:
    """Parses and validates a command line; `--help`, `--version` and `--list_models` exit.

    Raises:
      UsageError: the message names the error and the remedy.
    """
    parser = build_parser()
    options, rest = parser.parse_known_args([_with_underscores(a) for a in arguments])
    if options.list_models:
        _list_models()
    _refuse_unknown(rest, parser)
    if stores := [word for word in rest if word.startswith("--s3_")]:
        # They would not reach the workers, and the manifest would show them.
        raise UsageError(
            f"{stores[0].partition('=')[0]}: object stores take credentials and endpoints from the "
            "environment: AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID, ..."
        )
    given = {
        name: value
        for name, value in vars(options).items()
        if name in JobConfig.model_fields and value is not None
    }
    config = load_config(given, options.config)
    if options.json and options.dry_run:
        raise UsageError("--json prints the summary of a run; a --dry_run has none")
    return Command(config, rest, options.dry_run, options.verbose, options.quiet, options.json)


def _list_models() -> NoReturn:
    # Imported here: only this option reads weights.
    from pipeline.models import describe_models
    from srcnn.errors import WeightsError
    from weights import DIRECTORY

    try:
        print_result(describe_models(DIRECTORY))
    except WeightsError as error:
        raise UsageError(str(error)) from None
    sys.exit(0)


def build_parser() -> argparse.ArgumentParser:
    """The parser of the command line, also read by docs/options.py."""
    parser = _Parser(
        prog="run_pipeline.py",
        description="Restore image datasets with super-resolution (SRCNN) on Apache Beam: "
        "image globs in, restored images and a Parquet metrics report out.",
        epilog=textwrap.dedent(_EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    groups = {}
    for name, field in JobConfig.model_fields.items():
        extra = field.json_schema_extra
        group = groups.setdefault(extra["group"], parser.add_argument_group(extra["group"]))
        shown = f" [{extra['shown']}]" if extra["shown"] else " [required]"
        description = field.description + shown
        if field.annotation is bool:
            # With a value too, as templates and schedulers write it: --force=true.
            group.add_argument(
                f"--{name}", nargs="?", const=True, metavar="true|false", help=description
            )
            continue
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else ()
        group.add_argument(
            f"--{name}",
            action="append" if get_origin(field.annotation) is tuple else "store",
            metavar="|".join(choices) if choices else name.upper(),
            help=description,
        )
    _add_running(parser.add_argument_group("Running"))
    return parser


def _add_running(run: argparse._ArgumentGroup) -> None:
    """Adds the options that are not part of the job."""
    run.add_argument(
        "--config", metavar="FILE", help="YAML file (or URI) of these options; flags override it"
    )
    for name, text in (
        ("--dry_run", "print the plan and touch nothing"),
        ("--verbose", "print the libraries' logs, and tracebacks"),
        ("--quiet", "print warnings and errors only"),
        ("--json", "print the summary as JSON, and nothing else on standard output"),
        ("--list_models", "print the shipped weights and exit"),
    ):
        run.add_argument(name, action="store_true", help=text)
    run.add_argument("--version", action="version", version=f"srcnn-beam {VERSION}")


def _with_underscores(argument: str) -> str:
    """`--max-failures=1%` as `--max_failures=1%`; values are unchanged."""
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _refuse_unknown(rest: list[str], parser: argparse.ArgumentParser) -> None:
    """Refuses arguments that neither this parser nor Beam knows, with the nearest name."""
    if not rest:
        return
    # Imported only if needed: it takes a second.
    from apache_beam.options.pipeline_options import PipelineOptions

    from pipeline.runners.table import runner_class

    # Beam's own list of its parsers is private; each class adds its options to one parser.
    beam_parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    for options in PipelineOptions.__subclasses__():
        options._add_argparse_args(beam_parser)
    own = [flag for action in parser._actions for flag in action.option_strings]
    beams = [flag for action in beam_parser._actions for flag in action.option_strings]
    unknown = beam_parser.parse_known_args(rest)[1]
    if unknown and runner_class(PipelineOptions(rest)).takes_unknown_options:
        unknown = _without_job_servers(unknown, own + beams)
    if not unknown:
        return
    word = unknown[0].partition("=")[0]
    if not word.startswith("-"):
        raise UsageError(f"unexpected argument {unknown[0]!r}; put globs after --input, in quotes")
    found = nearest(word, own) or nearest(word, beams)
    hint = f"did you mean {found}?" if found else "see --help"
    raise UsageError(f"unknown option {word}; {hint}")


def _without_job_servers(words: list[str], known: list[str]) -> list[str]:
    """The words without options, and their values, that only a job server may know.

    Misspellings of known options stay.
    """
    left, value_follows = [], False
    for word in words:
        is_option = word.startswith("--")
        misspelt = is_option and nearest(word.partition("=")[0], known, cutoff=0.85)
        if misspelt or not (is_option or value_follows):
            left.append(word)
        value_follows = is_option and "=" not in word
    return left
