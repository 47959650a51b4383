"""The shipped weights match their cards and beat published ones."""

from itertools import product
from pathlib import Path

import pytest
from support import golden

from srcnn.weights import list_weights, load_weights
from weights import DIRECTORY

SHIPPED = list_weights(DIRECTORY)

# Weights of the SRCNN authors with the same architecture, or the best, by (architecture, scale).
PUBLISHED = {
    ("srcnn-955", 2): "9-5-5_ImageNet_x2",
    ("srcnn-955", 3): "9-5-5_ImageNet_x3",
    ("srcnn-955", 4): "9-5-5_ImageNet_x4",
    ("srcnn-915", 2): "9-1-5_91_x2",
    ("srcnn-915", 3): "9-1-5_ImageNet_x3",
    ("srcnn-915", 4): "9-1-5_91_x4",
}
# Sub-pixel networks are compared with the best of those.
BEST_PUBLISHED = "9-5-5_ImageNet_x{}"
# Smallest mean gains over the degraded images of Set5, dB over B, G and R. Published weights gain
# nothing at x3 and 0.15 dB at x4.
SMALLEST_GAIN = {
    "srcnn-955": {2: 3.6, 3: 1.5, 4: 1.3},
    "srcnn-915": {2: 3.5, 3: 1.38, 4: 1.3},
    # At x3 of images cut to multiples of 3, on which srcnn-955 gains 1.245 dB.
    "subpixel-small": {2: 3.61, 3: 1.41, 4: 1.4},
    "subpixel-large": {2: 4.15, 3: 1.58, 4: 1.77},
}


def test_srcnn_weights_cover_every_scale_and_kernel():
    degradations = [("bilinear", "opencv"), ("bicubic", "matlab")]
    expected = {
        (architecture, scale, *degradation)
        for architecture, scale, degradation in product(
            ("srcnn-955", "srcnn-915"), (2, 3, 4), degradations
        )
    }
    found = {(c.architecture.name, c.scale, c.kernel, c.protocol) for c in SHIPPED.values()}
    assert expected <= found


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_card_names_recipe_and_data(path):
    card = load_weights(path).card
    degradation = "" if card.degrade else f"_{card.kernel}"
    assert path.name == f"{card.architecture.name}_x{card.scale}{degradation}.weights.h5"
    assert card.architecture.margin == card.architecture.radius  # all layers valid
    assert card.chroma_taps or card.architecture.planes == 3
    for key in ("recipe", "seed", "steps", "data", "terms", "libraries"):
        assert card.training[key] is not None
    assert {name.partition(" ")[0] for name in card.figures} >= {"Set5", "Set14"}


def slow_but_one(path: Path):
    """Marks all but one as slow: together they take a minute."""
    quick = path.name == "srcnn-915_x2_bilinear.weights.h5"
    return pytest.param(path, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(
    "path", [slow_but_one(path) for path in SHIPPED], ids=lambda path: path.name
)
def test_job_reproduces_the_figures_on_the_card(run_job, shared, path):
    card = SHIPPED[path]
    chain = "shrink" if card.scale > 1 else "jpeg=50"
    job = run_job(
        "--input", f"{shared}/data/Set*/*.bmp", "--model", card.name,
        "--scale", card.scale, "--kernel", card.kernel, "--protocol", card.protocol,
        "--border", "shave", "--degrade", chain,
    )  # fmt: skip
    assert job.code == 0, job.err
    rows = job.rows
    assert (rows.weights_sha256 == card.sha256).all()
    losing = list(rows.index[rows.psnr_gain <= 0])  # RESULTS.md names them
    aliased = ("srcnn-915_x3_bilinear", "srcnn-955_x3_bilinear")
    assert losing == (["Set14/barbara.bmp"] if card.name in aliased else [])
    for name, images in (("Set5", 5), ("Set14", 14)):
        part = rows[rows.index.str.startswith(f"{name}/")]
        assert len(part) == images
        figures = ["psnr_y_degraded", "psnr_y_enhanced"]
        figures += ["psnr_degraded", "psnr_enhanced"] if card.protocol == "opencv" else []
        for figure in figures:
            expected = card.figures[name if chain == "shrink" else f"{name} {chain}"][figure]
            assert part[figure].mean() == pytest.approx(expected, abs=0.01)
        if card.degrade:
            assert part.psnr_gain.mean() >= 0.5
        elif card.protocol == "matlab":
            published = golden(shared, "paper_luma_psnr")
            network = PUBLISHED.get(
                (card.architecture.name, card.scale), BEST_PUBLISHED.format(card.scale)
            )
            published = published[network][name]
            assert part.psnr_y_enhanced.mean() >= published["mean_srcnn"]
        elif name == "Set5":
            assert part.psnr_gain.mean() >= SMALLEST_GAIN[card.architecture.name][card.scale]
        if card.name == "srcnn-955_x2_bilinear":
            # The tutorial's published weights, with half as much again to compute.
            assert part.psnr_enhanced.mean() >= {"Set5": 33.70, "Set14": 29.78}[name]
