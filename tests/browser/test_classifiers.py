"""Labels, pairs, tags, answers and labels named at will, in a real browser on real weights."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import BytesIO

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, expect

from .conftest import Server, running
from .salience_page import (
    SALIENCE,
    about,
    apply,
    by,
    choose,
    colours,
    error_bar,
    explain_class,
    method,
    of,
    open_method,
    parts,
    refused,
    rows,
    says,
    shown,
    strongest,
    visit,
)
from .salience_page import keep as picture

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

TOPICS = ("sport", "cooking", "music", "weather", "travel", "money", "health", "school")
IG = "Integrated gradients"


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    """The packaged models that read whole texts; zero-shot also with one vocabulary for all."""
    labels = "&".join(f"candidate_labels={topic}" for topic in TOPICS)
    with running(
        "classifiers",
        "--models=sentiment=hf:packaged:sentiment?gradients=on",
        "--models=reranker=hf:packaged:reranker",
        "--models=pii-ner=hf:packaged:pii-ner",
        "--models=tiny-qa=hf:packaged:tiny-qa",
        "--models=tiny-nli=hf:packaged:tiny-nli",
        f"--models=tiny-topics=hf:packaged:tiny-nli?{labels}",
        "--datasets=movie_reviews,passages,personal_data,questions,topics",
    ) as server:
        yield server


# ------------------------------------------------------------------- what is on the page


def tab(page: Page, title: str) -> None:
    page.locator("lit-tabs, .tab-bar").get_by_text(title, exact=True).first.click()


def cells(table: Locator) -> list[list[str]]:
    """Rows of a table as a screen reader has them: bars have their text in shadow roots."""
    rows = [re.findall(r'cell "([^"]*)"', row) for row in table.aria_snapshot().split("- row ")]
    return [row for row in rows if row]


def add(page: Page, compare: bool = False, **fields: str) -> None:
    """Change fields of the selected example in the editor, and add what comes out."""
    tab(page, "Editor")
    editor = page.locator("single-datapoint-editor-module")
    for name, text in fields.items():
        field = editor.locator(
            ".entry", has=page.locator(".field-name", has_text=re.compile(rf"^\s*\*?{name}\s*$"))
        )
        field.locator("textarea, input").first.fill(text)
    button = "Add and compare" if compare else "Add"
    editor.get_by_role("button", name=button, exact=True).click()
    tab(page, "Data Table")


def keep(page: Page, name: str) -> None:
    picture(page, f"classifiers-{name}")


# ------------------------------------------------------------------- a label


DULL = "A dull, lifeless mess."


def test_label_and_the_words_that_made_it(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    assert "Why NEGATIVE?" in about(page, "Gradient x input")
    open_method(page, IG)
    assert "Why NEGATIVE?" in about(page, IG)
    assert "nats, each word" in about(page, IG)
    word, weight = strongest(page, IG)
    assert word == "dull,"
    assert weight > 0
    by(page, "Tokens")
    says(page, IG, "nats, each token")
    assert strongest(page, IG)[0] == "dull"
    by(page, "Words")
    before = colours(page, IG)
    assert len(set(before)) > 4
    keep(page, "sentiment")

    explain_class(page, "POSITIVE")
    says(page, IG, "Why POSITIVE?")
    word, weight = strongest(page, IG)
    assert word == "dull,"
    assert weight < 0
    assert colours(page, IG) != before
    keep(page, "sentiment-other-class")

    tab(page, "Predictions")
    table = page.locator("classification-module lit-data-table")
    expect(table).to_contain_text("NEGATIVE")
    keep(page, "sentiment-predictions")
    [negative, positive] = cells(table)
    assert negative[0] == "NEGATIVE"
    assert positive[0] == "POSITIVE"
    assert float(negative[1].split()[0]) > 0.9 > 0.1 > float(positive[1].split()[0])
    assert negative[1].endswith("P T")  # predicted, and true


def test_options_of_a_method(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", "The jokes are stale")
    open_method(page, IG)
    before = parts(page, IG)
    assert apply(page, IG, steps="20", baseline="mask").ok
    says(page, IG, "20 backward passes")
    assert parts(page, IG) != before
    assert "NEGATIVE" in about(page, IG)
    keep(page, "options")

    assert apply(page, IG, foil="POSITIVE").ok
    says(page, IG, "Why NEGATIVE, not POSITIVE?")


def test_bad_option_is_a_line_and_no_more(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    open_method(page, IG)
    answer = apply(page, IG, steps="abc")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("steps is 'abc': expected a number.")
    assert not re.search(r"Traceback|File \"|Unknown error", error_bar(page).inner_text())
    expect(refused(page, IG)).to_contain_text("steps is 'abc': expected a number.")
    expect(shown(page, IG)).to_have_count(0)
    keep(page, "bad-option")
    answer = apply(page, IG, steps="8", foil="SO-SO")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("SO-SO")
    assert apply(page, IG, steps="8", foil="").ok
    says(page, IG, "8 backward passes")
    assert strongest(page, IG)[0] == "dull,"


def test_attention(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    open_method(page, "Attention")
    # One row has no title.
    weights = [
        float(one)
        for one in shown(page, "Attention")
        .locator("lit-tooltip")
        .evaluate_all("all => all.map(one => one.content)")
    ]
    assert len(weights) == 8
    assert sum(weights) == pytest.approx(1, abs=0.02)
    before = colours(page, "Attention")
    assert apply(page, "Attention", layer="1", head="1", of_token="dull").ok
    expect(shown(page, "Attention")).to_have_count(8)
    assert colours(page, "Attention") != before
    keep(page, "attention")
    assert apply(page, "Attention", layer="99").status == 400
    expect(error_bar(page)).to_contain_text("layer is '99': expected 1 to")


# ------------------------------------------------------------------- LIT's own views of labels


def test_metrics_matrix_and_thresholds(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification")
    metrics = page.locator("metrics-module lit-data-table")
    expect(metrics).to_contain_text("0.625")
    [row] = cells(metrics)
    assert row[:4] == ["sentiment", "dataset", "probas", "40"]

    tab(page, "Confusion Matrix")
    matrix = page.locator("confusion-matrix-module")
    expect(matrix).to_contain_text("sentiment:probas:class")
    counts = [int(n) for n in re.findall(r"\((\d+)\)", matrix.locator("table").inner_text())]
    right = (counts[0] + counts[4]) / 40
    assert right == pytest.approx(0.625)
    keep(page, "confusion-matrix")

    tab(page, "Thresholder")
    thresholds = page.locator("thresholder-module")
    slider = thresholds.locator("input[type=number]").last
    expect(slider).to_have_value("0.5")
    thresholds.get_by_role("button", name="Get optimal thresholds").click()
    thresholds.get_by_role("button", name="Apply").click()
    expect(slider).not_to_have_value("0.5")
    keep(page, "thresholder")

    tab(page, "Curves")
    expect(page.locator("curves-module svg path").first).to_be_visible()


def test_embeddings_are_points(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification")
    with page.expect_response(of("pca"), timeout=SALIENCE) as info:
        tab(page, "Embeddings")
    points = [one["z"] for one in info.value.json()]
    assert [len(point) for point in points] == [3] * 40
    view = page.locator("embeddings-module #scatter-gl-container")
    expect(view.locator("canvas").first).to_be_visible()
    page.wait_for_timeout(1500)  # LIT waits for 0.4 s before it draws
    keep(page, "embeddings")
    # The two labels have a colour each: warm and cold ones, on white.
    image = np.asarray(Image.open(BytesIO(view.screenshot())).convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(image, 2, 0)
    assert ((red > blue + 30) & (green > blue)).sum() > 500
    assert ((blue > red + 20) & (green > red)).sum() > 500


def test_edited_text_beside_the_original(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    add(page, compare=True, text="A brilliant, lively joy.")
    maps = page.locator("salience-map-module")
    expect(maps).to_have_count(2)
    for number, (label, word) in enumerate([("NEGATIVE", "dull"), ("POSITIVE", "brilliant")]):
        one = maps.nth(number).locator("[id='gradient x input']")
        expect(one.locator(".heading")).to_contain_text(f"Why {label}?")
        expect(one.locator(".piece", has_text=word).first).to_be_visible()
    keep(page, "compared")
    tab(page, "Predictions")
    table = page.locator("classification-module lit-data-table")
    expect(table).to_contain_text("Δ(Pinned, Selected)")
    expect(table).not_to_contain_text("0.000")  # until the new text's are there
    [negative, positive] = cells(table)
    assert "P" in negative[1].split()
    assert "P" in positive[2].split()
    assert float(negative[3]) > 0.8


# ------------------------------------------------------------------- pairs, tags, answers, topics


def test_pair(served, page):
    visit(served, page, "reranker", "passages", "pairs_and_answers", "About 3.7 million")
    table = page.locator("classification-module lit-data-table")
    expect(table).to_contain_text("RELEVANT")
    [no, yes] = cells(table)
    assert no[0] == "not RELEVANT"
    assert yes[0] == "RELEVANT"
    assert yes[1].endswith("P T")
    open_method(page, IG)
    assert "Why RELEVANT?" in about(page, IG)
    assert strongest(page, IG)[0] == "inhabitants"
    assert apply(page, IG, over="second", output="logit").ok
    says(page, IG, "logits, each word")
    scores = dict(parts(page, IG))
    assert min(scores[word] for word in ("million", "inhabitants", "Berlin")) > (
        0.3 * strongest(page, IG)[1]
    )
    assert scores["many"] is scores["people"] is None  # of the query, which stays
    keep(page, "pair")
    explain_class(page, "not RELEVANT")
    says(page, IG, "Why not RELEVANT?")
    assert dict(parts(page, IG))["inhabitants"] < 0


def test_tags(served, page):
    visit(served, page, "pii-ner", "personal_data", "tagging", "My name is Tilda")
    entities = page.locator("annotated-text-module")
    expect(entities).to_contain_text("entities")
    for part in ("GIVEN_NAME", "Tilda", "SURNAME", "Quillfeather"):
        expect(entities.locator(".annotations-column")).to_contain_text(part)
    marked = entities.locator(".span-active").all_inner_texts()
    assert marked == ["Tilda", "Quillfeather"]
    assert "GIVEN_NAME of Tilda?" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] == "Tilda"
    assert apply(page, IG, explained_part="Quillfeather").ok
    says(page, IG, "SURNAME of Quillfeather")
    assert strongest(page, IG)[0] == "Quillfeather"
    keep(page, "tags")
    answer = apply(page, IG, explained_part="Nobody")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("'Nobody'")
    assert apply(page, IG, explained_part="word 4").ok
    says(page, IG, "GIVEN_NAME of Tilda")


def test_answer(served, page):
    visit(served, page, "tiny-qa", "questions", "pairs_and_answers", "What does Felix like?")
    answers = page.locator("annotated-text-module")
    expect(answers.locator(".cluster-active")).to_contain_text("pancakes (1.00)")
    expect(answers.locator(".span-active")).to_have_text("pancakes")
    assert "Why start of pancakes and end of pancakes?" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("like?", "likes")
    assert apply(page, IG, explained_part="start", foil="harp").ok
    says(page, IG, "Why start of pancakes, not harp?")
    assert strongest(page, IG)[0] in ("like?", "likes", "Felix", "pancakes.")
    keep(page, "answer")
    tab(page, "Metrics")
    expect(page.locator("metrics-module")).to_contain_text("tiny-qa")


def test_labels_of_each_text(served, page):
    visit(served, page, "tiny-nli", "topics", "classification", "The striker scored")
    assert "Why sport?" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("striker", "scored")
    assert apply(page, IG, explained_part="music").ok
    says(page, IG, "Why music?")
    tab(page, "Predictions")
    table = page.locator("multilabel-module lit-data-table")
    expect(table).to_contain_text("sport")
    keep(page, "own-labels")
    assert {row[0] for row in cells(table)} >= {"sport", "cooking", "music", "weather"}


def test_labels_of_all_texts(served, page):
    visit(served, page, "tiny-topics", "topics", "classification", "The orchestra rehearsed")
    assert "Why music?" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("orchestra", "rehearsed", "concert.")
    before = colours(page, IG)
    explain_class(page, "weather")
    says(page, IG, "Why weather?")
    assert colours(page, IG) != before
    keep(page, "one-vocabulary")
    tab(page, "Predictions")
    table = page.locator("classification-module lit-data-table")
    expect(table).to_contain_text("music")
    assert [row[0] for row in cells(table) if row[1].endswith("P T")] == ["music"]


# ------------------------------------------------------------------- texts that nobody expected


HTML = "<img src=x onerror=alert(1)> A dull film <b>indeed</b> &amp; how.<script>alert(2)</script>"


def test_html_is_text(served, page):
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: (dialogs.append(dialog.message), dialog.dismiss()))
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    add(page, text=HTML)
    expect(rows(page)).to_have_count(41)
    expect(rows(page).filter(has_text="onerror=alert(1)")).to_contain_text(HTML)
    expect(shown(page, "Gradient x input").filter(has_text="dull").first).to_be_visible()
    open_method(page, IG)
    text = method(page, IG).locator(".text").inner_text()
    assert "<img src=x onerror=alert(1)> A dull film <b>indeed</b> &amp; how.<script>" in text
    keep(page, "html")
    assert page.locator("img[src=x]").count() == 0
    assert dialogs == []


def test_scripts_of_the_world(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    for text, part in (
        ("A joy 😀👩‍👩‍👧 from start to end!", "😀"),
        ("פילם נפלא, a joy ممتاز", "נפלא"),
    ):
        with page.expect_response(of("Gradient x input"), timeout=SALIENCE) as info:
            add(page, text=text)
        assert info.value.ok
        expect(rows(page).filter(has_text=text)).to_have_count(1)
        expect(shown(page, "Gradient x input").filter(has_text="joy").first).to_be_visible()
        assert part in method(page, "Gradient x input").locator(".text").inner_text()
    keep(page, "scripts")


def test_very_long_text(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    text = "A dull film. " * 7700  # 100,100 characters
    with page.expect_response(of("Gradient x input"), timeout=SALIENCE) as info:
        add(page, text=text)
    assert info.value.ok
    says(page, "Gradient x input", "tokens at its end were left out (max_length is 512)")
    keep(page, "long")
    choose(page, "A warm, funny film")
    assert "Why POSITIVE?" in about(page, "Gradient x input")


# ------------------------------------------------------------------- generated examples


@pytest.mark.parametrize(
    ("generator", "text"), [("Hotflip", DULL), ("Ablation Flip", "Clumsy dialogue, wooden acting")]
)
def test_generated_example_is_of_the_other_label(served, page, generator, text):
    visit(served, page, "sentiment", "movie_reviews", "classification", text)
    tab(page, "Counterfactuals")
    module = page.locator("generator-module")
    controls = module.locator("lit-interpreter-controls").filter(has_text=generator)
    controls.get_by_text("expand_more").click()
    with page.expect_response(of(generator, "get_generated"), timeout=SALIENCE) as info:
        controls.get_by_role("button", name="Apply").click()
    assert info.value.ok, info.value.text()
    expect(module).to_contain_text(re.compile(r"generated [1-9]\d*\s+counterfactual"))
    keep(page, generator.lower().replace(" ", "-"))
    module.get_by_role("button", name="Add and compare").click()
    expect(page.locator("salience-map-module")).to_have_count(2)
    tab(page, "Predictions")
    table = page.locator("classification-module lit-data-table")
    expect(table).to_contain_text("Δ(Pinned, Selected)")
    expect(table).not_to_contain_text("0.000")  # until the new text's are there
    [negative, positive] = cells(table)
    keep(page, f"{generator.lower().replace(' ', '-')}-compared")
    assert "P" in negative[1].split()
    assert "P" in positive[2].split()
    # Neither LIT's own example nor anybody's page has changed by that.
    visit(served, page, "sentiment", "movie_reviews", "classification", text)
    expect(rows(page)).to_have_count(40)
