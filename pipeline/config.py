"""The configuration of a job: one frozen model, from which flags and YAML keys are derived.

Heavy modules are imported where they are needed, so that `--help` is quick.
"""

import difflib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UsageError
from srcnn.architectures import DEFAULT_KERNEL, ProtocolName
from srcnn.engines import ENGINES
from srcnn.settings import SettingsError, read_settings, shown
from storage.errors import StoreError
from storage.store import read_small


def _option(group: str, default: Any, help: str, shown: str | None = None, **bounds: Any) -> Any:
    """A field that is also a flag: its help group, its help and how its default is shown."""
    extra = {"group": group, "shown": str(default) if shown is None else shown}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


_place = partial(_option, "Input and output")
_shard = partial(_option, "Shards (*.tar, *.parquet)")
_restoration = partial(_option, "Restoration")
_model = partial(_option, "Model")
_image = partial(_option, "Images")
_report = partial(_option, "Report")
_earlier = partial(_option, "Earlier runs")
_limit = partial(_option, "Limits")


def _as_tuple(value: Any) -> Any:
    return (value,) if isinstance(value, str) else value


def _as_text(value: Any) -> Any:
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _text_like(pattern: str, requirement: str) -> BeforeValidator:
    """A validator for texts that match a pattern; they become lower case, without outer blanks."""

    def check(value: Any) -> str:
        text = str(value).strip().lower()
        if not re.fullmatch(pattern, text):
            raise ValueError(requirement)
        return text

    return BeforeValidator(check)


def _megapixels(value: Any) -> str:
    match = re.fullmatch(r"(\d{1,6}(?:\.\d{1,6})?) ?mp", str(value).strip().lower())
    if value and (not match or float(match[1]) == 0):
        raise ValueError("must be a number of megapixels above 0, such as 8MP")
    return f"{float(match[1]):g}MP" if match else ""


def _comparisons(value: Any) -> int | str:
    if value in ("all", "none"):
        return value
    if re.fullmatch(r"\d{1,4}", str(value)):
        return int(value)
    raise ValueError("must be a number of pictures up to 9999, all or none")


_Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
_Box = _text_like(
    r"|[1-9]\d{0,4}x[1-9]\d{0,4}", "must be WIDTHxHEIGHT in pixels, such as 3840x2160"
)
_FailureBudget = _text_like(
    r"\d{1,9}|(\d{1,2}(\.\d{1,9})?|100(\.0{1,9})?)%",
    "must be a number of images such as 5, or a share such as 1%, at most 100%",
)


class JobConfig(BaseModel):
    """The options of a run, except Beam's own. Frozen and valid.

    Each field is a flag of run_pipeline.py and a key of its YAML files; the descriptions are the
    help texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: _Texts = _place(
        (), "glob of images; ** matches any directories; repeatable", "required, or input_list"
    )
    input_list: _Texts = _place(
        (), "file or glob of files that list URIs: text, *.csv or *.parquet; repeatable", "none"
    )
    input_root: str = _place(
        "",
        "directory or URI above all listed URIs: results keep the path below it, and missing "
        "sources are reported",
        "the bucket, or /",
    )
    output: str = _place("", "directory or URI for all results")
    image_column: str = _shard(
        "", "column of images in Parquet; ending of images in tars, such as jpg", "the only one"
    )
    shards: Literal["write", "none"] = _shard(
        "write", "write: write restored shards; none: write the report only"
    )
    figures_in: Literal["report", "shards"] = _shard(
        "report", "shards: write figures also to a column or member of each sample"
    )
    on_failure: Literal["keep", "drop", "fail"] = _shard(
        "keep",
        "if an image fails: keep its sample unchanged, drop the sample, or fail the whole shard",
    )
    mode: Literal["evaluate", "restore"] = _restoration(
        "evaluate",
        "evaluate: take inputs as ground truth, degrade, restore and measure them; "
        "restore: enlarge and improve the inputs",
    )
    scale: int = _restoration(
        2,
        "2, 3 or 4; 1: do not enlarge (evaluate then needs degrade)",
        "2, or that of named weights",
    )
    kernel: str = _restoration(
        "",
        "interpolation: opencv has nearest, bilinear, bicubic, area, lanczos; "
        "matlab has bilinear, bicubic",
        "that of named weights; bilinear for opencv, bicubic for matlab",
    )
    protocol: ProtocolName = _restoration(
        "opencv",
        "convention for interpolation, colour, rounding and figures",
        "opencv, or that of named weights",
    )
    degrade: str = _restoration(
        "shrink",
        "steps that degrade an original, such as 'blur=0.2..1.2 shrink=area noise=0..10 "
        "jpeg=40..95' (evaluate only; docs/metrics.md)",
    )
    seed: int = _restoration(0, "seed for draws from the ranges of degrade", ge=0, lt=2**31)
    border: Literal["keep", "shave"] = _restoration(
        "keep", "keep: full-size output; shave: cut and measure as published (evaluate only)"
    )
    strength: float = _restoration(
        1.0, "mixes the interpolation (0) and the network's result (1)", ge=0, le=1
    )
    fit: Annotated[str, _Box] = _restoration(
        "",
        "WIDTHxHEIGHT, such as 3840x2160: shrink larger results to fit inside (restore only)",
        "full size",
    )
    model: str = _model(
        "",
        "architecture, completed by scale and kernel, or the full name of shipped weights",
        "srcnn-955; restore: photo-large, or the best for kernel and protocol",
    )
    weights: Annotated[str | None, BeforeValidator(_as_text)] = _model(
        None, "weights file (.weights.h5, with its model card) instead of a model", "shipped"
    )
    engine: Literal["auto", *ENGINES] = _model(
        "auto", "inference engine; auto: the fastest installed"
    )
    ensemble: bool = _model(
        False,
        "restore each image in eight flips and rotations and take the mean: better, 8 times "
        "the work",
        "no",
    )
    engine_threads: int | None = _model(
        None,
        "threads of network and OpenCV for one image",
        "local runner: cores / workers; else 1",
        ge=1,
        le=1024,
    )
    tile: int = _model(
        256, "side of a tile in pixels, about; bounds memory, not results", ge=16, le=8192
    )
    output_format: Literal["same", "png", "jpeg", "webp", "tiff"] = _image(
        "same", "same: the format of the source's name, or PNG if that cannot be written"
    )
    quality: int | None = _image(
        None,
        "quality of JPEG and WebP, 1 to 100",
        "JPEG: 95, or finer if the source is; WebP: lossless",
        ge=1,
        le=100,
    )
    compression: int = _image(
        1, "effort for PNG and TIFF, 0 to 9; costs time, never quality", ge=0, le=9
    )
    metadata: Literal["keep", "strip"] = _image(
        "keep", "keep or strip EXIF, XMP, colour profile, resolution and texts"
    )
    comparisons: Annotated[int | str, BeforeValidator(_comparisons)] = _report(
        12,
        "comparison pictures, and the page's gallery: a number (worst, best, median and random "
        "gain), all or none",
    )
    without: _Texts = _report(
        (),
        "figure not to measure, such as niqe; repeatable (restore only)",
        "all are measured",
    )
    run_id: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = _report(
        "", "name of the run in OUTPUT", "UTC time and a random suffix"
    )
    skip_above: Annotated[str, BeforeValidator(_megapixels)] = _limit(
        "", "skip images that are large enough: larger than this, such as 8MP", "no limit"
    )
    force: bool = _earlier(False, "restore every image, done or not", "unfinished images only")
    retry_failed: bool = _earlier(False, "restore only images that failed the last time", "no")
    prune: bool = _earlier(False, "remove results whose source is gone", "only list them")
    take_over: bool = _earlier(
        False, "start even if another run seems to be writing to OUTPUT", "refuse"
    )
    fail_on_empty: bool = _limit(
        False, "exit with 4 if any glob matches nothing", "if all match nothing"
    )
    max_failures: Annotated[str, _FailureBudget] = _limit(
        "0", "failed images tolerated before the exit code is 3: a number or a share"
    )
    max_megapixels: float = _limit(
        256.0, "fail images that are larger, as input or result", gt=0, le=100_000
    )
    max_seconds: float = _limit(
        600.0, "fail images that take longer to decode or to restore", gt=0, le=1_000_000
    )

    @model_validator(mode="after")
    def _check_and_complete(self) -> "JobConfig":
        if problem := next(self._problems(), None):
            raise ValueError(problem)
        # Frozen: only here are values completed.
        if not self.kernel:
            object.__setattr__(self, "kernel", DEFAULT_KERNEL[self.protocol])
        if self.degrade != "shrink":
            object.__setattr__(self, "degrade", _canonical(self.degrade))
        return self

    def _problems(self) -> Iterator[str]:
        """Options that are missing or wrong, or that contradict each other."""
        # Imported here: it loads OpenCV and SciPy, and --help should not wait for that.
        from srcnn.resample import KERNELS

        if not self.input + self.input_list or not all(self.input + self.input_list):
            yield (
                "input: none given; name at least one glob, such as 'photos/**/*.png', or "
                "a list of URIs with input_list"
            )
        if not self.output:
            yield "output: none given; name a directory"
        if self.scale not in (1, 2, 3, 4):
            yield f"scale: {self.scale}: must be one of 1, 2, 3, 4"
        kernels = KERNELS[self.protocol]
        if self.kernel and self.kernel not in kernels:
            names, hint = ", ".join(kernels), _did_you_mean(self.kernel, kernels)
            yield f"kernel: {shown(self.kernel)}: protocol {self.protocol} has {names}{hint}"
        yield from (message for applies, message in _CONTRADICTIONS if applies(self))
        if self.without:
            yield from self._needed_figures()

    def _needed_figures(self) -> Iterator[str]:
        from srcnn.figures import figures_of

        names = [figure.name for figure in figures_of("restore")][1:]  # the first ranks images
        for name in self.without:
            if self.mode == "evaluate" or name not in names:
                yield (
                    f"without: {shown(name)}: mode restore can leave out {', '.join(names)}; "
                    "mode evaluate needs all figures"
                )

    @property
    def fit_size(self) -> tuple[int, int] | None:
        """Width and height, in pixels, that results fit into, or None."""
        return tuple(map(int, self.fit.split("x"))) if self.fit else None

    @property
    def largest_input(self) -> float | None:
        """Megapixels above which an image is skipped, or None."""
        return float(self.skip_above.removesuffix("MP")) if self.skip_above else None

    def allowed_failures(self, matched: int) -> float:
        """The failure budget in images, given the number of matched images."""
        if self.max_failures.endswith("%"):
            return matched * float(self.max_failures[:-1]) / 100
        return int(self.max_failures)


_CONTRADICTIONS: tuple[tuple[Callable[[JobConfig], Any], str], ...] = (
    (lambda c: c.input_root and not c.input_list,
     "input_root: applies to lists only; name one with input_list, or leave it out"),
    (lambda c: c.mode == "restore" and c.border == "shave",
     "border: 'shave': only for mode evaluate; restore keeps all pixels"),
    (lambda c: c.mode == "restore" and c.degrade != "shrink",
     "degrade: only for mode evaluate; restore degrades nothing"),
    (lambda c: c.mode == "evaluate" and c.fit,
     "fit: only for mode restore; evaluate measures at full size"),
    (lambda c: c.shards == "none" and c.figures_in == "shards",
     "figures_in: 'shards': no shards are written (shards: none)"),
    (lambda c: c.force and c.retry_failed,
     "force: contradicts retry_failed, which skips finished images"),
)  # fmt: skip


def load_config(values: dict[str, Any], file: str | None = None) -> JobConfig:
    """Builds the configuration from a YAML file and flags that override it.

    The values are those of the command line, by field name; the file is a path or URI.

    Raises:
      UsageError: an option is unknown or invalid; the message names it and the remedy.
    """
    merged = (_read_yaml(file) if file else {}) | values
    unknown = [key for key in merged if key not in JobConfig.model_fields]
    if unknown:
        hint = _did_you_mean(unknown[0], JobConfig.model_fields)
        raise UsageError(f"{file or 'configuration'}: unknown key {shown(unknown[0])}{hint}")
    try:
        return JobConfig(**merged)
    except ValidationError as error:
        raise UsageError(_one_line(error)) from None


def nearest(word: str, known: Any, cutoff: float = 0.6) -> str | None:
    """The known word that is most similar to a misspelt one, if any."""
    matches = difflib.get_close_matches(word, list(known), n=1, cutoff=cutoff)
    return matches[0] if matches else None


def _did_you_mean(word: str, known: Any) -> str:
    found = nearest(word, known)
    return f"; did you mean {found!r}?" if found else ""


def _read_yaml(path: str) -> dict[str, Any]:
    try:
        content = read_settings(path, read_small)
    except (SettingsError, StoreError) as error:
        raise UsageError(str(error)) from None
    values = {}
    for key, value in content.items():
        if (name := key.replace("-", "_")) in values:
            raise UsageError(
                f"{path}: key {shown(name)} is given twice, with dashes and with underscores"
            )
        values[name] = value
    return values


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name, value, hint = str(first["loc"][0]), first.get("input"), ""
    if first["type"] == "literal_error" and isinstance(value, str):
        hint = _did_you_mean(value, get_args(JobConfig.model_fields[name].annotation))
    return f"{name}: {shown(value)}: {message}{hint}"


def _canonical(degrade: str) -> str:
    """A chain of degradation steps in its one text form."""
    from srcnn.degradations import parse_steps

    try:
        return " ".join(map(str, parse_steps(degrade)))
    except ValueError as error:
        raise ValueError(f"degrade: {error}") from None
