"""The weights in the repository are what their cards say, and are worth shipping."""

import pytest

from srcnn.weights import list_weights, load_weights
from weights import DIRECTORY

SHIPPED = list_weights(DIRECTORY)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_card_names_the_recipe_and_the_data(path):
    card = load_weights(path).card
    assert path.name == f"{card.architecture.name}_x{card.scale}_{card.kernel}.weights.h5"
    assert card.architecture.margin == card.architecture.radius  # all layers valid
    for key in ("recipe", "seed", "steps", "data", "terms", "libraries"):
        assert card.training[key] is not None
    assert {"Set5", "Set14"} <= set(card.figures)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_job_gives_the_figures_on_the_card(run_job, shared, path):
    card = SHIPPED[path]
    job = run_job(
        "--input", f"{shared}/data/Set5/*.bmp", "--model", card.architecture.name,
        "--scale", card.scale, "--kernel", card.kernel, "--protocol", card.protocol,
        "--border", "shave",
    )  # fmt: skip
    assert job.code == 0, job.err
    assert (job.rows.weights_sha256 == card.sha256).all()
    figures = card.figures["Set5"]
    for name in ("psnr_y_degraded", "psnr_y_enhanced"):
        assert job.rows[name].mean() == pytest.approx(figures[name], abs=0.01)
    assert (job.rows.psnr_gain > 0).all()


def test_x2_bilinear_gains_what_was_asked_of_it(run_job, shared):
    job = run_job(
        "--input", f"{shared}/data/Set5/*.bmp", "--model", "srcnn-955", "--border", "shave"
    )
    assert job.summary["means"]["psnr_gain"]["mean"] >= 2.9
