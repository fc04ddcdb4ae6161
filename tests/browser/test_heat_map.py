"""The heat map: the engine's matrix, in a real browser on real weights."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page, expect

import lit_plugins
from lit_plugins.attribution.explanation import Explanation

from .conftest import OUTPUT, Server, running
from .heat_map import HeatMap
from .salience import COMPUTING, READING, Salience

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

GRADIENT = "Gradient x input"
DELETION = "Leave one segment out"


@cache
def engine(name: str) -> Any:
    return lit_plugins.load(f"hf:packaged:{name}")


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    layouts = tmp_path_factory.mktemp("layouts")
    (layouts / "heat.toml").write_text(
        '[left]\nExamples = ["DataTableModule"]\n[upper]\nSalience = '
        '["signed-sequence-salience-module", "salience-heat-map-module"]\n'
        "[settings]\nleftWidth = 25\n",
        "utf-8",
    )
    with running(
        "heat-map",
        "--models=smollm2=hf:packaged:smollm2-135m-instruct?max_new_tokens=8",
        "--models=sentiment=hf:packaged:sentiment",
        "--datasets=chat",
        "--datasets=movie_reviews",
        f"--layouts_dir={layouts}",
    ) as server:
        yield server


def rows(page: Page):
    return page.locator("lit-data-table tbody tr", has_text=re.compile(r"\w"))


def begin(
    server: Server, page: Page, example: int = 0, model: str = "smollm2", dataset: str = "chat"
) -> HeatMap:
    """The page with an example, whose matrix may be computed."""
    page.set_viewport_size({"width": 1280, "height": 860})
    page.goto(f"{server.url}?models={model}&dataset={dataset}&layout=heat")
    rows(page).nth(example).click(timeout=READING)
    shown = HeatMap(page)
    shown.ready()
    return shown


def keep(page: Page, name: str) -> None:
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / "screenshots" / f"heat-map-{name}.png")


def records(shown: HeatMap) -> list[dict[str, Any]]:
    found = [json.loads(line) for line in shown.download("JSON").read_text("utf-8").splitlines()]
    assert shown.file_name.endswith(".json" if len(found) == 1 else ".jsonl")
    return found


def in_columns(
    explanation: Explanation, scores: Sequence[float], first: int, spans: Sequence[Sequence[int]]
) -> list[float | None]:
    """Scores of the segments before `first`, summed over spans; None where there are none."""
    found: list[float | None] = []
    for start, stop in spans:
        inside = [
            float(score)
            for segment, score in zip(explanation.segments, scores, strict=True)
            if start <= segment.start < stop and segment.start < first
        ]
        found.append(sum(inside) if inside else None)
    return found


def same(page: Sequence[float | None], engine: Sequence[float | None], most: float) -> None:
    assert [one is None for one in page] == [one is None for one in engine]
    for one, other in zip(page, engine, strict=True):
        # In single precision a batch is not quite its texts one by one.
        assert one is None or one == pytest.approx(other, abs=1e-3 * most)


def test_by_tokens(server, page):
    """Asked for by a click alone; the file and the cells say what the engine says."""
    asked: list[dict[str, Any]] = []
    page.on(
        "request",
        lambda request: (
            asked.append(request.post_data_json)
            if request.url.endswith("lit_plugins/explanations")
            else None
        ),
    )
    shown = begin(server, page)
    shown.method(GRADIENT)
    shown.unit("Tokens")
    expect(shown.offer).to_contain_text(re.compile(r"\d+ forward and\s+\d+ backward passes"))
    assert asked == []
    shown.run()
    assert len(asked) == 1
    assert asked[0]["options"] == {"each": True}
    keep(page, "tokens")

    [record] = records(shown)
    made = engine("smollm2-135m-instruct").explain(
        record["inputs"], method="grad_dot_input", each=True, unit=None
    )
    names, columns, scores = shown.table()
    assert len(names) == len(made.targets) == 8
    assert len(columns) == len(made.segments)
    most = float(np.abs(made.scores).max())
    spans = [(segment.start, segment.stop) for segment in made.segments]
    for line, place, expected in zip(scores, made.targets, made.scores, strict=True):
        same(line, in_columns(made, expected, place, spans), most)
    assert scores[0][-1] is None, "what comes later has driven nothing"

    shown.grid.focus()
    for key, (row, column) in {
        "Control+Home": (0, 0),
        "ArrowDown": (1, 0),
        "ArrowRight": (1, 1),
        "End": (1, len(columns) - 1),
        "Control+End": (7, len(columns) - 1),
    }.items():
        page.keyboard.press(key)
        expect(shown.grid.get_by_role("row")).to_have_attribute("aria-rowindex", str(row + 1))
        expect(shown.cell).to_have_attribute("aria-colindex", str(column + 1))
        name, by, said = shown.said()
        assert (name, by) == (names[row], columns[column])
        score = scores[row][column]
        expected = "no score" if score is None else f"{score} nats"
        assert said.replace("−", "-") == expected
    expect(shown.root.get_by_role("tooltip")).to_have_text(
        shown.cell.get_attribute("aria-label") or ""
    )
    keep(page, "keyboard")


def test_by_words(server, page):
    shown = begin(server, page, 5)
    shown.method(GRADIENT)
    shown.unit("Words")
    shown.run()
    keep(page, "words")
    found = records(shown)
    names, columns, scores = shown.table()
    assert len(found) == len(names) > 1
    inputs = found[0]["inputs"]
    model = engine("smollm2-135m-instruct")
    whole = model.explain(inputs, method="leave_one_out", each=True, unit="word")
    words = model.explain(inputs, method="grad_dot_input", each=True, unit="word")
    spans = [(one.start, one.stop) for one in words.segments][: len(columns)]
    for name, line, record in zip(names, scores, found, strict=True):
        places = record["places"]
        span = (places[0], places[-1] + 1)
        made = model.explain(inputs, span=span, method="grad_dot_input", unit=None)
        assert "".join(made.names).replace("▁", " ").strip() == name
        most = float(np.abs(made.scores).max())
        same(line, in_columns(made, made.scores, places[0], spans), most)

    # Other methods score the words themselves.
    shown.method(DELETION)
    expect(shown.grid).to_have_count(0)
    shown.root.get_by_label("A row for each token").check()
    shown.run()
    names, columns, scores = shown.table()
    assert len(names) == len(whole.targets)
    most = float(np.abs(whole.scores).max())
    spans = [(segment.start, segment.stop) for segment in whole.segments]
    assert [one.text.strip() for one in whole.segments if one.text.strip()] == [
        column for column in columns if column.strip("⏎␣")
    ]
    for line, place, expected in zip(scores, whole.targets, whole.scores, strict=True):
        same(line, in_columns(whole, expected, place, spans), most)


def test_row_is_selected_in_the_text(server, page):
    shown = begin(server, page)
    shown.unit("Tokens")
    shown.run()
    names, _, _ = shown.table()
    text = Salience(page)
    shown.root.locator(".matrix-rows span").nth(2).click()
    text.wait()
    explained = [piece["text"] for piece in text.read() if piece["target"]]
    assert explained == [names[2]]
    selected = shown.root.locator(".matrix-rows .on")
    expect(selected).to_have_text(names[2])

    shown.grid.focus()
    page.keyboard.press("Control+Home")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    expect(selected).to_have_text(names[1])
    text.wait()
    assert [piece["text"] for piece in text.read() if piece["target"]] == [names[1]]
    keep(page, "selected")
    page.keyboard.press("Escape")
    expect(selected).to_have_count(0)

    # A part that is selected in the text is so in the matrix.
    text.answer.first.click()
    expect(selected).to_have_text(names[0])


def test_pictures_open(server, page, tmp_path):
    shown = begin(server, page)
    shown.method(GRADIENT)
    shown.unit("Tokens")
    shown.run()
    names, columns, _ = shown.table()
    with Image.open(shown.download("PNG")) as picture:
        picture.load()
        width, height = picture.size
        colours = len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0))
    assert width > 18 * 2 * len(columns), "the whole matrix, not what scrolling leaves of it"
    assert height > 22 * 2 * len(names)
    assert colours > 20
    svg = ElementTree.parse(shown.download("SVG")).getroot()
    [image] = svg.iter("{http://www.w3.org/2000/svg}image")
    assert image.get("preserveAspectRatio") == "none"
    drawn = [text.text for text in svg.iter("{http://www.w3.org/2000/svg}text")]
    assert set(names) <= set(drawn)
    (OUTPUT / "screenshots" / "heat-map.png").write_bytes(Path(shown.download("PNG")).read_bytes())
    page.goto("about:blank")


def test_never_of_another_example(server, page):
    """Nor of another method: what is shown belongs to what is chosen."""
    shown = begin(server, page)
    shown.unit("Tokens")
    shown.method(GRADIENT)
    shown.run()
    first = shown.table()
    rows(page).nth(5).click()
    expect(shown.grid).to_have_count(0)
    shown.ready()
    assert shown.grid.count() == 0
    # Left while it is being computed.
    with page.expect_request(re.compile("lit_plugins/explanations")):
        shown.explain.click()
    rows(page).nth(0).click()
    expect(shown.grid).to_be_visible(timeout=COMPUTING)
    page.wait_for_timeout(1500)
    assert shown.table() == first, "known, and nothing of the other example"
    shown.method("Gradient, L2 norm")
    expect(shown.grid).to_have_count(0)


def test_failure_is_said_and_the_next_one_works(server, page):
    shown = begin(server, page, 2)
    page.route(re.compile("lit_plugins/explanations"), lambda route: route.abort())
    shown.unit("Tokens")
    shown.explain.click()
    expect(shown.error).to_contain_text("The server cannot be reached.")
    page.unroute(re.compile("lit_plugins/explanations"))
    shown.root.get_by_role("button", name="Try again").click()
    expect(shown.grid).to_be_visible(timeout=COMPUTING)


def test_sizes(server, page):
    """Buttons, keys and the wheel; names that would not be legible are at the pointer."""
    shown = begin(server, page)
    shown.unit("Tokens")
    shown.run()
    labels = shown.root.locator(".matrix-columns span")
    expect(labels).not_to_have_count(0)
    wide = shown.root.locator("canvas").bounding_box()
    assert wide is not None
    shown.root.get_by_role("button", name="Fit").click()
    expect(labels).to_have_count(0)
    narrow = shown.root.locator("canvas").bounding_box()
    assert narrow is not None
    assert narrow["width"] < wide["width"]
    shown.root.locator("canvas").hover(position={"x": narrow["width"] / 2, "y": 5})
    expect(shown.root.get_by_role("tooltip")).to_contain_text(" by “")
    shown.grid.focus()
    for _ in range(14):
        page.keyboard.press("+")
    expect(labels).not_to_have_count(0)
    # Numbers are written where there is room for them.
    expect(shown.root.locator(".matrix-numbers span")).not_to_have_count(0)
    page.keyboard.press("0")
    expect(labels).to_have_count(0)
    shown.root.locator("canvas").hover(position={"x": narrow["width"] / 2, "y": 5})
    page.keyboard.down("Control")
    page.mouse.wheel(0, -100)
    page.keyboard.up("Control")
    page.wait_for_timeout(200)
    larger = shown.root.locator("canvas").bounding_box()
    assert larger is not None
    assert larger["width"] > 1.2 * narrow["width"]


def test_labels_of_a_classifier(server, page):
    shown = begin(server, page, 1, "sentiment", "movie_reviews")
    shown.method(GRADIENT)
    shown.unit("Words")
    shown.run()
    keep(page, "labels")
    [record] = records(shown)
    model = engine("sentiment")
    made = model.explain(record["inputs"], method="grad_dot_input", each=True, unit=None)
    names, columns, scores = shown.table()
    assert names == list(made.names) == record["names"]
    words = model.explain(record["inputs"], method="leave_one_out", unit="word")
    spans = [(one.start, one.stop) for one in words.segments]
    assert len(spans) == len(columns)
    most = float(np.abs(made.scores).max())
    for line, expected in zip(scores, made.scores, strict=True):
        same(line, in_columns(made, expected, len(made.tokens), spans), most)
    shown.root.locator(".matrix-rows span").nth(0).click()
    text = Salience(page)
    text.wait()
    expect(text.root.locator(".choices [aria-pressed=true]")).to_contain_text(names[0])
