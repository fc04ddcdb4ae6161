"""Text with coloured parts, in lines that fit a width."""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lit_plugins.display import canvas, fonts, scripts
from lit_plugins.display.canvas import SOFT, Canvas
from lit_plugins.display.colours import LIGHT, Scale
from lit_plugins.display.view import Piece

SIZE, SMALL = 11.0, 8.5  # of the text, and of special tokens, in points
LINE = 20.0
MOST_LINES = 400
UNDERLINED = 0.15  # of the largest score, from which what speaks against is underlined

_WORD = re.compile(r"\s+|\S+")


@dataclass(frozen=True)
class _Letter:
    """A character, and the piece that it is of; `coloured`: not of the white space around it."""

    text: str
    piece: Piece
    coloured: bool

    @property
    def size(self) -> float:
        return SMALL if _aside(self.piece) else SIZE


def draw(sheet: Canvas, pieces: Sequence[Piece], scale: Scale, x: float, y: float) -> float:
    """Draw the text between x and the same margin at the right; returns the y below it.

    A text of more than MOST_LINES lines ends there, and says so.
    """
    room = sheet.width - 2 * x
    lines = _lines(pieces, room)
    shown = list(itertools.islice(lines, MOST_LINES))
    for letters, right_to_left in shown:
        y += LINE
        _draw_line(sheet, letters, right_to_left, scale, x, y, room)
    if next(lines, None):
        y += LINE
        sheet.text(x, y, "… The text goes on: to_html() shows all of it.", SMALL, SOFT)
    return y


def wrap(text: str, size: float, room: float, bold: bool = False) -> list[str]:
    """Plain text in lines of so many points."""
    lines, line = [], ""
    for word in fonts.drawable(text).split():
        longer = f"{line} {word}".strip()
        if line and canvas.width(longer, size, bold) > room:
            lines.append(line)
            longer = word
        while canvas.width(longer, size, bold) > room and len(longer) > 1:
            fits = next(
                count
                for count in range(len(longer) - 1, 0, -1)
                if count == 1 or canvas.width(longer[:count], size, bold) <= room
            )
            lines.append(longer[:fits])
            longer = longer[fits:]
        line = longer
    return [*lines, line] if line else lines


def _lines(pieces: Sequence[Piece], room: float) -> Iterator[tuple[list[_Letter], bool]]:
    """Lines of letters, and whether they are read from the right."""
    for paragraph in _paragraphs(pieces):
        right = scripts.from_right(letter.text for letter in paragraph if letter.piece.own)
        for line in _broken(paragraph, room):
            yield line, right


def _paragraphs(pieces: Sequence[Piece]) -> Iterator[list[_Letter]]:
    letters: list[_Letter] = []
    for piece in pieces:
        if letters and _aside(letters[-1].piece) != _aside(piece):
            letters.append(_Letter(" ", piece, False))
        for coloured, text in ((False, piece.before), (True, piece.text), (False, piece.after)):
            if coloured and piece.score is not None and not text.strip():
                text = "↵" + text if "\n" in text else text or "·"
            for character in fonts.drawable(text.replace("\t", "    ")):
                if character == "\n":
                    yield letters
                    letters = []
                else:
                    letters.append(_Letter(character, piece, coloured))
    if letters:
        yield letters


def _aside(piece: Piece) -> bool:
    return not piece.own and not piece.target


def _broken(letters: list[_Letter], room: float) -> Iterator[list[_Letter]]:
    """Lines that fit, broken at spaces; within words that are too long, and East Asian text."""
    line: list[_Letter] = []
    used = 0.0
    for word in _words(letters):
        wide = _width(word)
        if line and used + wide > room and not word[0].text.isspace():
            yield line
            line, used = [], 0.0
        if wide <= room:
            line, used = line + word, used + wide
            continue
        for letter in word:
            wide = _width([letter])
            if line and used + wide > room:
                yield line
                line, used = [], 0.0
            line.append(letter)
            used += wide
    yield line


def _words(letters: list[_Letter]) -> Iterator[list[_Letter]]:
    text = "".join(letter.text for letter in letters)
    for match in _WORD.finditer(text):
        start = match.start()
        for place in range(match.start(), match.end()):
            if unicodedata.east_asian_width(text[place]) in "WF":
                yield letters[start : place + 1]
                start = place + 1
        if start < match.end():
            yield letters[start : match.end()]


def _width(letters: Sequence[_Letter]) -> float:
    """Of letters that may have different sizes."""
    return sum(
        canvas.width("".join(letter.text for letter in run), size)
        for size, run in itertools.groupby(letters, lambda letter: letter.size)
    )


def _draw_line(
    sheet: Canvas,
    letters: list[_Letter],
    from_right: bool,
    scale: Scale,
    x: float,
    y: float,
    room: float,
) -> None:
    runs = list(_runs(letters, from_right))
    if from_right:
        x += room - sum(_width(run) for _, run in runs)
        runs.reverse()
    for right, run in runs:
        _draw_run(sheet, run, right, scale, x, y)
        x += _width(run)


def _runs(letters: list[_Letter], from_right: bool) -> Iterator[tuple[bool, list[_Letter]]]:
    """Letters that are read in one direction and have one size, in the order of the text.

    What has no direction goes with its neighbours, if they agree, else with the whole line: a
    part of Unicode's algorithm (UAX 9) that is enough for words and numbers of two scripts.
    """
    sides = [scripts.side(letter.text) for letter in letters]
    whole = "right" if from_right else "left"
    before = list(itertools.accumulate(sides, lambda last, side: side or last, initial=whole))[1:]
    behind = list(
        itertools.accumulate(reversed(sides), lambda last, side: side or last, initial=whole)
    )[:0:-1]
    found = [
        side or (one if one == other else whole)
        for side, one, other in zip(sides, before, behind, strict=True)
    ]
    pairs = zip(found, letters, strict=True)
    for (side, _), run in itertools.groupby(pairs, lambda pair: (pair[0], pair[1].size)):
        yield side == "right", [letter for _, letter in run]


def _draw_run(
    sheet: Canvas, run: list[_Letter], right: bool, scale: Scale, x: float, y: float
) -> None:
    text, size = "".join(letter.text for letter in run), run[0].size
    groups = itertools.groupby(run, lambda letter: (id(letter.piece), letter.coloured))
    parts = [list(group) for _, group in groups]
    widths = [canvas.width("".join(letter.text for letter in part), size) for part in parts]
    whole = canvas.width(text, size)
    # Letters that are joined are narrower than alone.
    share = whole / (sum(widths) or 1.0)
    left = 0.0
    for part, wide in zip(parts, (share * wide for wide in widths), strict=True):
        if part[0].coloured:
            begin = x + whole - left - wide if right else x + left
            _draw_colour(sheet, part[0].piece, scale, begin, y, wide)
        left += wide
    own = run[0].size == SIZE
    sheet.text(x, y, text, size, LIGHT.ink if own or run[0].piece.score is not None else SOFT)


def _draw_colour(
    sheet: Canvas, piece: Piece, scale: Scale, x: float, y: float, wide: float
) -> None:
    top, high = y - 11.2, 15.0
    if piece.score:
        sheet.box(x, top, wide, high, scale.colour(piece.score))
        if scale.direction(piece.score) == "against" and scale.share(piece.score) <= -UNDERLINED:
            sheet.line(x, y + 2.6, wide, LIGHT.ink, dotted=True)
    if piece.target:
        sheet.frame(x - 0.8, top, wide + 1.6, high, LIGHT.ink)
