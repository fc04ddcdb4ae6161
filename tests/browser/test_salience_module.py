"""Our salience module in LIT's page: what a click computes, shows and never shows."""

from __future__ import annotations

import contextlib
import csv
import json
import random
import threading
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
from lit_nlp import notebook as lit_notebook
from lit_nlp.api import layout as lit_layout
from playwright.sync_api import Page, expect

import lit_plugins
from lit_plugins import notebook
from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.explanation import Explanation
from lit_plugins.attribution.methods import METHODS
from lit_plugins.components import language_models
from lit_plugins.display.colours import LEVELS, LIGHT, Scale

from .conftest import OUTPUT
from .salience import COMPUTING, READ, Salience, rows

pytestmark = pytest.mark.browser

PROMPTS = [
    "the cat sat on the mat.", "the dog ate the onion soup.", "What is the capital of France?",
    "Taste-likes: coffee.", "no. the mat sat on the dog.", "Paris is the capital of the cat.",
    "onion soup. onion soup.", "the coffee ate the dog.",
]  # fmt: skip
ANSWERS = ["the dog sat.", "no, the mat.", "Paris.", "the onion soup ate.", "cat.", "the the.",
           "France ate soup.", "coffee. coffee."]  # fmt: skip
EXAMPLES = [
    {"prompt": prompt, "target": f" {answer}"}
    for prompt, answer in zip(PROMPTS, ANSWERS, strict=True)
]


class Counted:
    """A model that counts its passes, and may be slowed down."""

    def __init__(self, model):
        self.model = model
        self.forward = 0
        self.delay = lambda: 0.0
        self._lock = threading.Lock()
        self._hook = model.model.register_forward_pre_hook(self._forward)

    def _forward(self, *_):
        time.sleep(self.delay())
        with self._lock:
            self.forward += 1

    def close(self):
        self._hook.remove()


@contextlib.contextmanager
def served(models, data, **arguments) -> Iterator[notebook.LitWidget]:
    """A page in this process, so that tests can look into its models."""
    page = notebook.widget(models, data, **arguments)
    try:
        yield page
    finally:
        page.stop()


@pytest.fixture(scope="module", autouse=True)
def quiet():
    """No output of notebooks; a folder for pictures."""
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lit_notebook.display, "display", lambda shown: None)
        yield


@pytest.fixture(scope="module")
def toy() -> Iterator[Counted]:
    counted = Counted(tiny.hf_model("llama", max_new_tokens=5, tokens_per_pass=40))
    yield counted
    counted.close()


@pytest.fixture(scope="module")
def toys(toy) -> Iterator[notebook.LitWidget]:
    with served({"toy": toy.model}, {"toys": EXAMPLES}) as page:
        yield page


@pytest.fixture(scope="module")
def smollm2():
    return lit_plugins.load("hf:packaged:smollm2-135m-instruct", max_new_tokens=16)


def opened(page: Page, widget: notebook.LitWidget, query: str = "") -> Salience:
    page.goto(f"{widget.url}?{query}")
    expect(rows(page).first).to_be_visible()
    return Salience(page)


def chosen(page: Page, salience: Salience, place: int = 0) -> None:
    rows(page).nth(place).click()
    salience.ready()
    salience.explain_the_datas()
    salience.ready()


def read_csv(path: str) -> list[dict[str, Any]]:
    """The rows of a downloaded table, with numbers as such."""
    with Path(path).open(newline="", encoding="utf-8") as stream:
        table = list(csv.DictReader(stream))
    [column] = [name for name in table[0] if name.startswith("score (")]
    return [
        {
            "start": int(row["start"]),
            "stop": int(row["stop"]),
            "text": row["text"],
            "score": float(row[column]) if row[column] else None,
            "explained": row["explained"] == "true",
        }
        for row in table
    ]


# ------------------------------------------------------------------- what is computed


def test_one_click_runs_one_method_once(toy, toys, page):
    salience = opened(page, toys)
    chosen(page, salience)
    before = toy.forward
    with page.expect_response("**/lit_plugins/explanations") as info:
        salience.answer.first.click()
    salience.wait()
    assert toy.forward == before + 1, "one method, one pass"
    asked = json.loads(info.value.request.post_data)
    assert asked["method"] == "grad_l2"

    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    first = salience.read()
    salience.method("Gradient x input")
    salience.wait()
    assert toy.forward == before + 1, "the gradient of the same pass"
    assert salience.read() != first
    assert sum(url.endswith("/explanations") for url in requests) == 1
    requests.clear()
    salience.method("Gradient, L2 norm")
    salience.wait()
    assert salience.read() == first
    salience.unit("Tokens")
    assert len(salience.read()) > len(first)
    salience.unit("Words")
    assert salience.read() == first
    rows(page).nth(1).click()
    salience.ready()
    rows(page).nth(0).click()
    salience.ready()
    salience.explain_the_datas()
    salience.answer.first.click()
    salience.wait()
    assert salience.read() == first
    assert not any(url.endswith("/explanations") for url in requests), "all of this was seen before"
    assert toy.forward == before + 1


def test_second_span_needs_no_forward_pass(toy, toys, page):
    salience = opened(page, toys)
    chosen(page, salience, 1)
    salience.answer.first.click()
    salience.wait()
    before = toy.forward
    last = salience.answer.last.inner_text()
    salience.answer.last.click()
    expect(salience.root.locator(".heading")).to_contain_text(last.strip())
    salience.wait()
    assert toy.forward == before
    passes = salience.root.locator(".card summary")
    expect(passes).to_contain_text("0 forward and 1 backward passes")


@pytest.mark.parametrize("unit", ["Tokens", "Words", "Sentences", "Lines"])
@pytest.mark.parametrize(
    "title", ["Gradient, L2 norm", "Gradient x input", "Leave one segment out"]
)
def test_scores_are_the_engines(toy, toys, page, title, unit):
    salience = opened(page, toys)
    chosen(page, salience, 3)
    salience.unit(unit)
    salience.answer.last.click()
    salience.method(title)
    salience.wait()
    shown, table = salience.read(), read_csv(salience.download("CSV"))
    assert [one["score"] for one in shown] == [one["score"] for one in table]
    [target] = [(one["start"], one["stop"]) for one in table if one["explained"]]
    by_segment = title == "Leave one segment out"
    options = {"segment": unit.lower().removesuffix("s")} if by_segment else {}
    made = Explainer(toy.model).explain(
        *EXAMPLES[3].values(), target, method=_name(title), **options
    )
    per_token = made.per_token()
    scored = [one for one in table if one["score"] is not None]
    assert scored
    total = sum(one["score"] for one in scored)
    assert total == pytest.approx(float(made.scores.sum()), rel=1e-5), "nothing is left out"
    for one in scored:
        expected = per_token[one["start"] : one["stop"]].sum()
        assert one["score"] == pytest.approx(float(expected), rel=1e-5, abs=1e-9)
    # Colours are the ones of the same scale as on paper.
    sources = [one for one in shown if one["score"] is not None and not one["target"]]
    scale = Scale.of(np.array([one["score"] for one in sources]), title != "Gradient, L2 norm")
    for one in sources:
        wanted = Scale(1.0, scale.signed).colour(scale.level(one["score"]) / LEVELS, LIGHT)
        assert _rgb(one["colour"]) == wanted, one


def _name(title: str) -> str:
    [name] = [one.name for one in METHODS.values() if one.title == title]
    return name


def _rgb(colour: str) -> str:
    numbers = [int(one) for one in colour[4:-1].split(",")]
    return "#" + "".join(f"{one:02x}" for one in numbers)


# ------------------------------------------------------------------- what is never shown

_DELAYS = """
const plain = window.fetch.bind(window);
const pause = () => new Promise(resolve => setTimeout(resolve, 300 * Math.random()));
window.fetch = async (...request) => {
  await pause();
  const response = await plain(...request);
  await pause();
  return response;
};
"""
_SEEN = """module => ({
  prompt: module.selectionService.primarySelectedInputData?.data.prompt,
  text: module.shadowRoot.querySelector('.text')?.textContent ?? '',
})"""


def test_no_scores_of_another_example_after_two_hundred_switches(toy, toys, page):
    """With slow models and slow requests, which overtake each other."""
    random.seed(20)
    page.add_init_script(_DELAYS)
    salience = opened(page, toys)
    rows(page).first.click()
    salience.ready()
    truths: dict[tuple, float] = {}
    answers = {one["prompt"]: toy.model.generate([one["prompt"]])[0].response for one in EXAMPLES}
    toy.delay = lambda: random.uniform(0, 0.15)
    shown_scores = 0

    def check() -> int:
        # Both in one call: nothing can change in between.
        seen = salience.root.evaluate(f"module => [({_SEEN})(module), ({READ})(module)]")
        state, parts = seen
        if not parts:
            return 0
        assert state["prompt"] in state["text"], "the text of another example"
        scores = [one["score"] for one in parts if one["score"] is not None]
        if not scores:
            return 0
        [target] = [(one["start"], one["stop"]) for one in parts if one["target"]]
        key = (state["prompt"], target)
        if key not in truths:
            delay, toy.delay = toy.delay, lambda: 0.0
            made = Explainer(toy.model).explain(
                state["prompt"], answers[state["prompt"]], target, method="grad_l2"
            )
            truths[key] = float(made.scores.sum())
            toy.delay = delay
        assert sum(scores) == pytest.approx(truths[key], rel=1e-4), "scores of another question"
        return 1

    try:
        for _ in range(200):
            rows(page).nth(random.randrange(len(EXAMPLES))).click()
            for _ in range(random.randrange(4)):
                shown_scores += check()
                if random.random() < 0.6:
                    page.wait_for_timeout(random.randrange(200))
                salience.root.evaluate(
                    "module => module.shadowRoot.querySelector('.piece.can')?.click()"
                )
                shown_scores += check()
    finally:
        toy.delay = lambda: 0.0
    assert shown_scores > 20, "the test has seen something"
    expect(salience.running).to_have_count(0, timeout=COMPUTING)
    check()


def test_a_failure_is_shown_and_the_next_works(toy, toys, page, monkeypatch):
    salience = opened(page, toys)
    chosen(page, salience, 4)
    salience.root.get_by_text("Options").click()
    foil = salience.root.get_by_label("rather than", exact=True)
    foil.fill(EXAMPLES[4]["target"])
    foil.press("Enter")
    salience.answer.first.click()
    salience.answer.last.click(modifiers=["Shift"])
    expect(salience.error).to_contain_text("is the target itself, or one begins the other")
    expect(salience.running).to_have_count(0)
    foil.fill(" soup.")
    foil.press("Enter")  # as the button would
    salience.wait()
    expect(salience.error).to_have_count(0)
    assert any(one["score"] for one in salience.read())
    expect(salience.root.locator(".heading")).to_contain_text(", not soup.?")


def test_an_unreachable_server_is_said(toys, page):
    salience = opened(page, toys)
    chosen(page, salience, 5)
    page.route("**/lit_plugins/explanations", lambda route: route.abort())
    salience.answer.first.click()
    expect(salience.error).to_contain_text("The server cannot be reached")
    page.unroute("**/lit_plugins/explanations")
    salience.root.get_by_role("button", name="Try again").click()
    salience.wait()
    expect(salience.error).to_have_count(0)


def test_cancel_stops_the_computation(toy, toys, page):
    salience = opened(page, toys)
    chosen(page, salience, 6)
    toy.delay = lambda: 0.2
    try:
        salience.answer.first.click()
        salience.method("SmoothGrad")
        expect(salience.root.locator(".state")).to_contain_text("passes")
        salience.root.get_by_role("button", name="Cancel").click()
        expect(salience.root.locator(".state")).to_contain_text("Cancelled")
        page.wait_for_timeout(600)  # the batch that was in work
        stopped = toy.forward
        page.wait_for_timeout(1200)
        assert toy.forward == stopped
    finally:
        toy.delay = lambda: 0.0
    salience.root.get_by_role("button", name="Try again").click()
    salience.wait()


# ------------------------------------------------------------------- what leaves the page


def test_downloads_are_what_is_seen(toy, toys, page, tmp_path):
    salience = opened(page, toys)
    chosen(page, salience, 0)
    salience.answer.first.click()
    salience.method("Gradient x input")
    salience.wait()
    shown = salience.read()
    table = read_csv(salience.download("CSV"))
    assert [one["text"].strip() for one in table] == [one["text"].strip() for one in shown]
    assert [one["score"] for one in table] == [one["score"] for one in shown]
    assert [one["explained"] for one in table] == [one["target"] for one in shown]
    numbers = [one["score"] for one in table]

    made = Explanation.from_json(Path(salience.download("JSON")))
    assert made.method == "grad_dot_input"
    assert sum(filter(None, numbers)) == pytest.approx(float(made.scores.sum()), rel=1e-5)

    tree = ET.parse(salience.download("SVG"))
    words = "".join(one.text or "" for one in tree.iter("{http://www.w3.org/2000/svg}text"))
    plain = "".join("".join(one["text"].split()) for one in shown)
    assert plain in words
    fills = {one.get("fill") for one in tree.iter("{http://www.w3.org/2000/svg}rect")}
    assert {one["colour"] for one in shown if one["score"] and not one["target"]} <= fills

    from matplotlib import image

    picture = image.imread(salience.download("PNG"), format="png")
    assert picture.shape[0] > 50
    assert picture.shape[1] > 300
    colours = {
        tuple(np.round(pixel[:3] * 255).astype(int)) for row in picture[::3] for pixel in row[::3]
    }
    strongest = max((one for one in shown if one["score"] and not one["target"]),
                    key=lambda one: abs(one["score"]))  # fmt: skip
    assert tuple(int(one) for one in strongest["colour"][4:-1].split(",")) in colours


def test_copy_as_text(toys, page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    salience = opened(page, toys)
    chosen(page, salience, 0)
    salience.answer.first.click()
    salience.wait()
    salience.menu("Take along").click()
    salience.root.get_by_role("menuitemradio", name="Copy as text").click()
    expect(salience.root.locator(".said")).to_have_text("Copied.")
    text = page.evaluate("navigator.clipboard.readText()")
    assert EXAMPLES[0]["prompt"] in text
    assert "Gradient, L2 norm" in text
    strongest = max(one["score"] for one in salience.read() if one["score"] is not None)
    assert any(line.startswith(f"{strongest}") for line in text.splitlines())


# ------------------------------------------------------------------- signs, beside stock LIT


@pytest.mark.packaged
def test_negatives_have_a_colour_and_in_stock_lit_they_have_none(smollm2, page, monkeypatch):
    """Both drawn from the same signed scores of the same model."""
    monkeypatch.setattr(language_models, "UNASKED", ("leave_one_out",))
    data = {"advice": [{
        "prompt": "Likes: fish. Dislikes: cream, eggs.\nDish: Grilled fish.\nRecommendation:",
        "target": " You have to try it.",
    }]}  # fmt: skip
    stock_layout = lit_layout.LitCanonicalLayout(
        upper={"Stock": ["sequence-salience-module"]}, left={"Examples": ["data-table-module"]}
    )
    layouts = {"stock": stock_layout}
    with served({"smollm2": smollm2.model}, data, layouts=layouts) as widget:
        salience = opened(page, widget)
        chosen(page, salience)
        salience.unit("Sentences")
        salience.answer.first.click()
        salience.method("Leave one segment out")
        salience.unit("Words")
        salience.wait()
        shown = [one for one in salience.read() if not one["target"] and one["score"]]
        negative = [
            one for one in shown if one["score"] < -0.05 * max(abs(o["score"]) for o in shown)
        ]
        assert negative
        white = {"rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"}
        assert not {one["colour"] for one in negative} & white
        page.screenshot(path=OUTPUT / "screenshots" / "signed-ours.png")

        page.goto(f"{widget.url}?layout=stock")
        stock = page.locator("sequence-salience-module")
        rows(page).first.click()
        option = stock.locator(".interstitial-target-text").first
        option.click(timeout=COMPUTING)
        stock.get_by_role("button", name="leave_one_out").click()
        segments = stock.locator(".salient-token")
        with page.expect_response("**/get_preds?model=_smollm2_salience&**", timeout=COMPUTING):
            segments.last.click()
        with page.expect_response("**/get_preds?model=_smollm2_salience&**", timeout=COMPUTING):
            segments.nth(segments.count() - 5).click(modifiers=["Shift"])
        expect(stock.locator(".module-footer .loading-indicator")).to_have_count(0)
        weights = segments.evaluate_all(
            "all => all.map(one => [getComputedStyle(one).backgroundColor,"
            " Number(one.querySelector('lit-tooltip')?.content ?? 0)])"
        )
        below = [colour for colour, weight in weights if weight < 0]
        assert below
        assert set(below) <= white
        page.screenshot(path=OUTPUT / "screenshots" / "signed-stock.png")
