"""How the page is served: its policy, behind a proxy, and with fonts and icons of its own."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from lit_nlp.api import layout as lit_layout
from playwright.sync_api import Page, expect

from lit_plugins import layouts, resources

from .conftest import OUTPUT, Server, running
from .proxy import proxied

pytestmark = [pytest.mark.browser, pytest.mark.packaged]

LOADING = 240_000  # milliseconds
# Which model shows most of a layout; LIT's own layouts are for all.
MODELS = {
    "classification": "sentiment",
    "pairs_and_answers": "qa",
    "tagging": "ner",
    **dict.fromkeys(lit_layout.DEFAULT_LAYOUTS, "sentiment"),
}
STRICTER = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "font-src 'self'; connect-src 'self'"
)
LISTEN = """
window.violations = [];
document.addEventListener('securitypolicyviolation', (event) =>
  window.violations.push(`${event.effectiveDirective}: ${event.blockedURI} at ${
    event.sourceFile}:${event.lineNumber}:${event.columnNumber}`));
"""
# All elements of the page, those in shadow roots too.
ALL = """
function* all(root) {
  for (const element of root.querySelectorAll('*')) {
    yield element;
    if (element.shadowRoot) yield* all(element.shadowRoot);
  }
}
"""
ICONS = (
    "() => {"
    + ALL
    + """
  const icons = [];
  for (const element of all(document)) {
    const style = getComputedStyle(element);
    const texts = [...element.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    const slotted = element.localName === 'slot' ?
        element.assignedNodes().filter((node) => node.nodeType === 3 && node.data.trim()) : [];
    if (!style.fontFamily.includes('Material Icons')) continue;
    for (const text of [...texts, ...slotted]) {
      const range = document.createRange();
      range.selectNodeContents(text);
      const {width} = range.getBoundingClientRect();
      if (!width || !element.checkVisibility({visibilityProperty: true})) continue;
      icons.push({
        name: text.data.trim(), family: style.fontFamily, ems: width / parseFloat(style.fontSize),
        loaded: document.fonts.check(`${style.fontSize} ${style.fontFamily}`, text.data.trim()),
      });
    }
  }
  return icons;
}"""
)
# What LIT means to be an icon, whatever font it has got.
MEANT = (
    "() => {"
    + ALL
    + """
  return [...all(document)]
    .filter((one) => one.matches('mwc-icon, [class*=material-icon]'))
    .filter((one) => one.textContent.trim() && one.checkVisibility({visibilityProperty: true}))
    .map((one) => [one.textContent.trim(), getComputedStyle(one).fontFamily]);
}"""
)


@pytest.fixture(scope="module", autouse=True)
def screenshots() -> None:
    (OUTPUT / "screenshots").mkdir(parents=True, exist_ok=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with running(
        "serving",
        "--models=sentiment=hf:packaged:sentiment?gradients=on",
        "--models=ner=hf:packaged:pii-ner",
        "--models=qa=hf:packaged:tiny-qa",
        "--models=smollm2=hf:packaged:smollm2-135m-instruct?max_new_tokens=4",
        "--max_examples=6",
    ) as server:
        yield server


def open_layout(page: Page, url: str, layout: str) -> None:
    page.goto(f"{url}?models={MODELS.get(layout, 'smollm2')}&layout={layout}")
    expect(page.locator("lit-modules lit-widget").first).to_be_visible(timeout=LOADING)


def walk(page: Page) -> Iterator[str]:
    """Open every tab, with an example selected; yield the tab's name."""
    rows = page.locator("lit-data-table tbody tr:visible")
    tabs = page.locator("lit-modules .tab")
    for number in range(tabs.count()):
        tabs.nth(number).click()
        page.wait_for_timeout(600)  # a violation may come with what the tab asks for
        if rows.count() and number == 0:
            rows.first.click()
        yield tabs.nth(number).inner_text()


def violations(page: Page) -> list[str]:
    return page.evaluate("window.violations")


@pytest.mark.parametrize(
    "layout", [*layouts.load([resources.folder("layouts")]), *lit_layout.DEFAULT_LAYOUTS]
)
def test_no_layout_breaks_the_policy(page, server, layout):
    page.add_init_script(LISTEN)
    with page.expect_response(lambda response: response.url.startswith(server.url)) as info:
        open_layout(page, server.url, layout)
    policy = info.value.headers["content-security-policy"]
    assert policy.count("script-src 'self' 'unsafe-eval';") == policy.count("script-src") == 1
    assert policy.count("'unsafe-inline'") == policy.count("style-src-attr 'unsafe-inline'") == 1
    assert "frame-ancestors 'self'" in policy
    for tab in walk(page):
        assert violations(page) == [], tab
    page.screenshot(path=OUTPUT / "screenshots" / f"serving-{layout}.png")


def test_the_policy_is_in_force(page, server):
    page.add_init_script(LISTEN)
    open_layout(page, server.url, "classification")
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=alert(1)>')")
    page.evaluate(
        "document.body.append(Object.assign(document.createElement('script'), {text: 'hit = 1'}))"
    )
    page.wait_for_function("() => window.violations.length >= 2")
    assert {line.split(":")[0] for line in violations(page)} == {
        "script-src-attr",
        "script-src-elem",
    }
    assert page.evaluate("typeof hit") == "undefined"


@pytest.mark.parametrize("headers", [{}, {"Content-Security-Policy": STRICTER}])
def test_behind_a_path_prefix(page, server, headers):
    page.add_init_script(LISTEN)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    with proxied(server.url, "/some/prefix", headers) as proxy:
        open_layout(page, proxy.url, "classification")
        for _ in walk(page):
            pass
        chips = page.locator("salience-map-module .piece")
        page.locator("lit-modules .tab", has_text="Salience").click()
        expect(chips.first).to_be_visible(timeout=LOADING)
        colours = chips.evaluate_all(
            "all => all.map((one) => getComputedStyle(one).backgroundColor)"
        )
        assert len(set(colours)) > 3
        assert page.evaluate("getComputedStyle(document.body).margin") == "0px"
        page.screenshot(
            path=OUTPUT / "screenshots" / f"serving-prefix-{'strict' if headers else 'own'}.png"
        )
        page.locator("lit-modules .tab", has_text="Predictions").click()
        expect(page.get_by_text("Scores", exact=True)).to_have_count(0 if headers else 1)
        page.goto("about:blank")  # before the proxy goes
    paths = [url for url in asked if not url.startswith(("data:", "blob:", "about:"))]
    assert [url for url in paths if not url.startswith(proxy.url)] == []
    assert proxy.outside == []
    for needed in ("lit_plugins/client/main.js", "lit_plugins/page.css", "get_info"):
        assert any(url.startswith(proxy.url + needed) for url in paths), needed


@pytest.mark.parametrize("layout", ["classification", "prompt_three_panel", "simple"])
def test_icons_are_icons(page, server, layout):
    open_layout(page, server.url, layout)
    names: set[str] = set()
    outlined: set[str] = set()
    for tab in walk(page):
        for name, family in page.evaluate(MEANT):
            assert "Material Icons" in family, (tab, name, family)
        page.evaluate("document.fonts.ready.then(() => null)")
        icons: list[dict[str, Any]] = page.evaluate(ICONS)
        for icon in icons:
            assert icon["loaded"], (tab, icon)
            assert 0.9 < icon["ems"] < 1.1, (tab, icon)  # one glyph: a word is several wide
            (outlined if "Outlined" in icon["family"] else names).add(icon["name"])
    assert {"drag_handle", "expand_more", "settings"} <= names
    assert {"file_copy", "palette", "smart_toy"} <= outlined
