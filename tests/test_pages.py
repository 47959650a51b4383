"""The pages: correct figures, escaped names, bounded size."""

import html
import json
import re
from datetime import UTC, datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from conftest import Outcome, files_below, run_in_process, write_images
from PIL import Image

from pipeline import pages
from pipeline.reporting.report import RowJournal, compact_journal
from pipeline.reporting.summary import SummaryFn
from storage.store import OutputStore
from transforms.records import ReportRow

ODD = "<script>alert('1')</script>&\"quoted\".png".replace("/", "∕")


class Page(HTMLParser):
    """A page's elements, text and references."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: list[tuple[str, dict]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def targets(self) -> set[str]:
        named = (a.get("href") or a.get("src") for _, a in self.elements)
        return {target for target in named if target}


def page_of(job, path="index.html") -> Page:
    return Page((job.run / path).read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory, photo):
    folder = tmp_path_factory.mktemp("pages")
    names = [f"{'ab'[i % 2]}/{i:02}.png" for i in range(9)] + [f"a/{ODD}"]
    write_images(folder, {name: photo[i * 9 : i * 9 + 60, :80] for i, name in enumerate(names)})
    (folder / "b/broken.png").write_text("")
    return folder


def run_with_pages(folder, weights, output, mode) -> Outcome:
    return run_in_process(
        "--input", f"{folder}/**/*.png", "--mode", mode, "--comparisons", 6,
        "--weights", weights, output=output,
    )  # fmt: skip


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory, folder, tiny_weights) -> Outcome:
    """A run whose pages many tests read."""
    return run_with_pages(folder, tiny_weights, tmp_path_factory.mktemp("out"), "evaluate")


@pytest.mark.parametrize("mode", ["evaluate", "restore"])
def test_run_page_shows_the_figures_of_the_run(evaluated, folder, tmp_path, tiny_weights, mode):
    job = evaluated
    if mode == "restore":
        job = run_with_pages(folder, tiny_weights, tmp_path / "out", mode)
    page = page_of(job)
    assert "11 matched = 10 written + 0 skipped + 1 failed" in page.text
    assert f"{folder}/b/broken.png" in page.text
    assert "the file is empty" in page.text
    figure = "consistency_psnr" if mode == "restore" else "psnr_gain"
    ranked = "consistency" if mode == "restore" else "PSNR gain"
    assert f"{job.rows[figure].mean():+.3f}" in page.text or (
        f"{job.rows[figure].mean():.2f}" in page.text
    )
    cards = page.all("button")
    cards = [card for card in cards if "data-path" in card]
    assert len(cards) == 6
    for card in cards:
        row = job.rows.loc[card["data-path"]]
        shown = json.loads(card["data-figures"])
        assert shown[ranked][0] == row[figure]
        assert shown["size"][0] == row.width * row.height / 1e6
        views, details = json.loads(card["data-views"]), json.loads(card["data-details"])
        assert len(views) == len(details) == len(json.loads(card["data-captions"]))
        assert len(views) == (2 if mode == "restore" else 3)
        sizes = {Image.open(job.run / name).size for name in views}
        assert sizes == {(row.output_width, row.output_height)}
        side = min(48, row.output_width, row.output_height)
        assert {Image.open(job.run / name).size for name in details} == {(side, side)}
    kinds = [card["data-kind"] for card in cards]
    assert {"worst", "best", "middle"} <= set(kinds)
    worst = min(cards, key=lambda card: json.loads(card["data-figures"])[ranked][0])
    assert worst["data-path"] == job.rows[figure].idxmin()


def test_details_show_unscaled_pixels(evaluated, folder):
    job = evaluated
    for card in (card for card in page_of(job).all("button") if "data-path" in card):
        original, _, restored = (
            np.asarray(Image.open(job.run / name)) for name in json.loads(card["data-details"])
        )
        for detail, place in ((original, folder), (restored, job.output / "images")):
            whole = np.asarray(Image.open(place / card["data-path"]))
            side = detail.shape[0]
            windows = np.lib.stride_tricks.sliding_window_view(whole, detail.shape)
            assert (windows[:, :, 0] == detail).all(axis=(2, 3, 4)).any(), side


def test_names_are_escaped_in_html(run_job, folder):
    job = run_job("--input", f"{folder}/a/*.png", "--comparisons", 12)
    text = (job.run / "index.html").read_text()
    assert "<script>alert" not in text
    assert html.escape(ODD, quote=False).partition("'")[0] in text
    page = page_of(job)
    assert ODD in {card.get("data-path") for card in page.all("button")}
    assert len(page.all("script")) == 1


def test_pages_load_only_local_files(evaluated):
    job = evaluated
    for directory, path in ((job.run, "index.html"), (job.output, "index.html")):
        page = Page((directory / path).read_text())
        for target in page.targets:
            assert "//" not in target
            assert target == "data:," or (directory / target).exists(), target
        assert not re.search(r"@import|url\(", (directory / path).read_text())


def test_run_without_pictures_or_figures_has_a_page(run_job, folder):
    job = run_job("--input", f"{folder}/b/broken.png", "--comparisons", "none")
    page = page_of(job)
    assert "1 matched = 0 written + 0 skipped + 1 failed" in page.text
    assert "Gallery" not in page.text


@pytest.mark.parametrize("mode", ["evaluate", "restore"])
def test_infinite_figures_are_shown_in_the_gallery(run_job, tmp_path, mode):
    flat = np.full((40, 40, 3), 128, np.uint8)
    write_images(tmp_path / "in", {"flat.png": flat, "black.png": flat * 0})
    job = run_job("--input", f"{tmp_path}/in/*.png", "--mode", mode, "--comparisons", 3)
    assert job.code == 0, job.err
    assert "flat.png" in page_of(job).text


def test_output_page_lists_its_runs(run_job, folder):
    job = run_job("--input", f"{folder}/a/00.png", "--run_id", "one")
    run_job("--input", f"{folder}/a/0*.png", "--run_id", "two")
    page = Page((job.output / "index.html").read_text())
    assert {"runs/one/index.html", "runs/two/index.html"} <= page.targets
    rows = [row.split() for row in page.text.splitlines() if row.strip()]
    assert ["two"] in rows
    (job.output / "runs/one/index.html").unlink()
    (job.output / "index.html").unlink()
    assert pages.main([str(job.output), "two"]) == 0
    page = Page((job.output / "index.html").read_text())
    assert "runs/two/index.html" in page.targets
    assert "runs/one/index.html" not in page.targets


def test_command_regenerates_the_same_pages(evaluated, capfd):
    job = evaluated
    before = (job.run / "index.html").read_bytes()
    (job.run / "index.html").unlink()
    capfd.readouterr()
    assert pages.main([str(job.output)]) == 0
    assert capfd.readouterr().out.strip() == str(job.run / "index.html")
    assert (job.run / "index.html").read_bytes() == before
    assert ".scratch" not in files_below(job.output)
    assert pages.main([str(job.output), "nothing"]) == 2
    assert "does not exist in" in capfd.readouterr().err


def test_page_size_does_not_grow_with_the_rows(tmp_path):
    sizes = []
    for number in (2_000, 10_000):
        store = OutputStore(str(tmp_path / str(number)), "run")
        journal, fn = RowJournal(store), SummaryFn()
        totals = fn.create_accumulator()
        generator = np.random.default_rng(0)
        for index, gain in enumerate(generator.normal(1.0, 0.7, number)):
            row = ReportRow(
                run_id="run", source_uri=f"in/{index}", status="written",
                relative_path=f"folder-{index % 999}/{index}.png", width=99, height=99 + index % 7,
                output_width=99, output_height=99, finished_at=datetime.now(UTC), mode="evaluate",
                figures={"psnr_gain": float(gain), "psnr_enhanced": 30.0, "ssim_enhanced": 0.9},
            )  # fmt: skip
            journal.add(row)
            totals = fn.add_input(totals, row)
        journal.write()
        assert compact_journal(store, "run") == number
        summary = fn.extract_output(totals) | {
            "run_id": "run", "configuration": dict.fromkeys(("mode", "scale", "kernel", "protocol",
            "border"), "evaluate"), "model": {"name": "m", "engine": "e"}, "fingerprint": "f",
            "versions": {}, "started_at": "2026-01-01T00:00:00", "wall_seconds": 1.0,
            "megapixels_per_second": 1.0,
        }  # fmt: skip
        pages.write_run_page(store, "run", summary)
        sizes.append(store.size("runs/run/index.html"))
    assert sizes[1] < 1.1 * sizes[0] < 1_000_000
