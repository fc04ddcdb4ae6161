"""The page in Chromium: light, dark, narrow and printed."""

from __future__ import annotations

from pathlib import Path

import chromium
import pytest
from playwright import sync_api

from lit_plugins.report import build_comparison

pytestmark = pytest.mark.browser

NASTY = "<script>alert(1)</script><img src=x onerror=alert(2)>" + "W" * 200
WORDS = ("great", "dull", NASTY, "שלום", "映画", "film")


@pytest.fixture(scope="module")
def path(explained, tmp_path_factory):
    def of(model, shift):
        return [
            explained(
                [("[CLS]", 0.25)]
                + [(f" {WORDS[(n + k) % 6]}", (k - 2.5 + shift) * (1 + n % 3)) for k in range(5)]
                + [(f" {n}.", 0.0)],
                ("GOOD", NASTY)[(n + shift) % 2],
                model=model,
            )
            for n in range(12)
        ]

    made = tmp_path_factory.mktemp("report") / "report.html"
    page = build_comparison(of("old", 0), of(NASTY, 1), NASTY, ["GOOD"] * 12)
    made.write_text(page, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        found = next((one for one in chromium.PATHS if Path(one).exists()), None)
        made = playwright.chromium.launch(executable_path=found, args=list(chromium.FLAGS))
        yield made
        made.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 800, 1400])
def test_page(browser, path, scheme, width):
    context = browser.new_context(
        color_scheme=scheme, viewport={"width": width, "height": 900}, java_script_enabled=True
    )
    page = context.new_page()
    said, asked, dialogs = [], [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    assert said == dialogs == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert sum(url.startswith("file:") for url in asked) == 1
    # Nothing sticks out, however long a word is.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    sizes = page.evaluate("[...document.images].map(one => one.naturalWidth)")
    assert len(sizes) == 4
    assert min(sizes) > 300
    shown = page.evaluate("[...document.images].map(one => one.currentSrc)")
    light = page.evaluate("[...document.images].map(one => one.src)")
    assert [a == b for a, b in zip(shown, light, strict=True)] == [scheme == "light"] * 4
    ink, paper = page.evaluate(
        "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
    )
    assert (brightness(ink) < brightness(paper)) == (scheme == "light")
    context.close()


def test_print(browser, path):
    context = browser.new_context(color_scheme="dark", viewport={"width": 700, "height": 900})
    page = context.new_page()
    page.goto(path.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("document.documentElement.scrollWidth") <= 700
    # On paper dark pictures would waste ink, whatever the screen is.
    assert page.evaluate("[...document.images].every(one => one.currentSrc === one.src)")
    assert brightness(page.evaluate("getComputedStyle(document.body).color")) < 100
    assert not page.locator("nav").is_visible()
    assert len(page.pdf(format="A4")) > 10_000
    context.close()


def brightness(colour):
    """Of `rgb(r, g, b)`, 0 to 255."""
    return sum(int(part) for part in colour[colour.index("(") + 1 : -1].split(",")[:3]) / 3
