"""The pages in a real browser: they work, are quiet, ask nobody, and are accessible."""

import json

import pytest

SIZES = [(1280, 900, "light"), (768, 1000, "dark"), (390, 800, "light"), (1280, 900, "dark")]


@pytest.fixture(params=SIZES, ids=lambda size: f"{size[0]}-{size[2]}")
def page(request, browser, output):
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    page, said, asked = context.new_page(), [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda one: asked.append(one.url))
    latest = sorted((output / "runs").iterdir())[-1]
    page.goto(f"file://{latest}/index.html")
    yield page
    assert said == []
    assert all(url.startswith(("file://", "data:")) for url in asked)
    context.close()


def names(page) -> list[str]:
    cards = page.locator("#gallery button:visible")
    return [card.get_attribute("data-path") for card in cards.all()]


def figures(page, name="PSNR gain") -> list[float]:
    cards = page.locator("#gallery button:visible")
    return [json.loads(card.get_attribute("data-figures"))[name][0] for card in cards.all()]


def test_nothing_is_wider_than_the_screen(page):
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_filters_filter_and_orders_order(page):
    every = names(page)
    assert figures(page) == sorted(figures(page))
    page.select_option("#order", "-1")
    assert figures(page) == sorted(figures(page), reverse=True)
    page.select_option("#figure", "SSIM")
    similar = figures(page, "SSIM")
    assert similar == sorted(similar, reverse=True)
    assert page.locator("#gallery em").first.inner_text() == f"{similar[0]:.4f}"
    page.fill("#from", str(similar[3]))
    page.fill("#to", str(similar[1]))
    assert figures(page, "SSIM") == similar[1:4]
    page.fill("#from", "2")
    assert page.locator("#none").is_visible()
    page.fill("#from", "")
    page.fill("#to", "")
    page.select_option("#figure", "PSNR gain")
    page.select_option("#order", "path")
    assert names(page) == sorted(every)
    page.select_option("#folder", "cats")
    assert names(page) == sorted(name for name in every if name.startswith("cats/"))
    page.select_option("#kind", "best")
    chosen = names(page)
    assert set(chosen) < set(every)
    page.select_option("#folder", "")
    page.select_option("#kind", "")
    assert len(names(page)) == len(every)


def cut(page) -> float:
    return float(page.evaluate("getComputedStyle(compare).getPropertyValue('--cut')").rstrip("%"))


def test_slider_moves_by_mouse_and_by_key(page):
    page.locator("#gallery button").first.click()
    page.wait_for_function("document.querySelector('#compare img.after').complete")
    box = page.locator("#compare").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + box["height"] / 2, steps=4)
    page.mouse.up()
    assert cut(page) == pytest.approx(25, abs=1.5)
    page.focus("#slider")
    before = cut(page)
    for _ in range(10):
        page.keyboard.press("ArrowRight")
    assert cut(page) == pytest.approx(before + 5, abs=0.01)
    page.keyboard.press("End")
    assert cut(page) == 100


def test_viewer_shows_each_image_with_its_figures_and_closes(page):
    cards = names(page)
    page.locator("#gallery button").first.click()
    assert page.locator("#viewer").is_visible()
    assert page.locator("#viewer-name").inner_text() == cards[0]
    assert "PSNR" in page.locator("#words").inner_text()
    shown = page.locator("#compare img.before")
    degraded = shown.get_attribute("src")
    page.check("#left input[value='0']")
    assert shown.get_attribute("src") != degraded
    page.check("#detail")
    assert shown.get_attribute("src").endswith("-detail.png")
    page.wait_for_function("document.querySelector('#compare img.before').naturalWidth > 0")
    assert page.evaluate(
        "compare.clientWidth > document.querySelector('#compare img').naturalWidth"
    )
    page.click("#next")
    assert page.locator("#viewer-name").inner_text() == cards[1]
    page.click("#previous")
    page.click("#previous")
    assert page.locator("#viewer-name").inner_text() == cards[-1]
    page.keyboard.press("Escape")
    assert not page.locator("#viewer").is_visible()


def test_keyboard_alone_opens_an_image(page):
    page.focus("#gallery button")
    page.keyboard.press("Enter")
    assert page.locator("#viewer").is_visible()
    page.click("#close")
    assert page.evaluate("document.activeElement.dataset.path") == names(page)[0]


def test_axe_reports_no_serious_violation(page, output):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()

    def findings():
        found = axe.run(page).response["violations"]
        return [(one["id"], one["nodes"][0]["html"]) for one in found
                if one["impact"] in ("serious", "critical")]  # fmt: skip

    assert findings() == []
    page.locator("#gallery button").first.click()
    assert findings() == []
    page.goto(f"file://{output}/index.html")
    assert findings() == []


def test_file_names_are_escaped(page):
    assert "<img src=x onerror=alert(1)>.png" in page.locator("main").inner_text()


def test_history_page_links_to_runs_and_back(page):
    page.click("text=all runs")
    assert page.locator("tbody tr").count() == 2
    page.locator("tbody a").first.click()
    assert page.locator("h1").inner_text().startswith("Run of ")
    assert page.locator("#run-id").inner_text() in page.url
