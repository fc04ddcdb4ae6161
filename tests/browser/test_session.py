"""The session of the README, in a real browser on real weights: what a user sees and clicks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import OUTPUT, Server, running

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

# Milliseconds. The page asks for a generation of every example before it shows one, so on two
# cores a first answer of Gemma takes minutes.
LOADING = 240_000
GENERATION = 400_000
SALIENCE = 120_000
CONTRADICTION = "You have to try it."
WHITE = "rgb(255, 255, 255)"


@pytest.fixture(scope="module", autouse=True)
def screenshots() -> None:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="module")
def demo() -> Iterator[Server]:
    """What `python launch.py` serves."""
    with running("demo") as server:
        yield server


@pytest.fixture(scope="module")
def shared(tmp_path_factory) -> Path:
    """A folder from which clients may load data, in one from which they may not."""
    folder = tmp_path_factory.mktemp("outside") / "shared"
    folder.mkdir()
    lines = [{"prompt": "One, two,", "lesson": "counting"}, {"prompt": "Red, green,"}]
    (folder / "lists.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    (folder.parent / "secret.jsonl").write_text('{"prompt": "Nobody may see this."}', "utf-8")
    return folder


@pytest.fixture(scope="module")
def team(shared, tmp_path_factory) -> Iterator[Server]:
    """A server with folders of somebody's own, and a model that cannot be loaded."""
    layouts = tmp_path_factory.mktemp("layouts")
    (layouts / "our_layout.toml").write_text(
        'description = "As we like it."\n'
        # LIT shows the title of a tab only where there is another one.
        '[left]\n"Our examples" = ["DataTableModule"]\n"Our editor" = ["DatapointEditorModule"]\n'
        '[upper]\n"Our salience" = ["SequenceSalienceModule"]\n'
        "[settings]\nleftWidth = 30\nhideToolbar = true\n",
        "utf-8",
    )
    with running(
        "team",
        "--models=smollm2=hf:packaged:smollm2-135m-instruct?max_new_tokens=8",
        "--models=broken=hf:nobody/no-such-model",
        "--datasets=chat",
        "--load=first_use",
        f"--layouts_dir={layouts}",
        f"--data_folders={shared}",
    ) as server:
        yield server


# ------------------------------------------------------------------- what is on the page


def rows(page: Page) -> Locator:
    # LIT fills the table up with empty rows.
    return page.locator("lit-data-table tbody tr", has_text=re.compile(r"\w"))


def salience(page: Page) -> Locator:
    return page.locator("sequence-salience-module")


def segments(page: Page) -> Locator:
    return salience(page).locator(".salient-token")


def response(page: Page) -> Locator:
    """The model's own answer among the sequences to explain; targets of the dataset stand first."""
    group = salience(page).locator(".interstitial-target-type", has_text="From model (response)")
    return group.locator("xpath=following-sibling::*").locator(".interstitial-target-text")


def error_bar(page: Page) -> Locator:
    return page.locator("lit-app-statusbar .status-info div.error")


def background(segment: Locator) -> str:
    return segment.evaluate("element => getComputedStyle(element).backgroundColor")


def coloured(page: Page) -> list[bool]:
    colours = segments(page).evaluate_all(
        "elements => elements.map(element => getComputedStyle(element).backgroundColor)"
    )
    return [colour != WHITE for colour in colours]


def explain(page: Page, segment: Locator) -> str:
    """Click a segment, wait for its salience, and return what the page says is explained."""
    with page.expect_response(re.compile("_salience&"), timeout=SALIENCE) as info:
        segment.click()
    assert info.value.ok
    explained = salience(page).locator(".module-footer .target-info-line")
    expect(explained.locator(".loading-indicator")).to_have_count(0)
    return explained.inner_text()


def keep(page: Page, name: str) -> None:
    page.mouse.move(0, 0)  # no tooltip in the picture
    page.wait_for_timeout(300)
    page.screenshot(path=OUTPUT / "screenshots" / f"{name}.png")


def configure(page: Page, tab: str) -> Locator:
    page.locator("lit-app-toolbar button#config").click()
    settings = page.locator("lit-global-settings")
    settings.locator("#tabs").get_by_text(tab, exact=True).click()
    return settings


def fill_field(settings: Locator, name: str, value: str) -> None:
    entry = settings.locator(".option-entry", has=settings.page.get_by_text(f"{name}:", exact=True))
    entry.locator("input").fill(value)


# ------------------------------------------------------------------- the default demo


def test_page_says_what_is_loading(demo, page):
    page.goto(demo.url)
    expect(rows(page)).not_to_have_count(0)
    banner = page.locator("#lit-plugins-status")
    expect(banner).to_contain_text(re.compile(r"Loading (smollm2|gemma3) … \d+ s"))
    keep(page, "1-loading")
    expect(banner).to_be_empty(timeout=LOADING)


def test_prompt_debugging(demo, page):
    page.goto(f"{demo.url}?models=gemma3&dataset=menu_advice&layout=prompt_left_right")
    expect(rows(page)).to_have_count(6)
    rows(page).first.click()
    expect(response(page)).to_contain_text(CONTRADICTION, timeout=GENERATION)
    before = response(page).inner_text()
    keep(page, "2-generation")

    response(page).click()
    salience(page).get_by_role("button", name="Sentences").click()
    # The third of them in the prompt's four: two are examples, the last is the answer.
    answer = segments(page).filter(has_text=f"Recommendation: {CONTRADICTION}").nth(2)
    assert CONTRADICTION in explain(page, answer)
    texts = segments(page).all_inner_texts()
    wanted = f"Recommendation: {CONTRADICTION}"
    place, _, target = [at for at, text in enumerate(texts) if text.strip() == wanted]
    flags = coloured(page)
    assert all(flags[: place + 1]), "what comes before the answer is coloured"
    assert not any(flags[target:]), "the answer, and what comes after it, is not"
    # The planted contradiction stands out: this is what the session is there to find.
    weights = (
        segments(page)
        .locator("lit-tooltip")
        .evaluate_all("elements => elements.map(element => Number(element.content))")
    )
    assert weights.index(max(weights)) == place
    segments(page).nth(place).scroll_into_view_if_needed()
    keep(page, "3-salience")

    colour = background(segments(page).nth(place))
    salience(page).get_by_role("button", name="grad_dot_input").click()
    expect(segments(page).nth(place)).not_to_have_css("background-color", colour)
    keep(page, "4-grad-dot-input")

    page.get_by_text("Editor", exact=True).click()
    editor = page.locator("single-datapoint-editor-module")
    prompt = editor.locator("textarea").first
    prompt.fill(prompt.input_value().replace(CONTRADICTION, "Avoid it.", 1))
    editor.get_by_role("button", name="Add", exact=True).click()
    expect(response(page)).to_contain_text("Avoid it.", timeout=GENERATION)
    assert response(page).inner_text() != before
    keep(page, "5-new-generation")

    response(page).click()
    fixed = segments(page).filter(has_text="Recommendation: Avoid it.").nth(2)
    assert "Avoid it." in explain(page, fixed)
    assert any(coloured(page))
    keep(page, "6-salience-again")


def test_chat_template_is_shown(demo, page):
    page.goto(f"{demo.url}?models=smollm2&dataset=chat&layout=prompt_left_right")
    rows(page).first.click()
    expect(response(page)).not_to_be_empty(timeout=GENERATION)
    answer = response(page).inner_text().strip()
    response(page).click()
    salience(page).get_by_role("button", name="Lines").click()
    expect(segments(page)).not_to_have_count(0)
    shown = "".join(segments(page).all_inner_texts())
    for part in ("<|im_start|>system", "<|im_start|>user", "<|im_end|>", "<|im_start|>assistant"):
        assert part in shown
    assert shown.replace(" ", "").endswith(answer.splitlines()[-1].replace(" ", ""))

    explain(page, segments(page).last)
    prompt = segments(page).filter(has_text="Name three animals that live in the sea.")
    assert background(prompt) != WHITE
    assert background(segments(page).last) == WHITE, "the target does not explain itself"
    keep(page, "7-chat")


# ------------------------------------------------------------------- a team's server


def test_layout_of_a_folder_of_ours(team, page):
    page.goto(team.url)
    expect(rows(page)).to_have_count(6)
    settings = configure(page, "Layout")
    line = settings.locator("#config-line-for-our_layout")
    expect(line).to_contain_text("As we like it.")
    line.locator("mwc-radio").click()
    keep(page, "8-layouts")
    settings.get_by_role("button", name="Submit").click()
    expect(page.get_by_text("Our editor", exact=True)).to_be_visible()
    assert "layout=our_layout" in page.url


def test_layout_settings_count(team, page):
    """In plain LIT they do not: it reads them before it has any layout."""
    page.goto(f"{team.url}?layout=our_layout")
    expect(rows(page)).to_have_count(6)
    left = page.locator("#left-column").bounding_box()
    assert left is not None
    assert left["width"] == pytest.approx(0.3 * 1400, rel=0.1)
    expect(page.locator("lit-main-toolbar")).to_have_count(0)


def test_add_a_dataset_of_an_allowed_folder(team, page):
    page.goto(team.url)
    expect(rows(page)).to_have_count(6)
    settings = configure(page, "Dataset")
    fill_field(settings, "new_name", "lists")
    fill_field(settings, "path", "lists.jsonl")
    settings.get_by_role("button", name="Load Dataset").click()
    expect(settings.locator("#config-line-for-lists")).to_contain_text("lists")
    keep(page, "9-datasets")
    settings.get_by_role("button", name="Submit").click()
    expect(rows(page)).to_have_count(2)
    expect(rows(page).first).to_contain_text("counting")


def test_file_elsewhere_is_refused(team, shared, page):
    page.goto(team.url)
    expect(rows(page)).to_have_count(6)
    settings = configure(page, "Dataset")
    for path in (str(shared.parent / "secret.jsonl"), "../secret.jsonl"):
        fill_field(settings, "new_name", "secret")
        fill_field(settings, "path", path)
        settings.get_by_role("button", name="Load Dataset").click()
        expect(error_bar(page)).to_contain_text("There is no dataset file")
        expect(error_bar(page)).to_contain_text("allowed folders")
    expect(settings.locator("#config-line-for-secret")).to_have_count(0)
    keep(page, "10-refused")


def test_methods_in_salience_maps(team, page):
    """Cheap methods run by themselves; any other at a click, and a bad setting is one line."""
    page.goto(f"{team.url}?models=smollm2&dataset=chat")
    expect(rows(page)).to_have_count(6, timeout=LOADING)
    rows(page).first.click()
    page.locator(".tab", has_text="Methods").click()
    cheap = page.locator("[id='gradient x input']")
    expect(cheap).to_contain_text("scores in nats", timeout=GENERATION)
    expect(cheap).to_contain_text("logprob -")
    colours = cheap.locator(".salient-token").evaluate_all(
        "elements => elements.map(element => getComputedStyle(element).backgroundColor)"
    )
    assert len(set(colours)) > 3
    one = page.locator("[id='leave one segment out']")
    one.scroll_into_view_if_needed()
    expect(one).not_to_contain_text("backward passes")  # nothing expensive unasked
    one.get_by_text("expand_more").last.click()
    expect(one).to_contain_text("0 backward passes", timeout=SALIENCE)
    keep(page, "methods")
    with page.expect_response(re.compile("get_interpretations"), timeout=SALIENCE) as info:
        one.get_by_text("settings").click()
        one.locator("lit-interpreter-controls .control-holder", has_text="foil").first.locator(
            "input"
        ).fill("zzz")
        one.locator("lit-interpreter-controls", has_text="explained part").locator(
            ".control-holder", has_text="explained part"
        ).locator("input").fill("elephant")
        one.get_by_role("button", name="Apply").click()
    assert info.value.status == 400
    assert "span 'elephant' is not in the target" in info.value.text()
    expect(error_bar(page)).to_be_visible()
    page.lit_errors.clear()  # LIT leaves it to the browser's console as well


def test_failing_request_is_one_line(team, page):
    page.goto(f"{team.url}?models=broken")
    expect(error_bar(page)).to_contain_text("no-such-model")
    text = error_bar(page).inner_text()
    assert not re.search(r"Unknown error|Traceback|File \"|Details:", text)
    assert "\n" not in text.strip()
    expect(page.locator("#lit-plugins-status .failed")).to_contain_text("no-such-model")
    keep(page, "11-error")
    # LIT throws what it has shown once more, for nobody to catch.
    assert page.lit_errors
    assert all("no-such-model" in error for error in page.lit_errors)
    page.lit_errors.clear()
