"""The figures of an image, in one table.

Columns of the report, means, pages, captions, history and gates derive from FIGURES: a new figure
is an entry there. Figures are on the 8-bit scale, see srcnn.metrics.
"""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass, field, replace
from functools import cached_property
from threading import Lock
from typing import Any

import numpy as np

from srcnn import metrics
from srcnn.degradations import Degradation
from srcnn.restoration import Measured
from weights import DIRECTORY

Values = dict[str, float | None]

# Endings of the columns of a figure with a reference, in the report's order.
_PICTURES = ("degraded", "enhanced", "gain")
_loading = Lock()


@dataclass(frozen=True)
class Pair:
    """An image and its ground truth, with values that several figures share.

    Attributes:
      truth: (h, w[, c]), uint8 or uint16.
      image: same shape and type.
      ssim_window: the definition of SSIM, as srcnn.metrics.ssim names it.
    """

    truth: np.ndarray
    image: np.ndarray
    ssim_window: str
    _known: dict[str, float | None] = field(default_factory=dict, init=False, repr=False)

    # Not functools.cached_property: in Python 3.11 threads wait for each other in it.

    @property
    def mse(self) -> float:
        """Mean squared error per sample."""
        if "mse" not in self._known:
            self._known["mse"] = metrics.mse(self.truth, self.image)
        return self._known["mse"]

    @property
    def ssim(self) -> float | None:
        """Mean SSIM; None below one window."""
        if "ssim" not in self._known:
            self._known["ssim"] = metrics.ssim(self.truth, [self.image], self.ssim_window)[0]
        return self._known["ssim"]


@dataclass(frozen=True)
class Result:
    """A restored image without a ground truth.

    Attributes:
      restored: (H, W[, 3]), uint8 or uint16; figures `of_both` also get the enlarged input here.
      source: (h, w[, 3]) of the same type, the input.
      model: the degradation that the model undoes.
    """

    restored: np.ndarray
    source: np.ndarray
    model: Degradation


@dataclass(frozen=True)
class Figure:
    """A figure: its names, its presentation and its measurement.

    Attributes:
      name: of its columns, without `_degraded`, `_enhanced` or `_gain`.
      title: in tables, charts and captions.
      meaning: its line in docs/report.md.
      function: of a Pair, or of a Result where no reference is needed, and of the figure's model if
        it has one; None: not defined for this image.
      needs_reference: measured in evaluate mode, of the degraded and the restored image; otherwise
        in restore mode, of the restored image.
      of_both: without a reference: measured of the enlarged input too.
      guide: how to read its values, in words; empty: not explained on pages.
      unit: such as `dB`.
      digits: decimals shown of one image; means have two more.
      higher_is_better: whether the higher of two values is the better one.
      of_luma: measured on luma in both protocols; otherwise on luma only with `matlab`.
      has_gain: has a column of the improvement, positive where the restored image is better.
      shown: where it appears beside the report: `means`, `pages`, `captions`.
      load: loads the figure's model, once per process.
    """

    name: str
    title: str
    meaning: str
    function: Callable[..., float | None]
    needs_reference: bool = True
    of_both: bool = False
    guide: str = ""
    unit: str = ""
    digits: int = 4
    higher_is_better: bool = True
    of_luma: bool = False
    has_gain: bool = False
    shown: tuple[str, ...] = ("means", "pages", "captions")
    load: Callable[[], Any] | None = None

    @property
    def columns(self) -> list["Column"]:
        """Its columns in the report."""
        if not (self.needs_reference or self.of_both):
            return [Column(self, "")]
        return [Column(self, which) for which in _PICTURES[: 2 + self.has_gain]]

    def measure(self, subject: Pair | Result) -> float | None:
        """Its value for an image."""
        if self.load is None:
            return self.function(subject)
        with _loading:
            model = self._model
        return self.function(subject, model)

    @cached_property
    def _model(self) -> Any:
        return self.load()

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.higher_is_better else -1

    def improvement(self, before: float | None, after: float | None) -> float | None:
        """By how much the second value is better; None where undefined."""
        if before is None or after is None or math.isnan(after - before):
            return None
        return self.sign * (after - before)


@dataclass(frozen=True)
class Column:
    """A column of the report.

    Attributes:
      figure: the figure.
      which: the picture measured: `degraded` (without a reference: the enlarged input) or
        `enhanced`; or `gain`. Empty: the restored image, without a reference.
    """

    figure: Figure
    which: str

    @property
    def name(self) -> str:
        """Its name in the report."""
        return f"{self.figure.name}_{self.which}" if self.which else self.figure.name

    @property
    def title(self) -> str:
        """Its title; the same for degraded and restored image."""
        return f"{self.figure.title} gain" if self.which == "gain" else self.figure.title

    @property
    def heading(self) -> str:
        """Title and unit."""
        return f"{self.title}, {self.figure.unit}" if self.figure.unit else self.title

    @property
    def meaning(self) -> str:
        """Its line in docs/report.md."""
        name = self.figure.name
        if self.which == "gain":
            return f"By how much {name}_enhanced is better than {name}_degraded; null if undefined."
        if self.figure.needs_reference:
            of = {"degraded": "Degraded against original", "enhanced": "Restored against original"}
        else:
            of = {"degraded": "Restore mode, enlarged input", "enhanced": "Restore mode, result"}
        return f"{of.get(self.which, 'Restore mode')}: {self.figure.meaning}."

    @property
    def guide(self) -> str:
        """How to read its values, in words."""
        if self.which == "gain":
            return "how much better the restored image is than the degraded one; good: above 0."
        return self.figure.guide

    def format(self, value: float | None, further: int = 0) -> str:
        """A value as text, with some further digits for a mean; a dash for None."""
        sign = "+" if self.which == "gain" else ""
        return "-" if value is None else f"{value:{sign}.{self.figure.digits + further}f}"

    def with_unit(self, value: float | None, further: int = 0) -> str:
        """The same with its unit."""
        return f"{self.format(value, further)} {self.figure.unit}".rstrip()


def _consistency(result: Result) -> float | None:
    model = result.model
    if min(result.source.shape[:2]) < model.scale:
        return None
    return model.protocol.consistency(result.restored, result.source, model.scale, model.kernel)


# Their modules are imported at their first call: Numba takes a quarter of a second and 20 MB, which
# runs without these figures need not spend.


def _niqe(result: Result, model: Any) -> float | None:
    from srcnn.niqe import niqe

    return niqe(result.restored, model)


def _pristine_model() -> Any:
    from srcnn.niqe import load_pristine

    return load_pristine(DIRECTORY / "niqe.npz")


def _noise(result: Result) -> float | None:
    from srcnn.defects import noise_of

    return noise_of(result.source)


def _blockiness(result: Result) -> float | None:
    from srcnn.defects import blockiness_of

    return blockiness_of(result.source)


# The first figure with a reference, and the first one without, rank images: higher must be better.
FIGURES: dict[str, Figure] = {
    figure.name: figure
    for figure in (
        Figure(
            "psnr", "PSNR", "PSNR, dB; `opencv`: all channels, `matlab`: luma",
            lambda pair: metrics.psnr_of_mse(pair.mse), unit="dB", digits=2, has_gain=True,
            guide="the restored image against the original, pixel by pixel; good: 30 dB and more; "
            "from 40 dB differences are hardly visible.",
        ),
        Figure(
            "mse", "MSE", "squared error summed over channels, mean over pixels, 8-bit codes "
            "squared (`matlab`: luma)",
            lambda pair: pair.mse * pair.truth[0, 0].size, digits=2, higher_is_better=False,
            shown=("means", "captions"),
        ),
        Figure(
            "mse_sample", "MSE of samples", "squared error, mean over pixels and channels",
            lambda pair: pair.mse, higher_is_better=False, shown=(),
        ),
        Figure(
            "ssim", "SSIM", "mean SSIM; `opencv`: scikit-image's default (7 x 7 uniform) over "
            "channels, `matlab`: Gaussian 11 x 11 on luma; null below one window",
            lambda pair: pair.ssim, has_gain=True,
            guide="structure of the restored image against the original's; good: near 1, where "
            "they are identical.",
        ),
        Figure(
            "psnr_y", "luma PSNR", "PSNR of luma, dB (`opencv`: full-range, `matlab`: studio-range "
            "luma)",
            lambda pair: metrics.psnr_of_mse(pair.mse), unit="dB", digits=2, of_luma=True,
            shown=("means",),
        ),
        Figure(
            "ssim_y", "luma SSIM", "SSIM of luma, window as for ssim",
            lambda pair: pair.ssim, of_luma=True, shown=("means",),
        ),
        Figure(
            "consistency_psnr", "consistency", "PSNR of the output degraded again, against the "
            "input, dB",
            _consistency, needs_reference=False, unit="dB", digits=2,
            guide="PSNR of the result, degraded again, against the input; good: 40 dB and more. "
            "Lower: the picture was changed, not sharpened, as removing noise or JPEG blocks does.",
        ),
        Figure(
            "niqe", "NIQE", "NIQE, distance from undistorted photographs; null below two blocks of "
            "96 x 96 pixels",
            _niqe, needs_reference=False, of_both=True, digits=2, higher_is_better=False,
            load=_pristine_model,
            guide="distance of the result from the statistics of undistorted photographs; lower is "
            "better. Compare means over many photographs, not single images or drawings.",
        ),
        Figure(
            "noise_estimate", "noise of the input", "standard deviation of the input's noise, "
            "estimated, 8-bit codes",
            _noise, needs_reference=False, unit="codes", digits=1,
            higher_is_better=False, shown=("means", "pages"),
            guide="standard deviation of the noise in the input; below 1 code: clean.",
        ),
        Figure(
            "blockiness", "blocks of the input", "by how much larger the input's steps are on a "
            "grid of 8 x 8 pixels than beside it",
            _blockiness, needs_reference=False, digits=2,
            higher_is_better=False, shown=("means", "pages"),
            guide="JPEG blocks in the input; about 0 without, 0.1 to 0.6 at JPEG "
            "quality 50.",
        ),
    )
}  # fmt: skip


def figures_of(mode: str) -> list[Figure]:
    """The figures that a mode, `evaluate` or `restore`, measures."""
    return [f for f in FIGURES.values() if f.needs_reference == (mode == "evaluate")]


def columns() -> list[Column]:
    """All columns of figures in the report's order."""
    found = [column for figure in FIGURES.values() for column in figure.columns]
    headline = [c for c in found if c.figure.needs_reference and not c.figure.of_luma]
    headline.sort(key=lambda column: _PICTURES.index(column.which))
    return headline + [column for column in found if column not in headline]


def shown_columns(mode: str, place: str) -> list[Column]:
    """The columns of a mode that appear in a place, see Figure.shown."""
    return [c for c in columns() if c.figure in figures_of(mode) and place in c.figure.shown]


def rank_column(mode: str) -> Column:
    """The column that ranks images: the gain of the mode's first figure, or that figure."""
    return figures_of(mode)[0].columns[-1]


def page_columns(mode: str) -> list[Column]:
    """The columns that a run's page charts and sorts by: ranking and figures of restored images."""
    shown = [c for c in shown_columns(mode, "pages") if c.which in ("enhanced", "")]
    return list(dict.fromkeys([rank_column(mode), *shown]))


def measure_evaluated(measured: Measured) -> Values:
    """The figures of degraded and restored image against the original, by column."""
    images = _pairs(measured.images, measured.ssim_window)
    same = measured.images is measured.lumas
    lumas = images if same else _pairs(measured.lumas, measured.ssim_window)
    values: Values = {}
    for figure in figures_of("evaluate"):
        before, after = map(figure.measure, lumas if figure.of_luma else images)
        both = before, after, figure.improvement(before, after)
        values |= {column.name: v for column, v in zip(figure.columns, both, strict=False)}
    return values


def measure_restored(
    result: Result, interpolated: np.ndarray, without: Collection[str] = ()
) -> Values:
    """The figures of a restored image without a reference, by column.

    Args:
      result: the image.
      interpolated: the enlarged input, of its shape and type.
      without: names of figures that are left out.
    """
    subjects = {"": result, "enhanced": result, "degraded": replace(result, restored=interpolated)}
    return {
        column.name: figure.measure(subjects[column.which])
        for figure in figures_of("restore")
        if figure.name not in without
        for column in figure.columns
    }


def _pairs(images: tuple[np.ndarray, np.ndarray, np.ndarray], window: str) -> list[Pair]:
    truth, *others = images
    return [Pair(truth, image, window) for image in others]
