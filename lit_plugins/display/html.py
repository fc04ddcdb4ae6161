"""Explanations as HTML: a piece for notebooks and reports, a page for a file.

Neither asks for anything over the network nor has a script. Whatever an explanation holds is text:
templates escape it, and nothing is put together as HTML in Python.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.display import colours, wording
from lit_plugins.display.colours import Direction, Scale
from lit_plugins.display.view import KEYS, Piece, View, view

MOST_PIECES = 20_000  # drawn of a matrix
MOST_SCORES, MOST_TARGETS = 1000, 12  # rows and columns of the table of scores

UNDERLINED = 3  # level from which what speaks against is underlined

_CLASSES: dict[Direction, str] = {"for": "lw-f", "against": "lw-a", "much": "lw-m"}


def fragment(explanation: Explanation, *, styled: bool = True, level: int = 3) -> str:
    """A piece of a page that shows one explanation.

    Args:
        explanation: What is shown.
        styled: Whether its style sheet is in it; else the page has `style()`.
        level: Of its heading, for readers that jump from one to the next.

    """
    return _piece(explanation, styled, level, False)


def page(explanations: Iterable[Explanation], title: str | None = None) -> str:
    """One whole file that shows explanations, in light and dark, and prints.

    Args:
        explanations: What is shown, one below the other.
        title: Its heading; None for one that fits.

    """
    shown = list(explanations)
    alone = len(shown) == 1 and title is None
    pieces = [Markup(_piece(one, False, 1 if alone else 2, len(shown) == 1)) for one in shown]
    if title is None:
        title = wording.heading(shown[0]) if alone else f"{len(shown)} explanations"
    template = environment().get_template("page.html.jinja")
    return template.render(title=title, alone=alone, style=style(), fragments=pieces)


@functools.cache
def style() -> Markup:
    """The style sheet of fragments; it touches nothing outside of them."""
    return Markup(environment().get_template("style.css.jinja").render())


@functools.cache
def environment() -> Environment:
    """Templates, which escape all that they are given, with the colours and words of fragments."""
    made = Environment(
        loader=PackageLoader("lit_plugins.display"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalize,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals |= {
        "light": colours.LIGHT,
        "dark": colours.DARK,
        "levels": colours.LEVELS,
        "shade": colours.shade,
        "classes": _CLASSES,
        "tint": tint,
        "look": look,
        "keys": KEYS,
        "exact": wording.exact,
        "number": wording.number,
        "visible": wording.visible,
    }
    return made


def tint(piece: Piece, scale: Scale) -> str:
    """The class of a piece's colour; empty if it is the page's own."""
    level = 0 if piece.score is None else scale.level(piece.score)
    return f"{_CLASSES[scale.direction(level)]}{abs(level)}" if level else ""


def look(piece: Piece, scale: Scale) -> str:
    """The classes of a piece of text, a space before each: its colour, and what else marks it."""
    found = [tint(piece, scale)]
    scored, ends_line = piece.score is not None, (piece.text + piece.after).endswith("\n")
    if piece.score is not None and scale.signed and scale.level(piece.score) <= -UNDERLINED:
        found.append("lw-against")
    if scored and not piece.text.strip():
        found.append("lw-break" if "\n" in piece.text else "" if piece.text else "lw-empty")
    if piece.target:
        found.append("lw-target")
    elif not piece.own and not ends_line:
        found.append("lw-gap")
    return "".join(f" {one}" for one in found if one)


def _finalize(value: object) -> object:
    if isinstance(value, str) and not isinstance(value, Markup):
        return wording.clean(value)
    return value


def _piece(explanation: Explanation, styled: bool, level: int, open_: bool) -> str:
    targets = len(explanation.scores) if explanation.scores.ndim == 2 else 1
    rows = max(1, MOST_PIECES // max(1, len(explanation.tokens)))
    shown = view(explanation, rows)
    places = _largest(explanation, shown)
    template = environment().get_template("fragment.html.jinja")
    return template.render(
        view=shown,
        level=level,
        open=open_,
        left_out=max(0, targets - rows),
        style=style() if styled else "",
        table_places=places,
        table_rows=shown.rows[:MOST_TARGETS],
    )


def _largest(explanation: Explanation, shown: View) -> list[int]:
    """Places of the parts in the table of scores: of very many, those of the largest."""
    places = shown.scored
    if len(places) <= MOST_SCORES:
        return places
    sizes = np.abs(np.atleast_2d(explanation.scores)).max(0)
    kept = np.sort(np.argsort(-sizes, kind="stable")[:MOST_SCORES])
    return [places[place] for place in kept]
