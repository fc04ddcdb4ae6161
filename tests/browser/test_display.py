"""Explanations as pages, in a browser: light, dark, printed, fast, and nothing runs or is asked."""

from __future__ import annotations

import time

import made
import pytest

from lit_plugins.display import html
from lit_plugins.display.colours import DARK, LIGHT

pytestmark = pytest.mark.browser


@pytest.fixture
def show(browser, tmp_path):
    """Opens a page from a file; what it asks for, logs or runs is an error."""
    seen, opened = [], []

    def open_(text, **context):
        page = browser.new_page(**context)
        opened.append(page)
        page.on("console", lambda message: seen.append(message.text))
        page.on("pageerror", lambda error: seen.append(str(error)))
        page.on("dialog", lambda dialog: (seen.append(dialog.message), dialog.dismiss()))
        file = tmp_path / "page.html"
        file.write_text(text, encoding="utf-8")
        page.on(
            "request", lambda request: request.url != file.as_uri() and seen.append(request.url)
        )
        page.goto(file.as_uri())
        return page

    yield open_
    for page in opened:
        page.close()
    assert seen == []


def rgb(colour):
    return "rgb({}, {}, {})".format(*(int(colour[place : place + 2], 16) for place in (1, 3, 5)))


def style(locator, name):
    return locator.evaluate("(element, name) => getComputedStyle(element)[name]", name)


@pytest.mark.parametrize(("scheme", "theme"), [("light", LIGHT), ("dark", DARK)])
def test_the_strongest_parts_have_the_strongest_colours(show, scheme, theme):
    text = html.page([made.explanation(["good", " bad"], [2.0, -2.0])])
    page = show(text, color_scheme=scheme)
    good, bad = page.locator(".lw-part").all()
    assert style(good, "backgroundColor") == rgb(theme.strongest["for"])
    assert style(bad, "backgroundColor") == rgb(theme.strongest["against"])
    assert style(good, "color") == style(bad, "color") == rgb(theme.ink)
    assert style(page.locator(".lit-why"), "backgroundColor") == rgb(theme.page)


@pytest.mark.parametrize("attribute", ["data-jp-theme-light='{}'", "class='vscode-{}'"])
def test_a_notebooks_theme_counts_more_than_the_systems(show, attribute):
    light, dark = ("true", "false") if "jp" in attribute else ("light", "dark")
    fragment = html.fragment(made.random(["a", " b"]))
    for system in ("light", "dark"):
        for name, theme in ((light, LIGHT), (dark, DARK)):
            body = f"<body {attribute.format(name)}>{fragment}</body>"
            page = show(body, color_scheme=system)
            assert style(page.locator(".lit-why"), "backgroundColor") == rgb(theme.page)


def test_nothing_hostile_runs(show):
    page = show(html.page([made.hostile(), made.hostile()], title=made.HOSTILE))
    assert page.locator("script, img").count() == 0
    assert page.title() == made.HOSTILE
    assert made.HOSTILE in page.locator(".lw-text").first.inner_text()
    show(html.fragment(made.hostile()))


def test_printed_in_light_with_the_card_unfolded(show):
    page = show(html.page([made.random(["a"]), made.random(["b"])]), color_scheme="dark")
    assert page.get_by_text("Convergence").count() == 0
    fact = page.get_by_text("hf:packaged:sentiment").nth(1)
    assert not fact.is_visible()
    page.emulate_media(media="print", color_scheme="dark")
    assert fact.bounding_box()["height"] > 5
    assert style(page.locator(".lit-why").first, "backgroundColor") == rgb(LIGHT.page)
    assert page.pdf(format="A4").startswith(b"%PDF")


def test_letters_of_a_word_that_is_several_parts_stay_joined(show):
    """The line is as wide as that of the same text in one piece."""
    whole = "".join(made.ARABIC)
    widths = []
    for texts in (made.ARABIC, [whole], list(whole)):
        page = show(html.page([made.random(texts)]))
        line = page.locator(".lw-text")
        widths.append(
            line.evaluate(
                "line => { const range = document.createRange(); range.selectNodeContents(line);"
                " return range.getBoundingClientRect().width; }"
            )
        )
        assert line.inner_text() == whole
        assert style(line, "direction") == "rtl"
    assert max(widths) - min(widths) < 1


def test_white_space_is_kept_and_copied(show):
    page = show(html.page([made.random(["One", "  two", "\n", "\n", "    three", "\tfour"])]))
    text = page.locator(".lw-text")
    assert text.evaluate("element => element.textContent") == "One  two\n\n    three\tfour"
    top = page.get_by_text("One", exact=True).first.bounding_box()["y"]
    below = page.locator(".lw-text").get_by_text("three").bounding_box()["y"]
    assert below - top > 40  # two lines


def test_nothing_is_wider_than_a_narrow_page(show):
    explanations = [
        made.random(["x" * 400, " b"], warnings=("w" * 300,), model="m" * 300, names=("n" * 300,)),
        made.random([f" word{place}" for place in range(40)], targets=4),
        made.random(["a", " b"], targets=2),
    ]
    page = show(html.page(explanations), viewport={"width": 360, "height": 700})
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360


def test_ten_thousand_tokens_in_three_seconds(show):
    """Of work, ours and the browser's: a busy machine does not count."""
    explanation = made.random([f" word{place}" for place in range(10_000)])
    begun = time.process_time()
    text = html.page([explanation])
    seconds = time.process_time() - begun
    page = show(text)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.reload()
    assert page.evaluate("document.body.getBoundingClientRect().height") > 10_000
    metrics = session.send("Performance.getMetrics")["metrics"]
    [work] = [one["value"] for one in metrics if one["name"] == "TaskDuration"]
    assert work > 0.02
    assert seconds + work < 3
