"""What is on LIT's page of a model that reads texts, and its Salience Maps as we draw them."""

from __future__ import annotations

import re
from collections.abc import Callable
from urllib.parse import unquote

from playwright.sync_api import Locator, Page, Response, expect

from .conftest import OUTPUT, Server

# Milliseconds. The first page waits until its model is loaded.
LOADING = 120_000
SALIENCE = 60_000


def rows(page: Page) -> Locator:
    # LIT fills the table up with empty rows.
    return page.locator("data-table-module lit-data-table tbody tr", has_text=re.compile(r"\w"))


def choose(page: Page, text: str) -> None:
    """Select the example with this text, and see the cheap methods' maps of it."""
    row = rows(page).filter(has_text=text).first
    with page.expect_response(of("Gradient x input"), timeout=LOADING):
        row.click()
    expect(shown(page, "Gradient x input")).not_to_have_count(0, timeout=SALIENCE)


def visit(
    server: Server, page: Page, model: str, dataset: str, layout: str, text: str | None = None
) -> None:
    """Open a page as a link gives it, and select the example with this text."""
    page.goto(f"{server.url}?models={model}&dataset={dataset}&layout={layout}")
    expect(rows(page)).not_to_have_count(0, timeout=LOADING)
    if text:
        choose(page, text)


def method(page: Page, title: str) -> Locator:
    return page.locator(f"salience-map-module [id='{title.lower()}']")


def shown(page: Page, title: str) -> Locator:
    """The parts of the text: ours, or LIT's own chips."""
    return method(page, title).locator(".piece, .salient-token")


def of(title: str, path: str = "get_interpretations") -> Callable[[Response], bool]:
    """Whether a response is that of a component, by its title."""

    def matches(response: Response) -> bool:
        url = unquote(response.url)
        return f"/{path}?" in url and f"={title}&" in f"{url}&"

    return matches


def open_method(page: Page, title: str) -> Locator:
    """Expand a method that is not run unasked, and wait for its map."""
    one = method(page, title)
    one.scroll_into_view_if_needed()
    with page.expect_response(of(title), timeout=SALIENCE) as info:
        one.get_by_text("expand_more").last.click()
    assert info.value.ok, info.value.text()
    expect(shown(page, title)).not_to_have_count(0)
    return one


def apply(page: Page, title: str, **options: str) -> Response:
    """Set options in a method's dialog and apply them; in a name, `_` may stand for a space."""
    one = method(page, title)
    one.get_by_text("settings", exact=True).first.click()
    dialog = one.locator("lit-interpreter-controls")
    for name, value in options.items():
        label = re.compile(rf"^\s*\*?{name.replace('_', '[_ ]')}\s*$")
        holder = dialog.locator(
            ".control-holder", has=page.locator(".control-name", has_text=label)
        )
        if holder.locator("select").count():
            holder.locator("select").select_option(label=value)
        else:
            holder.locator("input").fill(value)
    with page.expect_response(of(title), timeout=SALIENCE) as info:
        dialog.get_by_role("button", name="Apply").click()
    page.locator("lit-app-toolbar #title-group").click()  # anywhere else closes it
    one.evaluate("one => one.scrollIntoView()")
    return info.value


def by(page: Page, unit: str) -> None:
    """Choose Tokens or Words, for all maps."""
    page.locator("salience-map-module .unit-bar").first.get_by_text(unit, exact=True).click()


def parts(page: Page, title: str, name: str = "") -> list[tuple[str, float | None]]:
    """Text and score of each part of a map, as the page draws them; of the row of this name."""
    place = method(page, title)
    if name:
        place = place.locator(".row", has=page.get_by_text(name, exact=True))
    found = place.locator(".piece").evaluate_all(
        "all => all.map(one => [one.textContent, one.getAttribute('aria-label')])"
    )
    return [(text, _score(label.removeprefix(f"{text}, "))) for text, label in found]


def _score(said: str) -> float | None:
    number = re.match(r"−?[\d.]+(e[+−-]?\d+)?(?= )", said)
    return float(number[0].replace("−", "-")) if number else None


def strongest(page: Page, title: str) -> tuple[str, float]:
    scored = [(text, score) for text, score in parts(page, title) if score is not None]
    return max(scored, key=lambda part: abs(part[1]))


def about(page: Page, title: str) -> str:
    """What a map says about itself."""
    return (
        method(page, title)
        .locator(".heading, .legend, .card")
        .evaluate_all("all => all.map(one => one.textContent).join(' | ')")
    )


def says(page: Page, title: str, text: str) -> None:
    """Wait until a map says this about itself."""
    expect(
        method(page, title).locator(".heading, .legend, .card").filter(has_text=text).first
    ).to_be_visible()


def colours(page: Page, title: str) -> list[str]:
    return shown(page, title).evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )


def error_bar(page: Page) -> Locator:
    return page.locator("lit-app-statusbar .status-info div.error")


def refused(page: Page, title: str) -> Locator:
    """The line of a request that was refused, in its row."""
    return method(page, title).get_by_role("alert")


def explain_class(page: Page, label: str) -> None:
    selector = page.locator("salience-map-module select").nth(1)
    with page.expect_response(of("Gradient x input"), timeout=SALIENCE):
        selector.select_option(label)


def keep(page: Page, name: str) -> None:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    page.mouse.move(0, 0)  # no tooltip in the picture
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / "screenshots" / f"{name}.png")
