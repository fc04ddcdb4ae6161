"""What stands on LIT's page of our salience modules, and how it is clicked."""

from __future__ import annotations

import re
from typing import Any

from playwright.sync_api import Frame, Locator, Page, expect

# Milliseconds. The page asks for a generation of every example before it shows one, so on two
# cores a first answer of Gemma takes minutes.
READING = 400_000
COMPUTING = 120_000

# What a module shows, as text and numbers: of each part its text, score (None without) and marks.
READ = """module => [...module.shadowRoot.querySelectorAll('.piece')].map(piece => {
  const said = piece.getAttribute('aria-label');
  const score = said.match(/, (−?[0-9.e+−-]+) [^,]*(, explained)?$/);
  return {
    text: piece.textContent,
    start: Number(piece.dataset.start),
    stop: Number(piece.dataset.stop),
    score: score ? Number(score[1].replaceAll('−', '-')) : null,
    colour: getComputedStyle(piece).backgroundColor,
    target: piece.classList.contains('target'),
    can: piece.classList.contains('can'),
  };
})"""

# White space stands between the parts.
_FROM_ANSWER = """text => {
  const range = document.createRange();
  range.setStartBefore(text.querySelector('.piece.can'));
  range.setEndAfter(text.lastChild);
  return range.toString();
}"""


def rows(where: Page | Frame) -> Locator:
    """Examples in the data table, which LIT fills up with empty rows."""
    return where.locator("lit-data-table tbody tr", has_text=re.compile(r"\w"))


class Salience:
    """The module that colours a text."""

    element = "signed-sequence-salience-module"

    def __init__(self, where: Page | Frame, page: Page | None = None):
        self.page = page or where
        self.root = where.locator(self.element).first
        self.pieces = self.root.locator(".piece")
        self.answer = self.root.locator(".piece.can")
        self.error = self.root.locator(".state.error")
        self.running = self.root.locator("progress")

    def read(self) -> list[dict[str, Any]]:
        """The parts that are seen."""
        return self.root.evaluate(READ)

    def explained_text(self) -> str:
        """The text whose parts may be explained: the model's answer, or the data's target."""
        return self.root.locator(".text").evaluate(_FROM_ANSWER)

    def wait(self) -> None:
        """Until nothing is being computed and there are colours."""
        expect(self.root.locator(".heading")).to_be_visible(timeout=COMPUTING)
        expect(self.running).to_have_count(0, timeout=COMPUTING)

    def ready(self) -> None:
        """Until the text is there, with something to click."""
        expect(self.answer.first).to_be_visible(timeout=READING)

    def unit(self, title: str) -> None:
        """Show parts of another unit."""
        self.root.get_by_role("radiogroup", name="Parts").get_by_text(title, exact=True).click()

    def method(self, title: str) -> None:
        """Choose, and thereby run, a method."""
        self.menu("Method").click()
        self.root.get_by_role("menuitemradio", name=re.compile(f"^{re.escape(title)}")).click()

    def explain_the_datas(self) -> None:
        """Choose the data's own target."""
        self.menu("Explained text").click()
        self.root.get_by_role("group", name="In the data").get_by_role("menuitemradio").click()

    def menu(self, label: str) -> Locator:
        """A menu's button."""
        return self.root.get_by_role("button", name=re.compile(f"^{label}:"))

    def download(self, kind: str) -> str:
        """The content of a file, kept in a temporary folder."""
        self.menu("Take along").click()
        with self.page.expect_download() as info:
            self.root.get_by_role("menuitemradio", name=re.compile(f"^{kind}")).click()
        return str(info.value.path())
