"""The widget in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from .conftest import OUTPUT
from .debugging import Keyboard, Mouse, debug, explain_both
from .jupyterlab import JupyterLab, lit_frame, run_cell, running_jupyterlab

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

WIDGET = """
from lit_plugins.notebook import widget
w = widget(
    ["sentiment=hf:packaged:sentiment"], {"mine": ["A fine film.", "A bad film."]},
    "classification", height=700,
)
w.render(data=["The film is <b>not</b> bad."])
"""


@pytest.fixture(scope="module")
def lab(tmp_path_factory) -> Iterator[JupyterLab]:
    with running_jupyterlab(tmp_path_factory.mktemp("jupyterlab")) as lab:
        yield lab


def test_the_widget_shows_the_page(lab, page):
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    sockets: list[str] = []
    page.on("websocket", lambda socket: sockets.append(socket.url))
    lab.open(page, "classifier", WIDGET, "w.ui_state.primary['data']['text']", "w.stop()")
    run_cell(page, 0)
    frame = lit_frame(page, 0)
    assert frame.evaluate("customElements.get('signed-sequence-salience-module') != null")
    # The page's state reaches Python.
    rows = frame.locator("lit-data-table tbody tr", has_text="film")
    expect(rows).to_have_count(3)
    chips = frame.locator("salience-map-module .piece")
    expect(chips.first).to_be_visible(timeout=60_000)
    page.screenshot(path=OUTPUT / "screenshots" / "jupyterlab-classifier.png")
    run_cell(page, 1)
    output = page.locator(".jp-CodeCell").nth(1).locator(".jp-OutputArea-output")
    expect(output).to_contain_text("The film is <b>not</b> bad.")
    run_cell(page, 2)
    assert sockets
    assert all(url.startswith("ws://127.0.0.1:") for url in sockets)


DEBUGGING = """
from lit_plugins.notebook import widget
w = widget(["smollm2=hf:packaged:smollm2-135m-instruct?max_new_tokens=16"], {"mine": [
    "Answer with one word. What is the capital of Italy?",
]}, height=700)
w.render()
"""


@pytest.mark.parametrize("kind", [Mouse, Keyboard])
def test_a_prompt_is_debugged_in_the_notebook(lab, page, kind):
    """Look, find, mend, look again, compare: in the output of a cell."""
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    name = kind.__name__.lower()
    lab.open(page, f"debugging-{name}", DEBUGGING, "w.stop()")
    run_cell(page, 0)
    frame = lit_frame(page, 0)
    if kind is Keyboard:
        frame.locator("body").focus()

    def keep(step: str) -> None:
        page.screenshot(path=OUTPUT / "screenshots" / f"jupyterlab-{name}-{step}.png")

    hands = kind(page, frame)
    before, after = debug(hands, lambda prompt: prompt.replace("Italy", "France"), keep)
    assert "Rome" in before
    assert "Paris" in after
    compare = frame.locator("salience-compare-module")
    expect(compare.locator("del").first).to_contain_text("Italy")
    expect(compare.locator("ins").first).to_contain_text("France")
    explain_both(hands)
    keep("compare")
    run_cell(page, 1)
