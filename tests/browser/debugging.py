"""The prompt-debugging session, step by step, wherever LIT's page is: by mouse, and by keyboard."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Frame, Page, expect

from .salience import COMPUTING, READING, Salience, rows

# What has the focus, through all shadow roots.
_FOCUSED = """() => {
  let element = document.activeElement;
  while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
  return [element?.localName, element?.getAttribute('aria-label') ?? '',
          element?.textContent?.trim().replace(/\\s+/g, ' ') ?? ''].join('|');
}"""
MOST_TABS = 150


class Hands:
    """How a person works the page.

    Args:
        page: Whose keyboard and mouse it is.
        where: The page, or the frame in it, that is LIT's.

    """

    def __init__(self, page: Page, where: Page | Frame):
        self.page = page
        self.where = where
        self.salience = Salience(where, page=page)
        self.editor = where.locator("single-datapoint-editor-module")

    def tab(self, title: str) -> None:
        """Open a tab of LIT's."""
        raise NotImplementedError

    def example(self) -> None:
        """Select the first example."""
        raise NotImplementedError

    def unit(self, title: str) -> None:
        """Show parts of another unit."""
        raise NotImplementedError

    def answer(self) -> None:
        """Choose the first part of the answer."""
        raise NotImplementedError

    def method(self, title: str) -> None:
        """Choose a method."""
        raise NotImplementedError

    def edit(self, change: Callable[[str], str]) -> None:
        """Change the prompt in the editor, and add it as an example."""
        raise NotImplementedError

    def press(self, title: str) -> None:
        """Press a button of the module that compares."""
        raise NotImplementedError


class Mouse(Hands):
    """By clicks."""

    def tab(self, title: str) -> None:
        """See Hands."""
        self.where.locator(".tab", has_text=title).first.click()

    def example(self) -> None:
        """See Hands."""
        rows(self.where).first.click()

    def unit(self, title: str) -> None:
        """See Hands."""
        self.salience.unit(title)

    def answer(self) -> None:
        """See Hands."""
        self.salience.answer.first.click()

    def method(self, title: str) -> None:
        """See Hands."""
        self.salience.method(title)

    def edit(self, change: Callable[[str], str]) -> None:
        """See Hands."""
        self.tab("Editor")
        prompt = self.editor.locator("textarea").first
        prompt.fill(change(prompt.input_value()))
        self.editor.get_by_role("button", name="Add", exact=True).click()

    def press(self, title: str) -> None:
        """See Hands."""
        self.where.locator("salience-compare-module").get_by_role("button", name=title).click()


class Keyboard(Hands):
    """By keys alone: the mouse is never moved."""

    def focus(self, kind: str, name: str, back: bool = False) -> None:
        """Press Tab until something is reached that is called so."""
        seen = []
        for _ in range(MOST_TABS):
            focused = self.where.evaluate(_FOCUSED)
            if focused.startswith(f"{kind}|") and name in focused:
                return
            seen.append(focused[:80])
            self.page.keyboard.press("Shift+Tab" if back else "Tab")
        raise AssertionError(f"Tab does not lead to {kind} {name!r}, but to {seen}")

    def tab(self, title: str) -> None:
        """See Hands."""
        self.focus("div", title)
        self.page.keyboard.press("Enter")

    def example(self) -> None:
        """See Hands."""
        self.focus("tr", "")
        self.page.keyboard.press("Enter")

    def unit(self, title: str) -> None:
        """See Hands."""
        self.focus("input", "")
        radio = self.salience.root.get_by_role("radio", name=title)
        for _ in range(8):
            if radio.is_checked():
                return
            self.page.keyboard.press("ArrowRight")
        raise AssertionError(f"The arrows do not lead to {title!r}.")

    def answer(self) -> None:
        """See Hands."""
        self.focus("span", "")
        self.page.keyboard.press("Enter")

    def method(self, title: str) -> None:
        """See Hands."""
        self.focus("button", "Method: ", back=True)
        self.page.keyboard.press("Enter")
        for _ in range(30):
            if title in self.where.evaluate(_FOCUSED):
                break
            self.page.keyboard.press("ArrowDown")
        self.page.keyboard.press("Enter")

    def edit(self, change: Callable[[str], str]) -> None:
        """See Hands."""
        self.focus("div", "Editor", back=True)
        self.page.keyboard.press("Enter")
        self.focus("textarea", "")
        prompt = self.editor.locator("textarea").first
        text = change(prompt.input_value())
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)
        self.focus("button", "Add")
        self.page.keyboard.press("Enter")

    def press(self, title: str) -> None:
        """See Hands."""
        self.focus("button", title)
        self.page.keyboard.press("Enter")


def debug(
    hands: Hands,
    change: Callable[[str], str],
    keep: Callable[[str], None],
    found: Callable[[list[dict]], None] = lambda parts: None,
) -> tuple[str, str]:
    """The whole session: look, find, fix, look again, compare. Returns both answers.

    Args:
        hands: Who does it.
        change: What is done to the prompt.
        keep: Takes a picture, which is called so.
        found: Sees the coloured parts of the first answer.

    """
    salience = hands.salience
    expect(rows(hands.where).first).to_be_visible(timeout=READING)
    hands.example()
    salience.ready()
    before = salience.explained_text()
    keep("answer")
    hands.unit("Sentences")
    hands.answer()
    salience.wait()
    first = salience.read()
    assert any(one["score"] for one in first), "the prompt is coloured"
    assert not any(one["can"] and one["score"] and not one["target"] for one in first)
    found(first)
    keep("salience")
    hands.method("Gradient x input")
    expect(salience.root.locator(".legend")).to_contain_text("against")
    salience.wait()
    second = salience.read()
    assert [one["score"] for one in second] != [one["score"] for one in first]
    assert min(one["score"] for one in second if one["score"] is not None) < 0
    keep("signed")

    hands.edit(change)
    expect(salience.root.locator(".heading")).to_have_count(0)  # nothing of the old one
    salience.ready()
    after = salience.explained_text()
    keep("new-answer")
    hands.answer()
    salience.wait()
    keep("salience-again")
    hands.tab("Compare")
    return before, after


def explain_both(hands: Hands) -> None:
    """In the module that compares: what was explained before is there at once."""
    compare = hands.where.locator("salience-compare-module")
    button = compare.get_by_role("button", name="Explain both")
    expect(button).to_be_visible()
    if button.is_enabled():
        hands.press("Explain both")
    expect(compare.locator("progress")).to_have_count(0, timeout=COMPUTING)
    expect(compare.locator(".legend").first).to_be_visible(timeout=COMPUTING)
