"""The configuration of a job: one frozen model, from which flags and YAML keys are derived.

Imports nothing heavy, so that `--help` is quick.
"""

import difflib
import os
import re
from functools import partial
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import UsageError
from srcnn.architectures import DEFAULT_KERNEL, ProtocolName
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


def _failure_budget(value: Any) -> str:
    text = str(value).strip()
    number = text.removesuffix("%")
    limit = 100 if text.endswith("%") else None
    if not re.fullmatch(r"\d{1,9}(\.\d{1,9})?" if limit else r"\d{1,9}", number):
        raise ValueError("must be a number of images such as 5, or a share such as 1%")
    if limit and float(number) > limit:
        raise ValueError("a share is at most 100%")
    return text


def _box(value: Any) -> str:
    text = str(value).strip().lower()
    if text and not re.fullmatch(r"[1-9]\d{0,4}x[1-9]\d{0,4}", text):
        raise ValueError("must be WIDTHxHEIGHT in pixels, such as 3840x2160")
    return text


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


class JobConfig(BaseModel):
    """Everything that a run depends on but Beam's own options. Frozen and valid.

    Each field is a flag of run_pipeline.py and a key of its YAML files; the descriptions are the
    help texts.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    input: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = _place(
        (), "image glob; ** reaches into directories; repeatable", shown="required, or input_list"
    )
    input_list: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = _place(
        (),
        "file or glob of files that list URIs: text, *.csv or *.parquet; repeatable",
        shown="none",
    )
    input_root: str = _place(
        "",
        "what listed URIs lie below: their results keep the path below it, and missing sources "
        "are reported",
        shown="the bucket, or /",
    )
    output: str = _place("", "directory or URI for everything written")
    image_column: str = _shard(
        "",
        "column of images in Parquet; in tars the ending of such members, as jpg",
        shown="the only one",
    )
    shards: Literal["write", "none"] = _shard(
        "write", "write: restored shards; none: the report alone"
    )
    figures_in: Literal["report", "shards"] = _shard(
        "report", "shards: also as a column or member restoration of each sample"
    )
    on_failure: Literal["keep", "drop", "fail"] = _shard(
        "keep",
        "of a sample: keep it as it is, drop it out of its shard, or fail: write no such shard",
    )
    mode: Literal["evaluate", "restore"] = _restoration(
        "evaluate",
        "evaluate: inputs are ground truth, degrade, restore and measure them; "
        "restore: enlarge and improve the inputs",
    )
    scale: int = _restoration(
        2,
        "2, 3 or 4; 1: nothing is enlarged (evaluate then needs degrade)",
        shown="2, or that of named weights",
    )
    kernel: str = _restoration(
        "",
        "interpolation: opencv has nearest, bilinear, bicubic, area, lanczos; "
        "matlab has bilinear, bicubic",
        shown="that of named weights; bilinear for opencv, bicubic for matlab",
    )
    protocol: ProtocolName = _restoration(
        "opencv",
        "whose interpolation, colour, rounding and figures",
        shown="opencv, or that of named weights",
    )
    degrade: str = _restoration(
        "shrink",
        "what is done to an original, step by step, such as 'blur=0.2..1.2 shrink=area "
        "noise=0..10 jpeg=40..95' (evaluate only; docs/metrics.md)",
    )
    seed: int = _restoration(0, "of what images draw from the ranges of degrade", ge=0, lt=2**31)
    border: Literal["keep", "shave"] = _restoration(
        "keep", "keep: full-size output; shave: cut and measure as published (evaluate only)"
    )
    strength: float = _restoration(
        1.0, "between interpolation, 0, and what the network makes, 1", ge=0, le=1
    )
    fit: Annotated[str, BeforeValidator(_box)] = _restoration(
        "",
        "WIDTHxHEIGHT, such as 3840x2160: a larger result is shrunk to fit inside (restore only)",
        shown="full size",
    )
    model: str = _model(
        "",
        "architecture, completed by scale and kernel, or the whole name of shipped weights",
        shown="srcnn-955; restore: photo-large, or the best for kernel and protocol",
    )
    weights: Annotated[str | None, BeforeValidator(_as_text)] = _model(
        None, "weights file (.weights.h5, model card beside it) instead", shown="shipped"
    )
    engine: Literal["auto", "openvino", "tensorflow"] = _model(
        "auto", "inference engine; auto: the fastest installed"
    )
    ensemble: bool = _model(
        False,
        "restore each image flipped and turned in eight ways and take the mean: better, 8 times "
        "the work",
        shown="no",
    )
    engine_threads: int | None = _model(
        None,
        "threads that the network and OpenCV take for one image",
        shown="local runner: cores / workers; else 1",
        ge=1,
        le=1024,
    )
    tile: int = _model(
        256, "largest side of a tile in pixels; bounds memory, not results", ge=16, le=8192
    )
    output_format: Literal["same", "png", "jpeg", "webp", "tiff"] = _image(
        "same", "same: that of the source's name, PNG where it cannot be written"
    )
    quality: int | None = _image(
        None,
        "of JPEG and WebP, 1 to 100",
        shown="JPEG: 95, or finer if the source is; WebP: lossless",
        ge=1,
        le=100,
    )
    compression: int = _image(
        1, "effort for PNG and TIFF, 0 to 9; costs time, never quality", ge=0, le=9
    )
    metadata: Literal["keep", "strip"] = _image(
        "keep", "EXIF, XMP, colour profile, resolution, texts"
    )
    comparisons: Annotated[int | str, BeforeValidator(_comparisons)] = _report(
        12,
        "comparison pictures, and the page's gallery: a number (worst, best, median and random "
        "gain), all or none",
    )
    without: Annotated[tuple[str, ...], BeforeValidator(_as_tuple)] = _report(
        (),
        "figure without a reference that is not measured, such as niqe; repeatable (restore only)",
        shown="all are",
    )
    run_id: Annotated[str, Field(pattern=r"^$|^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] = _report(
        "", "name of the run in OUTPUT", shown="UTC time and a random suffix"
    )
    skip_above: Annotated[str, BeforeValidator(_megapixels)] = _limit(
        "",
        "larger images, such as than 8MP, are large enough and skipped",
        shown="none is skipped",
    )
    force: bool = _earlier(False, "restore every image, done or not", shown="only what is not done")
    retry_failed: bool = _earlier(False, "restore only what failed the last time", shown="no")
    prune: bool = _earlier(False, "remove results whose source is gone", shown="only list them")
    take_over: bool = _earlier(
        False, "begin although another run seems to be at work", shown="refuse"
    )
    fail_on_empty: bool = _limit(
        False, "exit with 4 if any glob matches nothing", shown="if all match nothing"
    )
    max_failures: Annotated[str, BeforeValidator(_failure_budget)] = _limit(
        "0", "failed images tolerated before the exit code is 3: a number or a share"
    )
    max_megapixels: float = _limit(
        256.0, "larger images, read or made, become failed rows", gt=0, le=100_000
    )
    max_seconds: float = _limit(
        600.0,
        "longer to decode, or to restore, and an image becomes a failed row",
        gt=0,
        le=1_000_000,
    )

    @model_validator(mode="after")
    def _hangs_together(self) -> "JobConfig":
        if not self.input + self.input_list or not all(self.input + self.input_list):
            raise ValueError(
                "input: none given; name at least one glob, such as 'photos/**/*.png', or "
                "a list of URIs with input_list"
            )
        if self.input_root and not self.input_list:
            raise ValueError("input_root: is of lists; name one with input_list, or leave it out")
        if not self.output:
            raise ValueError("output: none given; name a directory")
        if self.scale not in (1, 2, 3, 4):
            raise ValueError(f"scale: {self.scale}: must be one of 1, 2, 3, 4")
        # Imported here: it loads OpenCV and SciPy, and --help should not wait for that.
        from srcnn.resample import KERNELS

        kernels = KERNELS[self.protocol]
        if self.kernel and self.kernel not in kernels:
            raise ValueError(
                f"kernel: {shown(self.kernel)}: protocol {self.protocol} has {', '.join(kernels)}"
                f"{_did_you_mean(self.kernel, kernels)}"
            )
        if self.border == "shave" and self.mode == "restore":
            raise ValueError("border: 'shave': exists for mode evaluate only; restore keeps pixels")
        if self.without:
            self._check_without()
        if self.fit and self.mode == "evaluate":
            raise ValueError(
                f"fit: {self.fit!r}: exists for mode restore only; evaluate measures in full size"
            )
        if self.degrade != "shrink":
            self._complete_degrade()
        if self.shards == "none" and self.figures_in == "shards":
            raise ValueError("figures_in: 'shards': none are written (shards: none)")
        if self.force and self.retry_failed:
            raise ValueError("force: contradicts retry_failed, which leaves out what is done")
        # Frozen: the one place that completes a value.
        if not self.kernel:
            object.__setattr__(self, "kernel", DEFAULT_KERNEL[self.protocol])
        return self

    def _check_without(self) -> None:
        from srcnn.figures import figures_of

        names = [figure.name for figure in figures_of("restore")][1:]  # the first ranks images
        for name in self.without:
            if self.mode == "evaluate" or name not in names:
                raise ValueError(
                    f"without: {shown(name)}: mode restore can do without "
                    f"{', '.join(names)}; evaluate without none"
                )

    def _complete_degrade(self) -> None:
        """Checks the chain, and writes it in its one text form."""
        if self.mode == "restore":
            raise ValueError("degrade: exists for mode evaluate only; restore degrades nothing")
        from srcnn.degradations import parse_steps

        try:
            steps = parse_steps(self.degrade)
        except ValueError as error:
            raise ValueError(f"degrade: {error}") from None
        object.__setattr__(self, "degrade", " ".join(map(str, steps)))

    @property
    def fit_size(self) -> tuple[int, int] | None:
        """The width and height that results fit into, or None."""
        if not self.fit:
            return None
        width, height = map(int, self.fit.split("x"))
        return width, height

    @property
    def largest_input(self) -> float | None:
        """The megapixels above which an image is skipped, or None."""
        return float(self.skip_above.removesuffix("MP")) if self.skip_above else None

    def allowed_failures(self, matched: int) -> float:
        """The failure budget in images, for a number of matched images."""
        if self.max_failures.endswith("%"):
            return matched * float(self.max_failures[:-1]) / 100
        return int(self.max_failures)


def load_config(values: dict[str, Any], file: str | None = None) -> JobConfig:
    """Builds the configuration from a YAML file and flags that override it.

    Args:
      values: what was given on the command line, by field name.
      file: path or URI of a YAML file, or None.

    Raises:
      UsageError: something is unknown or invalid; the message names it and what would be right.
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
    """The known word that is most like a misspelt one, if any is."""
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
        name = key.replace("-", "_")
        if name in values:
            raise UsageError(
                f"{path}: key {shown(name)} is given twice, with a dash and an underscore"
            )
        values[name] = value
    return values


def _one_line(error: ValidationError) -> str:
    first = error.errors()[0]
    message = first["msg"].removeprefix("Value error, ")
    if not first["loc"]:
        return message
    name = str(first["loc"][0])
    value = first.get("input")
    field = JobConfig.model_fields.get(name)
    hint = ""
    if first["type"] == "literal_error" and field is not None and isinstance(value, str):
        hint = _did_you_mean(value, get_args(field.annotation))
    return f"{name}: {shown(value)}: {message}{hint}"
