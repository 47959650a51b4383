"""Quality against speed of the shipped networks and of others' in ONNX, in one run.

    python -m benchmarks.frontier --images 'Set5=Set5/*.bmp' 'Set14=Set14/*.bmp' \\
        --onnx 'peers/*.onnx' --ensemble subpixel-large --plot frontier.png

For each scale, bicubic as `matlab` has it: mean PSNR in dB and SSIM of the luma, `scale` pixels
shaved, and megapixels of output per second of the network alone in OpenVINO, float32, a thread per
core, tiles of 256 x 256 small pixels; networks take turns and the best of five counts.

A network of others takes `rgb`, (1, 3, h, w) float32 in [0, 1], the small picture in 8 bits, and
gives (1, 3, h * scale, w * scale); its file is named *_x<scale>.onnx. Its figures are of the luma
of its output as an 8-bit image.
"""

import glob
import itertools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import openvino
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator
from matplotlib.transforms import Bbox
from tqdm import tqdm

from benchmarks.quality import parser_of
from benchmarks.speed import rate
from srcnn import metrics
from srcnn.architectures import ARCHITECTURES
from srcnn.colour import luma_matlab, quantise_half_even
from srcnn.engines import create_engine
from srcnn.engines.openvino import RequestPool
from srcnn.resample import modcrop, shrink_antialiased
from srcnn.restoration import restoration_of
from srcnn.tiling import DEFAULT_TILE
from srcnn.training.data import read_image
from srcnn.weights import Weights, list_weights, load_weights
from weights import DIRECTORY

_ROUNDS = 5
_SECONDS = 1.5

Restorer = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Contender:
    """A network to compare.

    Attributes:
      name: of its card or file.
      is_ours: whether it is shipped here.
      luma: from an image, (h, w, 3) BGR or (h, w) uint8, cut to multiples of the scale, to the luma
        restored from its small picture, (h, w) uint8.
      run: runs it once and returns the megapixels of its output.
    """

    name: str
    is_ours: bool
    luma: Restorer
    run: Callable[[], float]


def ours(weights: Weights, ensemble: bool = False) -> Contender:
    """A network of this package, or its self-ensemble."""
    card, engine = weights.card, create_engine("openvino", weights, 1, ensemble)
    restoration = restoration_of(card, "keep")
    side = DEFAULT_TILE + 2 * engine.architecture.margin
    batch = np.random.default_rng(0).random((1, side, side, engine.architecture.planes), np.float32)

    def luma(truth: np.ndarray) -> np.ndarray:
        small = restoration.degrade(truth)
        interpolated = restoration.interpolate(small, truth.shape[:2], truth.dtype)
        plane = restoration.network_input(small, interpolated, truth.dtype)
        restored = restoration.restore_luma(engine, plane, truth.dtype)
        return restoration.plain_luma(restored, truth.dtype)

    name = f"{card.name} --ensemble" if ensemble else card.name
    return Contender(name, True, luma, lambda: engine.run(batch)[..., 0].size / 1e6)


def theirs(path: Path, scale: int) -> Contender:
    """A network in ONNX."""
    pool = RequestPool(openvino.Core().read_model(path), 1)
    plane = np.random.default_rng(0).random((1, 3, DEFAULT_TILE, DEFAULT_TILE), np.float32)

    def run() -> float:
        with pool.infer(plane) as result:
            return result[0, 0].size / 1e6

    def luma(truth: np.ndarray) -> np.ndarray:
        colour = cv2.cvtColor(truth, cv2.COLOR_GRAY2BGR) if truth.ndim == 2 else truth
        height, width = truth.shape[:2]
        small = shrink_antialiased(colour, (height // scale, width // scale), "bicubic")
        rgb = small[..., ::-1].transpose(2, 0, 1)[np.newaxis] / np.float32(255)
        with pool.infer(np.ascontiguousarray(rgb)) as result:
            restored = result[0].transpose(1, 2, 0)[..., ::-1]
            image = quantise_half_even(restored * 255, np.dtype(np.uint8))
        # A gray image is its own luma, as in the truth.
        return luma_matlab(image) if truth.ndim == 3 else image[..., 1]

    return Contender(path.stem, False, luma, run)


def contenders(scale: int, files: list[Path], ensembles: list[str]) -> list[Contender]:
    """All networks that enlarge by a scale; those of some architectures also as self-ensembles."""
    shipped = [
        load_weights(path)
        for path, card in list_weights(DIRECTORY).items()
        if (card.scale, card.protocol) == (scale, "matlab")
    ]
    again = [weights for weights in shipped if weights.card.architecture.name in ensembles]
    return [
        *(ours(weights) for weights in shipped),
        *(ours(weights, ensemble=True) for weights in again),
        *(theirs(file, scale) for file in files if re.search(rf"_x{scale}$", file.stem)),
    ]


def quality(contender: Contender, scale: int, images: list[np.ndarray]) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM of the luma over images."""
    figures = []
    for image in images:
        truth = modcrop(image, scale)
        inner = (slice(scale, -scale),) * 2
        pair = luma_matlab(truth)[inner], contender.luma(truth)[inner]
        (similarity,) = metrics.ssim(pair[0], [pair[1]], "gaussian")
        figures.append((metrics.psnr_of_mse(metrics.mse(*pair)), similarity))
    psnr, ssim = np.mean(figures, axis=0)
    return float(psnr), float(ssim)


def speeds(networks: list[Contender]) -> list[float]:
    """Megapixels of output per second of each."""
    best = [0.0] * len(networks)
    for _ in range(_ROUNDS):
        for index, network in enumerate(networks):
            best[index] = max(best[index], rate(network.run, _SECONDS))
    return best


def table(scale: int, names: list[str], rows: list[tuple]) -> list[str]:
    """Markdown of (contender, figures of each set, speed), the fastest first."""
    lines = [
        f"### x{scale} bicubic (matlab)", "",
        " | ".join(["| network", *names, "MP/s |"]), "| --- " * (len(names) + 2) + "|",
    ]  # fmt: skip
    for contender, figures, speed in sorted(rows, key=lambda row: -row[2]):
        cells = [f"{psnr:.2f} / {ssim:.4f}" for psnr, ssim in figures]
        name = f"**{contender.name}**" if contender.is_ours else contender.name
        lines.append(" | ".join([f"| {name}", *cells, f"{speed:.1f} |"]))
    return [*lines, ""]


def draw(results: dict[int, list[tuple]], name: str, path: Path) -> None:
    """PSNR of the first set against megapixels per second, a panel for each scale."""
    figure = Figure(figsize=(6 * len(results), 5), layout="constrained")
    for axes, (scale, rows) in zip(
        np.atleast_1d(figure.subplots(1, len(results))), results.items(), strict=True
    ):
        for is_ours, colour in ((True, "tab:blue"), (False, "tab:gray")):
            own = [row for row in rows if row[0].is_ours == is_ours]
            label = "shipped here" if is_ours else "released by others"
            psnr = [row[1][0][0] for row in own]
            axes.scatter([row[2] for row in own], psnr, color=colour, label=label)
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.set_title(f"x{scale} bicubic")
        axes.set_xlabel("megapixels of output per second, network alone")
        axes.set_ylabel(f"luma PSNR on {name}, dB")
        axes.grid(alpha=0.3)
        axes.legend(loc="lower left")
        axes.margins(0.08)
        figure.draw_without_rendering()  # fixes the scales that labels are placed by
        short = [re.sub(rf"_x{scale}\w*", "", row[0].name) for row in rows]
        _label(axes, [(name, row[2], row[1][0][0]) for name, row in zip(short, rows, strict=True)])
    figure.savefig(path, dpi=110)


def _label(axes: Axes, points: list[tuple[str, float, float]]) -> None:
    """Names points beside, above or below them, where least is covered."""
    taken = [Bbox.from_bounds(*axes.transData.transform(p[1:]) - 5, 10, 10) for p in points]
    for name, *place in points:
        tried = []
        for x, y in itertools.product((1, -1, 0), (0, 1, -1)):
            if (x, y) == (0, 0):
                continue
            text = axes.annotate(
                name, place, fontsize=7, xytext=(6 * x, 6 * y), textcoords="offset points",
                ha=("center", "left", "right")[x], va=("center", "bottom", "top")[y],
            )  # fmt: skip
            box = text.get_window_extent()
            hidden = sum(box.overlaps(other) for other in taken)
            tried.append((hidden + 10 * (box.x0 < axes.bbox.x0 or box.x1 > axes.bbox.x1), text))
        best = min(tried, key=lambda pair: pair[0])[1]
        for _, text in tried:
            if text is not best:
                text.remove()
        taken.append(best.get_window_extent())


def main() -> int:
    """Runs the benchmark and prints Markdown."""
    parser = parser_of(__doc__)
    parser.add_argument("--onnx", nargs="*", default=[], metavar="GLOB", help="others' networks")
    parser.add_argument(
        "--ensemble", nargs="*", default=[], choices=ARCHITECTURES, metavar="ARCHITECTURE",
        help="shipped networks to measure as self-ensembles too",
    )  # fmt: skip
    parser.add_argument("--scale", type=int, nargs="+", default=[2, 3, 4])
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG of PSNR against speed")
    options = parser.parse_args()
    files = sorted({Path(file) for pattern in options.onnx for file in glob.glob(pattern)})
    sets = {name: [read_image(path) for path in paths] for name, paths in options.images}
    results = {}
    for scale in options.scale:
        networks = contenders(scale, files, options.ensemble)
        figures = [
            [quality(network, scale, images) for images in sets.values()]
            for network in tqdm(networks, desc=f"x{scale}", leave=False)
        ]
        results[scale] = list(zip(networks, figures, speeds(networks), strict=True))
        print(*table(scale, list(sets), results[scale]), sep="\n", flush=True)
    if options.plot:
        draw(results, next(iter(sets)), options.plot)
    return 0


if __name__ == "__main__":
    sys.exit(main())
