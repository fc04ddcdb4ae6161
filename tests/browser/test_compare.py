"""Two prompts, methods or texts side by side, on real weights, against the engine's own numbers."""

from __future__ import annotations

import csv
import difflib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page, expect

import lit_plugins
from lit_plugins.attribution import exchange

from .conftest import OUTPUT, Server, running

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

ROOT = Path(__file__).resolve().parents[2]
SMOLLM2 = "hf:packaged:smollm2-135m-instruct?max_new_tokens=12"
SENTIMENT = "hf:packaged:sentiment"
COMPUTING = 240_000  # milliseconds; the machine may be busy
UNPAIRED = {"changed": "changed", "only in A": "only in A", "only in B": "only in B"}
OLD, NEW = "Leek and egg quiche", "Chocolate cake"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[Server]:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)
    layouts = tmp_path_factory.mktemp("layouts")
    for name, width in (("comparing", 30), ("narrow", 50)):
        (layouts / f"{name}.toml").write_text(
            '[left]\nExamples = ["DataTableModule"]\nEditor = ["SingleDatapointEditorModule"]\n'
            f'[upper]\nCompare = ["SalienceCompareModule"]\n[settings]\nleftWidth = {width}\n',
            "utf-8",
        )
    with running(
        "compare",
        f"--models=smollm2={SMOLLM2}",
        f"--models=sentiment={SENTIMENT}",
        # LIT asks for an answer to every example before it shows one.
        "--datasets=advice=datasets/menu_advice.jsonl?max_examples=1",
        "--datasets=movie_reviews",
        "--load=first_use",
        f"--layouts_dir={layouts}",
    ) as server:
        yield server


def open_page(page: Page, server: Server, models: str, data: str, layout="comparing") -> None:
    page.goto(f"{server.url}?models={models}&dataset={data}&layout={layout}")
    page.locator("lit-data-table tbody tr", has_text=re.compile(r"\w")).first.click()


def edit(page: Page, old: str, new: str) -> str:
    """Add the selected example with another text; returns that text."""
    page.get_by_text("Editor", exact=True).click()
    editor = page.locator("single-datapoint-editor-module")
    area = editor.locator("textarea").first
    expect(area).to_have_value(re.compile(re.escape(old)))
    text = area.input_value().replace(old, new)
    area.fill(text)
    # While the model is loaded, what the page says of it may be above the button.
    editor.get_by_role("button", name="Add", exact=True).click(timeout=COMPUTING)
    return text


def compare(page: Page) -> Locator:
    return page.locator("salience-compare-module")


def explain(page: Page) -> None:
    compare(page).get_by_role("button", name="Explain both").click(timeout=COMPUTING)
    wait_for_difference(page)


def wait_for_difference(page: Page) -> None:
    expect(compare(page).get_by_role("columnheader", name="B − A")).to_be_visible(timeout=COMPUTING)


def choose(page: Page, menu: str, item: str) -> None:
    compare(page).get_by_role("button", name=re.compile(f"^{menu}: ")).click()
    compare(page).get_by_role("menuitemradio", name=item).first.click()


def keep(page: Page, name: str) -> None:
    page.mouse.move(0, 0)
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / "screenshots" / f"{name}.png")


def downloaded(page: Page, kind: str) -> bytes:
    with page.expect_download() as info:
        choose(page, "Take along", kind)
    return Path(info.value.path()).read_bytes()


def table(page: Page) -> list[dict[str, Any]]:
    """The downloaded table; its columns by their first word."""
    rows = csv.reader(io.StringIO(downloaded(page, "CSV").decode("utf-8"), newline=""))
    head, *rows = list(rows)
    assert [name.split(" (")[0] for name in head] == ["place", "kind", "A", "B", "A", "B", "B − A"]
    # A spreadsheet takes no text for a formula.
    rows = [[re.sub(r"^'(?=[=+\-@\t\r])", "", cell) for cell in row] for row in rows]
    names = ["place", "kind", "a", "b", "score_a", "score_b", "difference"]
    return [dict(zip(names, row, strict=True)) for row in rows]


def on_screen(page: Page) -> list[list[dict[str, str]]]:
    """What each column shows: texts and the numbers that are said of them. Unfolds everything."""
    folds = compare(page).locator(".fold button[aria-expanded=false]")
    while folds.count():
        folds.first.click()
    return compare(page).evaluate(
        """module => [0, 1, 2].map(at => [...module.renderRoot.querySelectorAll('.row .cell')]
            .filter(cell => [...cell.parentElement.children].indexOf(cell) === at)
            .flatMap(cell => [...cell.querySelectorAll('[data-said]')].map(part => ({
              text: part.textContent, said: part.dataset.said.replaceAll('−', '-'),
              colour: part.style.backgroundColor,
              mark: part.querySelector('ins, del')?.localName ?? '',
            }))))"""
    )


def check_screen(page: Page, rows: list[dict[str, Any]]) -> None:
    """Each column shows the table's texts, numbers and marks, in its order."""
    first, second, third = on_screen(page)
    for column, side in ((first, "a"), (second, "b")):
        of_side = [
            row
            for row in rows
            if row["kind"] not in {"a": ("only in B",), "b": ("only in A",)}[side]
        ]
        assert len(column) == len(of_side)
        for part, row in zip(column, of_side, strict=True):
            if row[side].strip():
                assert part["text"] == row[side].strip()
            if row[f"score_{side}"]:
                number = f"{side.upper()} {row[f'score_{side}']}"
                assert re.search(rf"(^|, ){re.escape(number)}(,| \(share)", part["said"])
            else:
                assert part["said"] in ("", UNPAIRED.get(row["kind"], ""))
            assert bool(part["mark"]) == (row["kind"] != "equal")
    both = [row for row in rows if row["difference"]]
    shown = [part for part in third if "B - A" in part["said"] and part["mark"] != "del"]
    assert len(shown) == len(both)
    for part, row in zip(shown, both, strict=True):
        assert f"B - A {row['difference']}" in part["said"]
    coloured = {
        part["colour"]: float(row["difference"]) > 0 for part, row in zip(shown, both, strict=True)
    }
    strongest = max(both, key=lambda row: abs(float(row["difference"])))
    assert coloured[shown[both.index(strongest)]["colour"]] == (float(strongest["difference"]) > 0)


def check_engine(rows: list[dict[str, Any]], side: str, record: dict[str, Any]) -> None:
    """The side's scores are those of the engine's segments before the answer."""
    stop = record["targets"][0] if record["targets"] else len(record["tokens"])
    wanted = [
        score
        for segment, score in zip(record["segments"], record["scores"], strict=True)
        if segment["stop"] <= stop
    ]
    found = [float(row[f"score_{side}"]) for row in rows if row[f"score_{side}"]]
    assert found == pytest.approx(wanted, rel=1e-3, abs=1e-5)


def check_marks(answers: list[Locator]) -> None:
    """What is marked in the answers is what words alone make different."""
    texts = [answer.evaluate("element => element.textContent") for answer in answers]
    words = [re.findall(r"\w+|[^\w\s]", text) for text in texts]
    matcher = difflib.SequenceMatcher(None, *words, autojunk=False)
    same = sum(block.size for block in matcher.get_matching_blocks())
    for answer, mark, own in zip(answers, ("del", "ins"), words, strict=True):
        marked = answer.locator(mark).all_inner_texts()
        assert len(re.findall(r"\w+|[^\w\s]", " ".join(marked))) == len(own) - same
        assert answer.locator({"del": "ins", "ins": "del"}[mark]).count() == 0


def test_edited_prompt(server, page):
    open_page(page, server, "smollm2", "advice")
    new = edit(page, OLD, NEW)
    answers = [compare(page).get_by_role("listbox", name=f"Answer {name}") for name in "AB"]
    for answer in answers:
        expect(answer).to_be_visible(timeout=COMPUTING)
    keep(page, "compare-1-answers")
    check_marks(answers)
    expect(compare(page).locator(".aligned")).to_contain_text(NEW)
    assert compare(page).locator(".aligned del").all_inner_texts() == [
        "Leek",
        "and",
        "egg",
        "quiche",
    ]
    assert compare(page).locator(".aligned ins").all_inner_texts() == ["Chocolate", "cake"]

    explain(page)
    keep(page, "compare-2-words")
    rows = table(page)
    check_screen(page, rows)
    explainer = lit_plugins.load(SMOLLM2)
    prompt = json.loads((ROOT / "datasets/menu_advice.jsonl").read_text("utf-8").splitlines()[0])[
        "prompt"
    ]
    assert prompt.replace(OLD, NEW) == new
    for side, text, answer in zip("ab", (prompt, new), answers, strict=True):
        made = exchange.record(explainer.explain(text, method="grad_l2", unit="word"))
        assert (
            answer.evaluate("element => element.textContent").strip()
            == made["inputs"]["target"].strip()
        )
        check_engine(rows, side, made)
    for row in rows:
        if row["kind"] in ("equal", "changed"):
            wanted = float(row["score_b"]) - float(row["score_a"])
            assert float(row["difference"]) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
        else:
            assert row["difference"] == ""

    both = json.loads(downloaded(page, "JSON"))
    assert [both[name]["inputs"]["prompt"] for name in "AB"] == [prompt, new]
    assert downloaded(page, "PNG").startswith(b"\x89PNG")
    picture = downloaded(page, "SVG").decode("utf-8")
    assert picture.startswith("<svg")
    assert ">Chocolate</text>" in picture

    # Other parts: the same tokens' scores, summed otherwise; nothing is asked.
    for unit in ("Lines", "Sentences", "Tokens"):
        compare(page).get_by_role("radiogroup", name="Parts").get_by_text(unit, exact=True).click()
        wait_for_difference(page)
        others = table(page)
        total = sum(float(row["score_a"]) for row in others if row["score_a"])
        assert total == pytest.approx(sum(float(row["score_a"]) for row in rows if row["score_a"]))
        check_screen(page, others)
        keep(page, f"compare-3-{unit.lower()}")

    # Keyboard: Tab leads to one part, arrows to the next ones, with their numbers.
    part = compare(page).locator(".aligned [tabindex='0']")
    expect(part).to_have_count(1)
    part.focus()
    for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp"):
        page.keyboard.press(key)
    focused = compare(page).locator(".aligned :focus")
    expect(focused).to_have_attribute("aria-label", re.compile(r"A .*, B .*, B − A "))
    tip = compare(page).locator(".aligned + .tip")
    expect(tip).to_have_text(focused.get_attribute("data-said") or "")


def test_part_of_an_answer_and_swap(server, page):
    open_page(page, server, "smollm2", "advice")
    edit(page, OLD, NEW)
    answers = [compare(page).get_by_role("listbox", name=f"Answer {name}") for name in "AB"]
    for answer in answers:
        expect(answer).to_be_visible(timeout=COMPUTING)
    texts = [answer.inner_text() for answer in answers]
    answers[1].get_by_role("option", name=re.compile("^example")).click()
    answers[0].get_by_role("option", name=re.compile("^dish")).click()
    explain(page)
    expect(compare(page).get_by_label("Side A").locator(".heading")).to_contain_text("Why “dish”")
    expect(compare(page).get_by_label("Side B").locator(".heading")).to_contain_text(
        "Why “example”"
    )
    rows = table(page)
    # What the model has said before counts, too.
    assert [row["a"].strip() for row in rows if row["place"] == "answer"] == [
        "This",
        "is",
        "a",
        "classic",
    ]
    keep(page, "compare-4-parts")

    compare(page).get_by_role("button", name="Swap").click()
    assert [answer.inner_text() for answer in answers] == texts[::-1]
    swapped = table(page)
    assert [row["score_a"] for row in swapped if row["kind"] == "equal"] == [
        row["score_b"] for row in rows if row["kind"] == "equal"
    ]
    assert [row["difference"].lstrip("-") for row in swapped] == [
        row["difference"].lstrip("-") for row in rows
    ]


def test_two_methods_of_one_example(server, page):
    open_page(page, server, "smollm2", "advice")
    expect(compare(page).get_by_role("note")).to_contain_text("There is no example for A")
    choose(page, "Example A", "Same as the other side")
    expect(compare(page).get_by_role("note")).to_contain_text("Both sides are the same")
    compare(page).get_by_role("button", name="Another method for B").click()
    compare(page).get_by_label("Side B").get_by_role("button", name=re.compile("^Method: ")).click()
    compare(page).get_by_role("menuitemradio", name="Gradient x input").first.click()
    explain(page)
    note = (
        compare(page).get_by_role("note").filter(has_text="The methods differ: B − A is of shares")
    )
    expect(note).to_be_visible()
    keep(page, "compare-5-methods")
    rows = table(page)
    check_screen(page, rows)
    assert {row["kind"] for row in rows} == {"equal"}
    sums = {side: sum(abs(float(row[f"score_{side}"])) for row in rows) for side in "ab"}
    for row in rows:
        wanted = float(row["score_b"]) / sums["b"] - float(row["score_a"]) / sums["a"]
        assert float(row["difference"]) == pytest.approx(wanted, rel=1e-6, abs=1e-12)
    assert any(float(row["score_b"]) < 0 for row in rows)


def test_labels_of_a_classifier(server, page):
    tag = "<img src=x onerror=alert(1)>"
    # A laptop's screen at 150 %; LIT's page is never less than 1000 pixels wide, and scrolls.
    page.set_viewport_size({"width": 853, "height": 600})
    open_page(page, server, "sentiment", "movie_reviews", "narrow")
    text = edit(page, "lifeless mess", f"lifeless triumph {tag}")
    expect(compare(page).get_by_role("group", name="What is explained")).to_have_count(
        2, timeout=COMPUTING
    )
    explain(page)
    keep(page, "compare-6-labels")
    rows = table(page)
    check_screen(page, rows)
    assert any("onerror" in row["b"] for row in rows)
    assert compare(page).evaluate("module => module.renderRoot.querySelectorAll('img').length") == 0
    explainer = lit_plugins.load(SENTIMENT)
    for side, given in (("a", "A dull, lifeless mess."), ("b", text)):
        made = exchange.record(explainer.explain(given, method="integrated_gradients", unit="word"))
        found = {row[side].strip(): row[f"score_{side}"] for row in rows if row[side].strip()}
        for segment, score in zip(made["segments"], made["scores"], strict=True):
            if segment["text"].strip() in ("dull", "lifeless"):
                assert float(found[segment["text"].strip()]) == pytest.approx(score, rel=1e-3)

    # Sides and columns stand below one another, and nothing is cut off.
    sides = [compare(page).get_by_label(f"Side {name}").bounding_box() for name in "AB"]
    assert sides[0] is not None
    assert sides[1] is not None
    assert sides[1]["y"] >= sides[0]["y"] + sides[0]["height"]
    assert compare(page).locator(".compare").evaluate("box => box.scrollWidth <= box.clientWidth")
