"""LIT's Salience Maps as we draw them: colours, units, cards, errors; never a stale answer."""

from __future__ import annotations

import json
import random
import time
from collections.abc import Callable, Iterator

import pytest
from encoders import classifier
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.lib import serialize
from playwright.sync_api import Page, Route, expect

from lit_plugins.components.interpreters import interpreters
from lit_plugins.display import colours as palette
from lit_plugins.models import kinds
from lit_plugins.server import build

from .conftest import Server, running
from .salience_page import (
    SALIENCE,
    apply,
    by,
    choose,
    colours,
    error_bar,
    explain_class,
    keep,
    method,
    of,
    open_method,
    parts,
    refused,
    rows,
    says,
    shown,
    visit,
)

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

DULL, WARM = "A dull, lifeless mess.", "A warm, funny film"
GRADIENT, IG, LIME = "Gradient x input", "Integrated gradients", "LIME, by segments"
REQUESTS = "**/get_interpretations?**"


@pytest.fixture(scope="module")
def served() -> Iterator[Server]:
    with running(
        "salience-maps",
        "--models=sentiment=hf:packaged:sentiment?gradients=on",
        "--datasets=movie_reviews",
    ) as server:
        yield server


@pytest.fixture
def reviews(served, page) -> Page:
    visit(served, page, "sentiment", "movie_reviews", "classification", DULL)
    return page


def rgb(colour: str) -> str:
    red, green, blue = (int(colour[place : place + 2], 16) for place in (1, 3, 5))
    return f"rgb({red}, {green}, {blue})"


def expected_colour(score: float, largest: float, signed: bool) -> str:
    scale = palette.Scale(largest, signed)
    strength = abs(scale.level(score)) / palette.LEVELS
    return rgb(palette.shade(palette.LIGHT, scale.direction(score), strength))


def of_row(page: Page, title: str, answer: Callable[[Route], None]) -> None:
    """Answer this row's requests ourselves."""

    def handle(route: Route) -> None:
        if f"interpreter={title}&" in route.request.url.replace("%20", " "):
            answer(route)
        else:
            route.fallback()

    page.route(REQUESTS, handle)


@pytest.mark.parametrize(("title", "signed"), [(IG, True), ("Gradient, L2 norm", False)])
def test_colours_are_those_of_the_scores(reviews, title, signed):
    if signed:
        open_method(reviews, title)
        explain_class(reviews, "POSITIVE")
        says(reviews, title, "Why POSITIVE?")
    for unit in ("Tokens", "Words"):
        by(reviews, unit)
        says(reviews, title, f"each {unit.lower()[:-1]}")
        found = parts(reviews, title)
        scores = [score for _, score in found if score is not None]
        largest = max(map(abs, scores))
        assert (min(scores) < 0) == signed
        for (text, score), colour in zip(found, colours(reviews, title), strict=True):
            if score is not None:
                assert colour == expected_colour(score, largest, signed), text
        legend = method(reviews, title).locator(".legend").inner_text()
        assert f"{largest:.3g}" in legend
        assert ("against" in legend) == signed
    method(reviews, title).evaluate("one => one.scrollIntoView()")
    keep(reviews, f"salience-maps-{'signed' if signed else 'unsigned'}")


def test_the_same_in_lits_own_drawing(served, page):
    """For the eye; and a server whose LIT is another one still shows what it did."""
    page.route("**/lit_plugins/client/main.js", lambda route: route.abort())
    visit(served, page, "sentiment", "movie_reviews", "default")  # LIT's own layout
    page.locator("lit-tabs, .tab").get_by_text("Explanations", exact=True).click()
    choose(page, DULL)
    open_method(page, IG)
    expect(shown(page, IG).filter(has_text="logprob")).to_have_count(1)
    expect(shown(page, IG).filter(has_text="scores in nats")).to_have_count(1)
    method(page, IG).evaluate("one => one.scrollIntoView()")
    keep(page, "salience-maps-stock")
    page.lit_errors.clear()  # LIT's own plots need what this server's pages may not


def test_exact_scores_by_mouse_and_by_keyboard(reviews):
    with reviews.expect_response(of(IG), timeout=SALIENCE) as info:
        method(reviews, IG).get_by_text("expand_more").last.click()
    [answer] = info.value.json()
    exact = {
        part["text"].strip(): part["score"]
        for part in answer["about"]["detail"]["rows"][0]["views"]["word"]
    }
    tip = method(reviews, IG).locator(".tip")
    method(reviews, IG).locator(".piece", has_text="dull").hover()
    expect(tip).to_have_text(f"{exact['dull,']} nats")
    one = method(reviews, IG).locator(".piece", has_text="dull")
    assert one.get_attribute("aria-label") == f"dull,, {exact['dull,']} nats"
    reviews.mouse.move(0, 0)
    expect(tip).to_be_hidden()
    one.focus()
    expect(tip).to_be_visible()
    expect(tip).to_have_text(f"{exact['dull,']} nats")
    reviews.keyboard.press("ArrowRight")
    expect(tip).to_have_text(f"{exact['lifeless']} nats")


def test_the_card_is_in_words(reviews):
    open_method(reviews, IG)
    says(reviews, IG, "Why NEGATIVE? · −")
    card = method(reviews, IG).locator(".card")
    expect(card.locator("summary")).to_contain_text("convergence error")
    card.locator("summary").click()
    for words in ("Integrated gradients", "log-probability of NEGATIVE", "Convergence error"):
        expect(card.locator("dl")).to_contain_text(words)
    expect(card.locator("dl")).to_contain_text("forward")
    expect(method(reviews, IG).locator(".salient-token")).to_have_count(0)
    # What is of no use here is not asked.
    method(reviews, IG).get_by_text("settings", exact=True).first.click()
    names = method(reviews, IG).locator(".control-name").all_inner_texts()
    assert any("baseline" in name for name in names)
    assert not any("scale to 1" in name for name in names)


def test_tokens_or_words_for_all_rows_and_examples(reviews):
    says(reviews, GRADIENT, "each word")
    by(reviews, "Tokens")
    for title in (GRADIENT, "Gradient, L2 norm"):
        says(reviews, title, "each token")
    tokens = [text for text, _ in parts(reviews, GRADIENT)]
    assert tokens[1:4] == ["A", "dull", ","]
    choose(reviews, WARM)
    says(reviews, GRADIENT, "each token")
    by(reviews, "Words")
    says(reviews, GRADIENT, "each word")
    assert "warm," in [text for text, _ in parts(reviews, GRADIENT)]
    # What was scored by lines has no words; what was scored by tokens, without a sum, neither.
    open_method(reviews, LIME)
    assert apply(reviews, LIME, segment="line").ok
    says(reviews, LIME, "each line")
    assert apply(reviews, LIME, segment="token").ok
    says(reviews, LIME, "each token")


def test_a_refused_request_is_a_line_in_its_row(reviews):
    open_method(reviews, IG)
    assert apply(reviews, IG, steps="abc").status == 400
    expect(refused(reviews, IG)).to_contain_text("steps is 'abc': expected a number.")
    expect(refused(reviews, IG)).not_to_contain_text("Details")
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(0)
    expect(error_bar(reviews)).to_contain_text("steps is 'abc'")
    expect(shown(reviews, GRADIENT)).not_to_have_count(0)
    keep(reviews, "salience-maps-refused")
    assert apply(reviews, IG, steps="8").ok
    expect(refused(reviews, IG)).to_have_count(0)
    says(reviews, IG, "8 backward passes")


def test_try_again(reviews):
    failing = [True]

    def answer(route: Route) -> None:
        if failing:
            failing.clear()
            route.abort()
        else:
            route.fallback()

    of_row(reviews, IG, answer)
    method(reviews, IG).get_by_text("expand_more").last.click()
    expect(refused(reviews, IG)).to_contain_text("The server has not answered")
    refused(reviews, IG).get_by_role("button", name="Try again").click()
    expect(shown(reviews, IG)).not_to_have_count(0)
    expect(refused(reviews, IG)).to_have_count(0)


def test_a_slow_answer_is_not_shown_on_the_next_example(reviews):
    """LIT 1.3.1 keeps it, and shows it when the row is opened while the right one is computed."""
    held: list[Route] = []
    of_row(reviews, IG, held.append)
    toggle = method(reviews, IG).locator(".expansion-header")
    toggle.click()
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(1)
    toggle.click()
    choose(reviews, WARM)
    with reviews.expect_response(of(IG), timeout=SALIENCE):
        held.pop().continue_()
    toggle.click()
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(1)
    reviews.wait_for_timeout(500)
    assert shown(reviews, IG).count() == 0
    held.pop().continue_()
    expect(method(reviews, IG).locator(".text")).to_contain_text("warm, funny film")
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(0)


def test_a_slow_answer_for_one_class_is_not_shown_for_another(reviews):
    held: list[Route] = []
    of_row(reviews, IG, held.append)
    toggle = method(reviews, IG).locator(".expansion-header")
    toggle.click()
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(1)
    toggle.click()
    explain_class(reviews, "POSITIVE")
    with reviews.expect_response(of(IG), timeout=SALIENCE):
        held.pop().continue_()
    toggle.click()
    reviews.wait_for_timeout(500)
    assert shown(reviews, IG).count() == 0
    held.pop().continue_()
    says(reviews, IG, "Why POSITIVE?")


def users(text: str) -> str:
    """The user's text, without the model's own marks."""
    return text.removeprefix("[CLS]").removesuffix("[SEP]").strip()


def test_switching_fast_never_shows_another_text(reviews):
    order = random.Random(6)
    open_method(reviews, IG)

    def late(route: Route) -> None:
        time.sleep(order.choice((0, 0, 0.05, 0.15)))
        route.fallback()

    reviews.route(REQUESTS, late)
    texts = [rows(reviews).nth(place).aria_snapshot() for place in range(12)]
    place = 0
    for _ in range(60):
        place = order.choice([other for other in range(12) if other != place])  # twice: unselected
        rows(reviews).nth(place).click()
        if order.random() < 0.3:
            explain_class_unwaited(reviews, order.choice(("POSITIVE", "NEGATIVE")))
        if order.random() < 0.3:
            reviews.wait_for_timeout(order.choice((50, 300)))
        for text in reviews.locator("salience-map-module .explained .text").all_inner_texts():
            assert users(text) in texts[place]
    expect(shown(reviews, IG)).not_to_have_count(0)
    text = method(reviews, IG).locator(".text").inner_text()
    assert users(text) in texts[place]
    selected = reviews.locator("salience-map-module select").nth(1).input_value()
    says(reviews, IG, f"Why {selected}?")
    says(reviews, GRADIENT, f"Why {selected}?")


def test_each_question_is_asked_once(reviews):
    """LIT 1.3.1 asks three times, twice of them before it knows the predicted class."""
    open_method(reviews, IG)
    asked: list[str] = []
    of_row(reviews, IG, lambda route: (asked.append(route.request.post_data), route.continue_()))
    choose(reviews, WARM)
    says(reviews, IG, "Why POSITIVE?")
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(0)
    assert len(asked) == 1
    assert json.loads(asked[0])["config"]["target"]["index"] is not None


def test_examples_that_are_passed_by_are_not_asked_for(reviews):
    open_method(reviews, IG)
    held: list[Route] = []
    of_row(reviews, IG, held.append)
    for place in range(1, 9):
        rows(reviews).nth(place).click()
        says(reviews, GRADIENT, "Why ")
    expect(method(reviews, IG).locator("lit-spinner")).to_have_count(1)
    assert len(held) == 2  # one that nobody needs any more, and one more
    held[0].continue_()
    held[1].continue_()
    for _ in range(600):
        if len(held) == 3:
            break
        reviews.wait_for_timeout(50)
    held[2].continue_()
    text = method(reviews, IG).locator(".text").inner_text()
    assert users(text) in rows(reviews).nth(8).aria_snapshot()
    assert len(held) == 3


def test_without_predictions_rows_are_run_all_the_same(reviews):
    reviews.route("**/get_preds?**", lambda route: route.fulfill(status=500))
    rows(reviews).nth(3).click()
    expect(shown(reviews, GRADIENT)).not_to_have_count(0)
    expect(method(reviews, GRADIENT).locator("lit-spinner")).to_have_count(0)
    expect(error_bar(reviews)).to_contain_text("error")
    reviews.lit_errors.clear()  # nobody in LIT catches this one


def test_a_class_chosen_before_the_prediction_is_there_stays(reviews):
    choose(reviews, WARM)
    held: list[Route] = []
    reviews.route("**/get_preds?**", lambda route: held.append(route))
    rows(reviews).filter(has_text=DULL).first.click()  # which is NEGATIVE
    reviews.wait_for_timeout(300)
    for label in ("NEGATIVE", "POSITIVE"):  # the first one shown is not chosen yet
        explain_class_unwaited(reviews, label)
    says(reviews, GRADIENT, "Why POSITIVE?")
    expect(shown(reviews, GRADIENT)).not_to_have_count(0)
    with reviews.expect_response("**/get_preds?**"):
        for route in held:
            route.continue_()
    reviews.wait_for_timeout(500)
    says(reviews, GRADIENT, "Why POSITIVE?")


def explain_class_unwaited(page: Page, label: str) -> None:
    page.locator("salience-map-module select").nth(1).select_option(label)


def test_rows_of_lits_own_have_colours_below_zero(reviews):
    chips = {"tokens": ["A", "dull", "mess"], "salience": [0.5, -1, 0]}
    for title in ("LIME", "Grad L2 Norm"):  # signed, and not
        of_row(reviews, title, lambda route: route.fulfill(json=[{"text": chips}]))
    choose(reviews, WARM)
    method(reviews, "LIME").get_by_text("expand_more").last.click()
    for title in ("LIME", "Grad L2 Norm"):
        expect(shown(reviews, title)).to_have_count(3)
        strong, strongest, none = colours(reviews, title)
        assert strongest == rgb(palette.shade(palette.LIGHT, "against", 1)), title
        assert none == rgb(palette.LIGHT.page)
        levels = [rgb(palette.shade(palette.LIGHT, "for", n / 20)) for n in range(10, 21)]
        assert strong in levels  # LIT's gamma counts
    method(reviews, "LIME").evaluate("one => one.scrollIntoView()")
    keep(reviews, "salience-maps-lits-own")


def test_labels_that_are_independent_have_a_row_each(reviews, ready):
    label = "<img src=x onerror=alert(1)>"
    model = classifier((label, "b"), "multi_label_classification")
    member = build.lit_models("tiny", ready(model), kinds.profile_of_loaded(model, "tiny"), "")[
        "tiny"
    ]
    data = lit_dataset.Dataset({}, [{"text": DULL}])
    [made] = interpreters()[GRADIENT].run([{"text": DULL}], member, data, None, None)
    answer = json.loads(serialize.to_json([made], simple=True))
    of_row(reviews, GRADIENT, lambda route: route.fulfill(json=answer))
    choose(reviews, WARM)
    expect(method(reviews, GRADIENT).locator(".row")).to_have_count(2)
    assert method(reviews, GRADIENT).locator(".name").all_inner_texts() == [label, "b"]
    largest = max(
        abs(score) for name in (label, "b") for _, score in parts(reviews, GRADIENT, name) if score
    )
    legend = method(reviews, GRADIENT).locator(".legend").inner_text()
    assert f"{largest:.3g}" in legend
    keep(reviews, "salience-maps-labels")
