"""A matrix of scores as coloured cells: targets beside parts of the text."""

from __future__ import annotations

from dataclasses import dataclass

from lit_plugins.display import canvas, fonts, wording
from lit_plugins.display.canvas import SOFT, Canvas
from lit_plugins.display.view import View

ACROSS = 12  # parts that are columns; of more, the shorter side is
MOST_ROWS, MOST_COLUMNS = 400, 60
CELL, NARROW, WIDE = 17.0, 15.0, 62.0  # height, least and largest width, in points
SIZE, NUMBER = 9.0, 7.5
LONGEST = 20  # characters of a label


@dataclass(frozen=True)
class Grid:
    """Scores (rows, columns), and what both are called."""

    rows: list[str]
    columns: list[str]
    scores: list[list[float]]
    left_out: str

    @property
    def beside(self) -> float:
        """Width of the rows' names, and their distance from the cells."""
        return _widest(self.rows) + 8

    @property
    def above(self) -> float:
        """Height of the columns' names where they are turned; they reach as far to the right."""
        return 0.75 * _widest(self.columns)

    def cell(self, room: float) -> float:
        """Width of a cell, where there is room for so much."""
        count = max(1, len(self.columns))
        fitting = min((room - self.beside) / count, WIDE)
        if _widest(self.columns) >= fitting - 2:
            fitting = min((room - self.beside - self.above) / count, WIDE)
        return max(fitting, NARROW)

    @property
    def least(self) -> float:
        """The width that it needs."""
        return self.beside + NARROW * len(self.columns) + self.above


def grid(view: View) -> Grid:
    """The matrix, turned so that it is easy to read, and cut where it is too large for paper."""
    parts = [_label(view.parts[place].text) for place in view.scored]
    names = [_label(row.name) for row in view.rows]
    scores = [[row.pieces[place].score or 0.0 for place in view.scored] for row in view.rows]
    rows, columns = names, parts
    if len(parts) > ACROSS and len(parts) >= len(names):
        rows, columns = parts, names
        scores = [[line[place] for line in scores] for place in range(len(parts))]
    cut = len(rows) > MOST_ROWS or len(columns) > MOST_COLUMNS
    left_out = f"Of {len(parts)} parts and {len(names)} targets, the first." if cut else ""
    return Grid(
        rows[:MOST_ROWS],
        columns[:MOST_COLUMNS],
        [line[:MOST_COLUMNS] for line in scores[:MOST_ROWS]],
        left_out,
    )


def draw(sheet: Canvas, shown: Grid, view: View, x: float, y: float) -> float:
    """Draw it at x, below y; returns the y below it."""
    cell = shown.cell(sheet.width - 2 * x)
    left = x + shown.beside
    y = _draw_columns(sheet, shown, left, y, cell)
    for name, line in zip(shown.rows, shown.scores, strict=True):
        sheet.text(left - 6, y + 0.7 * CELL, name, SIZE, align="right")
        for number, score in enumerate(line):
            at = left + number * cell
            sheet.box(at + 0.5, y + 0.5, cell - 1, CELL - 1, view.scale.colour(score))
            written = wording.number(score, view.scale.signed)
            if canvas.width(written, NUMBER) < cell - 3:
                sheet.text(at + cell / 2, y + 0.68 * CELL, written, NUMBER, align="center")
        y += CELL
    if shown.left_out:
        y += CELL
        sheet.text(x, y, shown.left_out, NUMBER, SOFT)
    return y


def _draw_columns(sheet: Canvas, shown: Grid, x: float, y: float, cell: float) -> float:
    """Names above the columns, turned where they do not fit; returns the y below them."""
    level = _widest(shown.columns) < cell - 2
    y += 14.0 if level else 8 + shown.above
    for number, name in enumerate(shown.columns):
        middle = x + (number + 0.5) * cell
        if level:
            sheet.text(middle, y, name, SIZE, align="center")
        else:
            sheet.text(middle + 2, y, name, SIZE, turned=45)
    return y + 5


def _widest(names: list[str]) -> float:
    return max((canvas.width(one, SIZE) for one in names), default=0.0)


def _label(text: str) -> str:
    return fonts.drawable(wording.cut(wording.visible(text), LONGEST))
