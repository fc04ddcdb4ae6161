"""What stands on LIT's page of our heat map, and how it is clicked."""

from __future__ import annotations

import csv
import re
from pathlib import Path

from playwright.sync_api import Locator, Page, expect

from .salience import COMPUTING, READING


class HeatMap:
    """The module that shows a matrix."""

    def __init__(self, page: Page):
        self.page = page
        self.root = page.locator("salience-heat-map-module")
        self.grid = self.root.get_by_role("grid")
        self.explain = self.root.get_by_role("button", name="Explain", exact=True)
        self.offer = self.root.locator(".hint", has_text="computes the whole matrix")
        self.cell = self.root.get_by_role("gridcell")
        self.error = self.root.locator(".state.error")

    def ready(self) -> None:
        """Until it may be computed."""
        expect(self.explain).to_be_enabled(timeout=READING)

    def run(self) -> None:
        """Compute it, and wait for it."""
        self.ready()
        self.explain.click()
        expect(self.grid).to_be_visible(timeout=COMPUTING)

    def menu(self, label: str) -> Locator:
        """A menu's button."""
        return self.root.get_by_role("button", name=re.compile(f"^{label}:"))

    def method(self, title: str) -> None:
        """Choose a method: it does not run."""
        self.menu("Method").click()
        self.root.get_by_role("menuitemradio", name=re.compile(f"^{re.escape(title)}")).click()

    def unit(self, title: str) -> None:
        """Show parts of another unit."""
        self.root.get_by_role("radiogroup", name="Parts").get_by_text(title, exact=True).click()

    def said(self) -> tuple[str, str, str]:
        """What a screen reader says of the keyboard's cell: row, column, score with units."""
        label = self.cell.get_attribute("aria-label") or ""
        found = re.fullmatch(r"“(.*)” by “(.*)”: (.*)", label, re.DOTALL)
        assert found, label
        return found[1], found[2], found[3]

    def download(self, kind: str) -> Path:
        """A file, kept in a temporary folder."""
        self.menu("Take along").click()
        with self.page.expect_download() as info:
            self.root.get_by_role("menuitemradio", name=re.compile(f"^{kind}")).click()
        self.file_name = info.value.suggested_filename
        return info.value.path()

    def table(self) -> tuple[list[str], list[str], list[list[float | None]]]:
        """Names of rows and columns, and scores, of the CSV file."""
        with self.download("CSV").open(encoding="utf-8", newline="") as file:
            [[_, *columns], *lines] = csv.reader(file)
        scores = [[float(one) if one else None for one in line[1:]] for line in lines]
        return [line[0] for line in lines], columns, scores
