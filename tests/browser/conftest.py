"""A browser for the tests of the pages: `make browser-test`."""

import os
import shutil
from pathlib import Path

import pytest

playwright = pytest.importorskip(
    "playwright.sync_api", reason="needs Playwright; make browser-test installs it"
)
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium")


@pytest.fixture(scope="session")
def browser():
    if not CHROMIUM:
        pytest.skip("needs Debian's chromium, or its path in CHROMIUM")
    with playwright.sync_playwright() as running:
        # As root, Chromium runs without its sandbox only; the pages are the project's own.
        arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = running.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def output(tmp_path_factory):
    """An OUTPUT with two runs over photographs that scikit-image ships, one of them broken."""
    import cv2
    import skimage

    import run_pipeline

    root = tmp_path_factory.mktemp("pages")
    for name, folder in (("chelsea.png", "cats"), ("coffee.png", "still"), ("astronaut.png", "")):
        picture = cv2.imread(str(Path(skimage.__file__).parent / "data" / name))
        if picture is None:
            continue
        (root / "in" / folder).mkdir(parents=True, exist_ok=True)
        for index in range(3):
            crop = picture[index * 40 : index * 40 + 160, : 200 + 20 * index]
            cv2.imwrite(str(root / "in" / folder / f"{index}-{name}"), crop)
    (root / "in/cats/<img src=x onerror=alert(1)>.png").write_text("")
    for model in ("srcnn-915", "srcnn-955"):
        arguments = ["--input", f"{root}/in/**/*.png", "--output", f"{root}/out"]
        assert run_pipeline.main([*arguments, "--model", model]) == 3
    return root / "out"
