"""Labels, pairs, tags, answers and labels named at will, in a real browser on real weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from io import BytesIO
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Locator, Page, Response, expect

from .conftest import OUTPUT, Server, running

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

# Milliseconds. The first page waits until its model is loaded.
LOADING = 120_000
SALIENCE = 60_000
TOPICS = ("sport", "cooking", "music", "weather", "travel", "money", "health", "school")
IG = "Integrated gradients"


@pytest.fixture(scope="module", autouse=True)
def screenshots() -> None:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)


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


def rows(page: Page) -> Locator:
    # LIT fills the table up with empty rows.
    return page.locator("data-table-module lit-data-table tbody tr", has_text=re.compile(r"\w"))


def choose(page: Page, text: str) -> None:
    """Select the example with this text, and see the cheap methods' maps of it."""
    row = rows(page).filter(has_text=text).first
    with page.expect_response(_of("Gradient x input"), timeout=SALIENCE):
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


def tab(page: Page, title: str) -> None:
    page.locator("lit-tabs, .tab-bar").get_by_text(title, exact=True).first.click()


def method(page: Page, title: str) -> Locator:
    return page.locator(f"salience-map-module [id='{title.lower()}']")


def shown(page: Page, title: str) -> Locator:
    return method(page, title).locator(".salient-token")


def _of(title: str, path: str = "get_interpretations") -> Callable[[Response], bool]:
    """Whether a response is that of a component, by its title."""

    def matches(response: Response) -> bool:
        url = unquote(response.url)
        return f"/{path}?" in url and f"={title}&" in f"{url}&"

    return matches


def open_method(page: Page, title: str) -> Locator:
    """Expand a method that is not run unasked, and wait for its map."""
    one = method(page, title)
    one.scroll_into_view_if_needed()
    with page.expect_response(_of(title), timeout=SALIENCE) as info:
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
    with page.expect_response(_of(title), timeout=SALIENCE) as info:
        dialog.get_by_role("button", name="Apply").click()
    page.locator("lit-app-toolbar #title-group").click()  # anywhere else closes it
    one.evaluate("one => one.scrollIntoView()")
    return info.value


def chips(page: Page, title: str, row: str) -> list[tuple[str, float]]:
    """A map's row: text and weight of each chip, as the page draws them."""
    group = method(page, title).locator(
        ".method-results > .tokens-group",
        has=page.locator(".tokens-group-title", has_text=re.compile(rf"^{row}$")),
    )
    return [
        (text, float(weight))
        for text, weight in group.locator(".salient-token").evaluate_all(
            "all => all.map(one => [one.innerText, one.querySelector('lit-tooltip').content])"
        )
    ]


def strongest(page: Page, title: str, row: str = "words") -> tuple[str, float]:
    return max(chips(page, title, row), key=lambda chip: abs(chip[1]))


def about(page: Page, title: str) -> str:
    """What a map says about itself."""
    return " | ".join(text for text, _ in chips(page, title, "about"))


def says(page: Page, title: str, text: str) -> None:
    """Wait until a map says this about itself."""
    expect(shown(page, title).filter(has_text=text).first).to_be_visible()


def colours(page: Page, title: str) -> list[str]:
    return shown(page, title).evaluate_all(
        "all => all.map(one => getComputedStyle(one).backgroundColor)"
    )


def error_bar(page: Page) -> Locator:
    return page.locator("lit-app-statusbar .status-info div.error")


def explain_class(page: Page, label: str) -> None:
    selector = page.locator("salience-map-module select").nth(1)
    with page.expect_response(_of("Gradient x input"), timeout=SALIENCE):
        selector.select_option(label)


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
    page.mouse.move(0, 0)  # no tooltip in the picture
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / "screenshots" / f"classifiers-{name}.png")


# ------------------------------------------------------------------- a label


DULL = "A dull, lifeless mess."


def test_label_and_the_words_that_made_it(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    assert "of NEGATIVE" in about(page, "Gradient x input")
    open_method(page, IG)
    assert "of NEGATIVE" in about(page, IG)
    assert "scores in nats" in about(page, IG)
    word, weight = strongest(page, IG)
    assert (word, weight) == ("dull,", 1.0)
    assert strongest(page, IG, "salience")[0] == "▁dull"
    before = colours(page, IG)
    assert len(set(before)) > 4
    keep(page, "sentiment")

    explain_class(page, "POSITIVE")
    says(page, IG, "of POSITIVE")
    word, weight = strongest(page, IG)
    assert (word, weight) == ("dull,", -1.0)
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
    before = chips(page, IG, "words")
    assert apply(page, IG, steps="20", baseline="mask").ok
    says(page, IG, "20 backward passes")
    assert chips(page, IG, "words") != before
    assert "NEGATIVE" in about(page, IG)
    keep(page, "options")

    assert apply(page, IG, foil="POSITIVE").ok
    says(page, IG, "of NEGATIVE, rather than 'POSITIVE'")


def test_bad_option_is_a_line_and_no_more(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    open_method(page, IG)
    answer = apply(page, IG, steps="abc")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("steps is 'abc': expected a number.")
    assert not re.search(r"Traceback|File \"|Unknown error", error_bar(page).inner_text())
    keep(page, "bad-option")
    answer = apply(page, IG, steps="8", foil="SO-SO")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("SO-SO")
    assert apply(page, IG, steps="8", foil="").ok
    says(page, IG, "8 backward passes")
    assert strongest(page, IG)[0] == "dull,"
    page.lit_errors.clear()  # LIT leaves what it has shown to the browser's console as well


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
    page.lit_errors.clear()


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
    with page.expect_response(_of("pca"), timeout=SALIENCE) as info:
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
    for number, (label, word) in enumerate([("NEGATIVE", "▁dull"), ("POSITIVE", "▁brilliant")]):
        about_it = maps.nth(number).locator("[id='gradient x input'] .salient-token")
        expect(about_it.filter(has_text=f"of {label}").first).to_be_visible()
        expect(about_it.filter(has_text=word).first).to_be_visible()
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
    assert "of RELEVANT" in about(page, IG)
    assert strongest(page, IG)[0] == "inhabitants"
    assert apply(page, IG, over="second", output="logit").ok
    says(page, IG, "scores in logits")
    scores = dict(chips(page, IG, "words"))
    assert min(scores[word] for word in ("million", "inhabitants", "Berlin")) > 0.3
    assert chips(page, IG, "salience")[1:5] == [  # the query, which stays
        ("How", 0),
        ("▁many", 0),
        ("▁people", 0),
        ("▁live", 0),
    ]
    keep(page, "pair")
    explain_class(page, "not RELEVANT")
    says(page, IG, "of not RELEVANT")
    assert dict(chips(page, IG, "words"))["inhabitants"] < 0


def test_tags(served, page):
    visit(served, page, "pii-ner", "personal_data", "tagging", "My name is Tilda")
    entities = page.locator("annotated-text-module")
    expect(entities).to_contain_text("entities")
    for part in ("GIVEN_NAME", "Tilda", "SURNAME", "Quillfeather"):
        expect(entities.locator(".annotations-column")).to_contain_text(part)
    marked = entities.locator(".span-active").all_inner_texts()
    assert marked == ["Tilda", "Quillfeather"]
    assert "GIVEN_NAME of Tilda" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] == "Tilda"
    assert apply(page, IG, explained_part="Quillfeather").ok
    says(page, IG, "SURNAME of Quillfeather")
    assert strongest(page, IG)[0] == "Quillfeather"
    keep(page, "tags")
    answer = apply(page, IG, explained_part="Nobody")
    assert answer.status == 400
    expect(error_bar(page)).to_contain_text("'Nobody'")
    page.lit_errors.clear()
    assert apply(page, IG, explained_part="word 4").ok
    says(page, IG, "GIVEN_NAME of Tilda")


def test_answer(served, page):
    visit(served, page, "tiny-qa", "questions", "pairs_and_answers", "What does Felix like?")
    answers = page.locator("annotated-text-module")
    expect(answers.locator(".cluster-active")).to_contain_text("pancakes (1.00)")
    expect(answers.locator(".span-active")).to_have_text("pancakes")
    assert "start of pancakes, end of pancakes" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("like?", "likes")
    assert apply(page, IG, explained_part="start", foil="harp").ok
    says(page, IG, "of start of pancakes, rather than 'harp'")
    assert strongest(page, IG)[0] in ("like?", "likes", "Felix", "pancakes.")
    keep(page, "answer")
    tab(page, "Metrics")
    expect(page.locator("metrics-module")).to_contain_text("tiny-qa")


def test_labels_of_each_text(served, page):
    visit(served, page, "tiny-nli", "topics", "classification", "The striker scored")
    assert "of sport" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("striker", "scored")
    assert apply(page, IG, explained_part="music").ok
    says(page, IG, "of music")
    tab(page, "Predictions")
    table = page.locator("multilabel-module lit-data-table")
    expect(table).to_contain_text("sport")
    keep(page, "own-labels")
    assert {row[0] for row in cells(table)} >= {"sport", "cooking", "music", "weather"}


def test_labels_of_all_texts(served, page):
    visit(served, page, "tiny-topics", "topics", "classification", "The orchestra rehearsed")
    assert "of music" in about(page, "Gradient x input")
    open_method(page, IG)
    assert strongest(page, IG)[0] in ("orchestra", "rehearsed", "concert.")
    before = colours(page, IG)
    explain_class(page, "weather")
    says(page, IG, "of weather")
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
    expect(shown(page, "Gradient x input").filter(has_text="▁dull").first).to_be_visible()
    open_method(page, IG)
    joined = "".join(text for text, _ in chips(page, IG, "salience"))
    assert "<img▁src=x▁onerror=alert(1)>▁A▁dull" in joined
    keep(page, "html")
    assert page.locator("img[src=x]").count() == 0
    assert dialogs == []


def test_scripts_of_the_world(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    for text, part in (
        ("A joy 😀👩‍👩‍👧 from start to end!", "😀"),
        ("פילם נפלא, a joy ممتاز", "נפלא"),
    ):
        with page.expect_response(_of("Gradient x input"), timeout=SALIENCE) as info:
            add(page, text=text)
        assert info.value.ok
        expect(rows(page).filter(has_text=text)).to_have_count(1)
        expect(shown(page, "Gradient x input").filter(has_text="joy").first).to_be_visible()
        joined = "".join(word for word, _ in chips(page, "Gradient x input", "words"))
        assert part in joined
    keep(page, "scripts")


def test_very_long_text(served, page):
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    text = "A dull film. " * 7700  # 100,100 characters
    with page.expect_response(_of("Gradient x input"), timeout=SALIENCE) as info:
        add(page, text=text)
    assert info.value.ok
    says(page, "Gradient x input", "tokens at its end were left out (max_length is 512)")
    keep(page, "long")
    choose(page, "A warm, funny film")
    assert "of POSITIVE" in about(page, "Gradient x input")


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
    with page.expect_response(_of(generator, "get_generated"), timeout=SALIENCE) as info:
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
