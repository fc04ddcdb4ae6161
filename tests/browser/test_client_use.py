"""Our modules as they are used: on a small screen, with long texts, in other scripts, for long."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
import tiny
from lit_nlp import notebook as lit_notebook
from playwright.sync_api import Locator, Page, expect

from lit_plugins import notebook

from .salience import Salience, rows

pytestmark = pytest.mark.browser

# A laptop's 1280 x 720 pixels, enlarged to 150 %.
SMALL = {"width": 853, "height": 480}
LATIN, HEBREW = "the cat sat on the mat. the dog ate the onion soup.", "שלום עולם, מה שלומך היום?"
EXAMPLES = [
    {"prompt": LATIN, "target": " the dog sat on the mat."},
    {"prompt": HEBREW, "target": " אני בסדר גמור"},
]
# Of each side of a part's frame, whether there is a line.
FRAME = """parts => parts.map(part => ['Left', 'Top', 'Right', 'Bottom'].map(
  side => parseInt(getComputedStyle(part)[`border${side}Width`]) > 0))"""
# How many nodes are taken away one by one while the unit is changed.
REMOVED = """async (module, unit) => {
  const {removeChild} = Node.prototype;
  let count = 0;
  Node.prototype.removeChild = function(child) {
    count++;
    return removeChild.call(this, child);
  };
  module.shadowRoot.querySelector(`input[value=${unit}]`).click();
  await new Promise(done => setTimeout(done, 500));
  Node.prototype.removeChild = removeChild;
  return count;
}"""


@pytest.fixture(scope="module")
def widget() -> Iterator[notebook.LitWidget]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lit_notebook.display, "display", lambda shown: None)
        model = tiny.hf_model("llama", max_new_tokens=5)
        page = notebook.widget({"toy": model}, {"toys": EXAMPLES})
        yield page
        page.stop()


def opened(page: Page, widget: notebook.LitWidget, place: int = 0) -> Salience:
    """The module with the data's own target of an example."""
    page.goto(widget.url)
    rows(page).nth(place).click()
    salience = Salience(page)
    salience.ready()
    salience.explain_the_datas()
    expect(salience.menu("Explained text")).to_have_text(
        re.compile(re.escape(EXAMPLES[place]["target"].strip()))
    )
    return salience


def inside(box: Locator, page: Page) -> None:
    """All of it is in the window."""
    found, size = box.bounding_box(), page.viewport_size
    assert found
    assert size
    assert found["x"] >= 0, found
    assert found["y"] >= 0, found
    assert found["x"] + found["width"] <= size["width"], found
    assert found["y"] + found["height"] <= size["height"], found


def test_a_small_screen_has_room_for_all(page, widget):
    page.set_viewport_size(SMALL)
    salience = opened(page, widget)
    salience.answer.first.click()
    salience.wait()
    for label in ("Explained text", "Method", "Take along"):
        salience.menu(label).click()
        inside(salience.root.get_by_role("menu"), page)
        page.keyboard.press("Escape")
        expect(salience.root.get_by_role("menu")).to_have_count(0)
    for part in (salience.pieces.first, salience.pieces.last, salience.root.locator(".legend")):
        part.scroll_into_view_if_needed()
        inside(part, page)
    # The bars scroll with the text, which has all of the module's height.
    area = salience.root.locator(".module-results-area")
    assert area.evaluate("area => area.scrollHeight <= area.clientHeight")


def test_neighbours_have_one_frame(page, widget):
    salience = opened(page, widget)
    salience.answer.nth(1).click()
    salience.wait()
    salience.answer.nth(3).click(modifiers=["Shift"])
    framed = salience.root.locator(".piece.target")
    expect(framed).to_have_count(3)
    assert framed.evaluate_all(FRAME) == [
        [True, True, False, True], [False, True, False, True], [False, True, True, True],
    ]  # fmt: skip
    gaps = salience.root.locator(".gap")
    assert gaps.evaluate_all(FRAME) == [[False, True, False, True]] * 2


def test_right_to_left(page, widget):
    salience = opened(page, widget, 1)
    expect(salience.root.get_by_role("listbox")).to_have_attribute("dir", "rtl")
    salience.answer.first.click()
    salience.wait()
    salience.answer.nth(1).click(modifiers=["Shift"])
    framed = salience.root.locator(".piece.target")
    expect(framed).to_have_count(2)
    assert framed.evaluate_all(FRAME) == [[True] * 4] * 2
    salience.answer.first.focus()
    page.keyboard.press("ArrowLeft")
    expect(salience.answer.nth(1)).to_be_focused()


def test_a_text_is_removed_at_once(page, widget):
    salience = opened(page, widget)
    salience.unit("Tokens")
    assert salience.pieces.count() > 20
    assert salience.root.evaluate(REMOVED, "word") < 10


def test_the_style_sheet_is_fetched_once(page, widget):
    sheets = []
    page.on("request", lambda one: one.url.endswith("/modules.css") and sheets.append(one.url))
    opened(page, widget)
    assert len(sheets) == 1


def test_what_is_no_number_is_refused_and_the_next_one_works(page, widget):
    salience = opened(page, widget)
    salience.method("Integrated gradients")
    salience.answer.first.click()
    salience.wait()
    salience.root.get_by_role("button", name="Options").click()
    for wrong in ("abc", "1e999", "-3"):
        salience.root.get_by_label("steps", exact=True).fill(wrong)
        page.keyboard.press("Enter")
        expect(salience.error).to_contain_text("steps is")
    salience.root.get_by_label("steps", exact=True).fill("3")
    page.keyboard.press("Enter")
    salience.wait()
    expect(salience.error).to_have_count(0)


def test_switching_leaves_nothing_behind(page, widget):
    salience = opened(page, widget)
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable")

    def left_after(switches: int) -> dict[str, float]:
        for number in range(switches):
            rows(page).nth(number % 2).evaluate("row => row.click()")
        salience.ready()
        expect(salience.running).to_have_count(0)
        session.send("HeapProfiler.collectGarbage")
        metrics = session.send("Performance.getMetrics")["metrics"]
        return {one["name"]: one["value"] for one in metrics}

    before, after = left_after(20), left_after(40)
    assert after["Nodes"] <= before["Nodes"] + 100
    assert after["JSEventListeners"] <= before["JSEventListeners"] + 20


def test_what_was_selected_before_is_compared_with(page, widget):
    opened(page, widget, 1)
    rows(page).nth(0).click()
    page.locator(".tab", has_text="Compare").first.click()
    compare = page.locator("salience-compare-module")
    for side, place in (("A", 1), ("B", 0)):
        start = EXAMPLES[place]["prompt"][:10]
        button = compare.get_by_role("button", name=re.compile(f"^Example {side}: "))
        expect(button).to_contain_text(f"{place} · {start}")
