"""Text that looks like HTML is text, wherever we draw it."""

from __future__ import annotations

from collections.abc import Iterator

import encoders
import pytest
import tiny
from lit_nlp import notebook as lit_notebook
from lit_nlp.api import layout as lit_layout
from playwright.sync_api import Page, expect

from lit_plugins import notebook
from lit_plugins.errors import LitPluginsError

from .conftest import OUTPUT
from .salience import Salience, rows

pytestmark = pytest.mark.browser

ATTACK = "<img src=x onerror=\"window.hit='{}'\"><script>window.hit='{}'</script><b>bold</b>"
PROMPT = "the cat " + ATTACK.format("prompt", "prompt")
TARGET = " sat " + ATTACK.format("target", "target")
LABEL = "<img src=x onerror=\"window.hit='label'\">"
OURS = lit_layout.LitCanonicalLayout(
    left={"Examples": ["data-table-module"]},
    upper={
        "Salience": ["signed-sequence-salience-module"],
        "Heat": ["salience-heat-map-module"],
        "Compare": ["salience-compare-module"],
        "Methods": ["salience-map-module"],
    },
)


@pytest.fixture(scope="module")
def widget() -> Iterator[notebook.LitWidget]:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    language_model = tiny.hf_model("llama", max_new_tokens=4)
    classifier = encoders.classifier(labels=(LABEL, "<script>window.hit='two'</script>"))
    data = {
        "prompts": [{"prompt": PROMPT, "target": TARGET}, {"prompt": "the dog", "target": " ate"}],
        "texts": [{"text": PROMPT}],
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lit_notebook.display, "display", lambda shown: None)
        made = notebook.widget(
            {"lm": language_model, "classifier": classifier}, data,
            layouts={"ours": OURS}, layout="ours",
        )  # fmt: skip
        yield made
        made.stop()


def clean(page: Page, element: str) -> None:
    """Nothing of the attack has become part of the page."""
    assert page.evaluate("window.hit") is None
    module = page.locator(element)
    assert module.locator("img, script").count() == 0
    assert module.locator("b", has_text="bold").count() == 0


@pytest.mark.parametrize(("model", "dataset"), [("lm", "prompts"), ("classifier", "texts")])
def test_prompts_targets_and_labels(widget, page, model, dataset):
    page.goto(f"{widget.url}?models={model}&dataset={dataset}&layout=ours")
    rows(page).first.click()
    salience = Salience(page)
    if model == "lm":
        salience.ready()
        salience.menu("Explained text").click()
        clean(page, salience.element)
        salience.root.get_by_role("group", name="In the data").get_by_role("menuitemradio").click()
        salience.ready()
        salience.answer.last.click()
        salience.answer.first.click(modifiers=["Shift"])
    else:
        choice = salience.root.locator(".choices button").first
        expect(choice).to_contain_text("<")
        choice.click()
    salience.wait()
    assert "<script>" in salience.root.locator(".text").inner_text()
    salience.pieces.first.hover()
    salience.root.locator(".card summary").click()
    clean(page, salience.element)
    page.screenshot(path=OUTPUT / "screenshots" / f"markup-{model}.png")

    page.locator(".tab", has_text="Heat").click()
    heat = page.locator("salience-heat-map-module")
    heat.get_by_role("button", name="Explain", exact=True).click()
    expect(heat.locator(".legend")).to_be_visible()
    clean(page, "salience-heat-map-module")

    page.locator(".tab", has_text="Compare").click()
    compare = page.locator("salience-compare-module")
    expect(compare).to_contain_text("onerror")
    clean(page, "salience-compare-module")

    page.locator(".tab", has_text="Methods").click()
    maps = page.locator("salience-map-module")
    expect(maps.locator(".card").first).to_be_visible()
    clean(page, "salience-map-module")


def test_an_error_that_holds_markup(widget, page):
    page.goto(f"{widget.url}?models=lm&dataset=prompts&layout=ours")
    rows(page).nth(1).click()
    salience = Salience(page)
    salience.ready()
    salience.root.get_by_text("Options").click()
    salience.unit(".*")
    pattern = salience.root.get_by_label("Regular expression")
    pattern.fill(f"({LABEL}")
    pattern.press("Enter")
    expect(salience.error).to_contain_text("onerror")
    clean(page, salience.element)


@pytest.mark.parametrize("kind", ["models", "datasets"])
def test_names_with_markup_are_refused(kind):
    """LIT itself draws names of models and data sets as HTML."""
    given = {"models": {"lm": tiny.hf_model("llama", max_new_tokens=4)}, "datasets": {"d": ["the"]}}
    given[kind] = {LABEL: next(iter(given[kind].values()))}
    with pytest.raises(LitPluginsError, match="onerror"):
        notebook.widget(**given)
