"""The widget in a real JupyterLab."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import expect

from .conftest import OUTPUT
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
