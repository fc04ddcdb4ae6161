"""The session of the README, in a real browser on real weights: what a user sees and clicks."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import OUTPUT, Server, running
from .debugging import Hands, Keyboard, Mouse, debug, explain_both
from .salience import READING, Salience, rows

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

LOADING = 240_000  # milliseconds
SALIENCE = 120_000
CONTRADICTION = "You have to try it."
WHITE, NONE = "rgb(255, 255, 255)", "rgba(0, 0, 0, 0)"


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


def error_bar(page: Page) -> Locator:
    return page.locator("lit-app-statusbar .status-info div.error")


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


@pytest.mark.parametrize("kind", [Mouse, Keyboard])
def test_prompt_debugging(demo, page, kind):
    """See a strange answer, find what caused it, mend that, look again, compare."""
    page.goto(f"{demo.url}?models=gemma3&dataset=menu_advice&layout=prompt_left_right")
    expect(rows(page)).to_have_count(6)
    hands: Hands = kind(page, page)
    name = kind.__name__.lower()
    before, after = debug(
        hands,
        lambda prompt: prompt.replace(CONTRADICTION, "Avoid it.", 1),
        lambda step: keep(page, f"session-{name}-{step}"),
        found=lambda parts: is_planted(parts, "You have to try it."),
    )
    assert CONTRADICTION in before
    assert "Avoid it." in after
    compare = page.locator("salience-compare-module")
    expect(compare.locator("del").first).to_contain_text(re.compile("You|have|try"))
    expect(compare.locator("ins").first).to_contain_text(re.compile("Avoid"))
    explain_both(hands)
    keep(page, f"session-{name}-compare")


def is_planted(parts: list[dict], answer: str) -> None:
    """The planted contradiction stands out: this is what the session is there to find."""
    before = [one for one in parts if one["score"] is not None and not one["can"]]
    strongest = max(before, key=lambda one: one["score"])
    wanted = f"Recommendation: {answer}"
    assert strongest["text"].strip() == wanted
    same = [one for one in parts if one["text"].strip() == wanted]
    assert strongest is same[0], "the first of them, in the example with the contradiction"


def test_chat_template_is_shown(demo, page):
    page.goto(f"{demo.url}?models=smollm2&dataset=chat&layout=prompt_left_right")
    rows(page).first.click()
    salience = Salience(page)
    salience.ready()
    answer = salience.explained_text().strip()
    assert answer
    salience.unit("Lines")
    shown = salience.root.locator(".text").inner_text()
    for part in ("<|im_start|>system", "<|im_start|>user", "<|im_end|>", "<|im_start|>assistant"):
        assert part in shown
    assert shown.rstrip().endswith(answer.splitlines()[-1].strip())

    salience.answer.last.click()
    salience.wait()
    parts = salience.read()
    [prompt] = [one for one in parts if "Name three animals that live in the sea." in one["text"]]
    assert prompt["colour"] != WHITE
    assert parts[-1]["target"]
    assert parts[-1]["colour"] in (WHITE, NONE), "the target does not explain itself"
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
    expect(cheap).to_contain_text("nats, each word", timeout=READING)
    expect(cheap).to_contain_text("Why “")
    colours = cheap.locator(".piece").evaluate_all(
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
