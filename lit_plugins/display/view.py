"""What is shown of an Explanation, whoever draws it: pages, pictures, reports."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lit_plugins.attribution.explanation import Explanation, Part
from lit_plugins.attribution.methods import METHODS
from lit_plugins.display import scripts, wording
from lit_plugins.display.colours import Scale

STRONGEST = 6
MOST_COLUMNS, WIDEST = 10, 90  # parts, and characters, of a matrix that is a table
# Options that the heading and the number explained say already.
_ELSEWHERE = frozenset(("output", "each", "foil", "runner_up"))


Form = Literal["text", "table", "rows"]
Key = Literal["target", "aside", "plain"]
KEYS: dict[Key, tuple[str, str]] = {
    "target": ("Framed", "what is explained"),
    "aside": ("Small", "special tokens and template"),
    "plain": ("No colour", "no score, or nearly 0"),
}


@dataclass(frozen=True)
class Piece:
    """A Part as it is drawn: white space around it has no colour.

    Attributes:
        before, text, after: Put together, the part's text.
        score: Its score in this row; None if it has none.
        own: Whether it is the user's own text.
        target: Whether it is what this row explains.

    """

    before: str
    text: str
    after: str
    score: float | None
    own: bool
    target: bool


@dataclass(frozen=True)
class Row:
    """The whole text with the scores for one target.

    Attributes:
        name: The target's; empty where one row is for all of them.
        value: The number explained.
        scale: What its colours mean.
        pieces: The text.

    """

    name: str
    value: str
    scale: Scale
    pieces: list[Piece]


@dataclass(frozen=True)
class View:
    """An Explanation, ready to be drawn.

    Attributes:
        heading: The question that it answers.
        about: By what, of what: a line below the heading.
        facts: How it was computed: what, and its value.
        warnings: What to beware of.
        scale: What colours mean that all rows share.
        units: Of a score.
        parts: The text's parts; those without a score that follow each other are one.
        rows: One for all targets together, or one a target with `each`.
        form: How it is best shown on a page: one text, a table (a matrix of few parts), or one text
            a target, each with colours to its own largest score.
        strongest: The parts of the largest absolute scores, largest first; none with `each`.

    """

    heading: str
    about: list[str]
    facts: list[tuple[str, str]]
    warnings: tuple[str, ...]
    scale: Scale
    units: str
    parts: list[Part]
    rows: list[Row]
    form: Form
    strongest: list[Piece]

    @property
    def scored(self) -> list[int]:
        """Places of the parts that have a score."""
        return [place for place, part in enumerate(self.parts) if part.score is not None]

    @property
    def from_right(self) -> bool:
        """Whether the user's own text is read from the right."""
        return scripts.from_right(part.text for part in self.parts if part.own)

    @property
    def keys(self) -> list[Key]:
        """What marks other than colours mean, of those that are there."""
        if self.form == "table":
            return []
        there: dict[Key, bool] = {
            "target": any(part.target for part in self.parts),
            "aside": any(not part.own and not part.target for part in self.parts),
            "plain": any(part.score is None and part.own for part in self.parts),
        }
        return [key for key, here in there.items() if here]


def view(explanation: Explanation, most_rows: int | None = None) -> View:
    """All that is drawn; of many targets with `each`, the first `most_rows`."""
    parts = _together(explanation.parts())
    scale = Scale.of(explanation.scores, explanation.signed)
    form = _form(explanation, parts)
    rows = list(_rows(explanation, parts, None if form == "rows" else scale, most_rows))
    return View(
        heading=wording.heading(explanation),
        about=_about(explanation),
        facts=_facts(explanation),
        warnings=explanation.warnings,
        scale=scale,
        units=explanation.units,
        parts=parts,
        rows=rows,
        form=form,
        strongest=_strongest(rows[0].pieces) if form == "text" else [],
    )


def card(explanation: Explanation) -> dict[str, Any]:
    """What LIT's page shows beside an explanation, in words: a View's, without what is drawn."""
    return {
        "heading": wording.heading(explanation),
        "about": _about(explanation),
        "facts": [list(fact) for fact in _facts(explanation)],
        "warnings": list(explanation.warnings),
    }


def _about(explanation: Explanation) -> list[str]:
    one = explanation
    row = METHODS.get(one.method)
    amount = "" if one.scores.ndim == 2 else wording.value(one, float(one.value))
    about = [amount, row.title if row else one.method, one.task.replace("-", " "), one.model]
    return [text for text in about if text]


def _together(parts: Sequence[Part]) -> list[Part]:
    """Neighbours without a score as one, if they are of one kind."""
    made: list[Part] = []
    for part in parts:
        last = made[-1] if made else None
        kind = (part.score is None, part.own, part.target)
        if last and part.score is None and kind == (last.score is None, last.own, last.target):
            made[-1] = replace(last, text=last.text + part.text, stop=part.stop)
        else:
            made.append(part)
    return made


def _form(explanation: Explanation, parts: Sequence[Part]) -> Form:
    if explanation.scores.ndim == 1:
        return "text"
    texts = [part.text for part in parts if part.score is not None]
    few = 0 < len(texts) <= MOST_COLUMNS and sum(map(len, texts)) <= WIDEST
    return "table" if few else "rows"


def _rows(
    explanation: Explanation, parts: Sequence[Part], shared: Scale | None, most: int | None
) -> Iterator[Row]:
    """The rows; with colours of their own where no scale is shared."""
    if explanation.scores.ndim == 1:
        amount = wording.value(explanation, float(explanation.value))
        scale = shared or Scale.of(explanation.scores, explanation.signed)
        pieces = [_piece(one, _score(one), one.target) for one in parts]
        yield Row("", amount, scale, pieces)
        return
    for number in range(len(explanation.scores))[:most]:
        name = explanation.names[number] if number < len(explanation.names) else str(number)
        place = explanation.places[number] if number < len(explanation.places) else -1
        pieces = [
            _piece(part, _score(part, number), part.start <= place < part.stop) for part in parts
        ]
        amount = wording.value(explanation, float(explanation.value[number]))
        scale = shared or Scale.of(explanation.scores[number], explanation.signed)
        yield Row(wording.visible(name.replace("▁", " ")), amount, scale, pieces)


def _score(part: Part, row: int = 0) -> float | None:
    return None if part.score is None else float(np.atleast_1d(part.score)[row])


def _piece(part: Part, score: float | None, target: bool) -> Piece:
    text = part.text.strip() or part.text
    before, _, after = part.text.partition(text) if text else ("", "", "")
    return Piece(before, text, after, score, part.own, target)


def _strongest(pieces: Sequence[Piece]) -> list[Piece]:
    scored = [one for one in pieces if one.score]
    return sorted(scored, key=lambda one: -abs(one.score or 0.0))[:STRONGEST]


def _facts(explanation: Explanation) -> list[tuple[str, str]]:
    one = explanation
    facts = [
        ("Model", one.model),
        ("Task", one.task.replace("-", " ")),
        ("Explained", wording.explained(one)),
        ("Method", wording.method(one)),
        *_settings(one),
        *_sums(one),
        ("Passes", f"{one.forward} forward, {one.backward} backward" if one.forward else ""),
        ("Time", wording.duration(one.seconds) if one.seconds else ""),
        ("Versions", ", ".join(f"{name} {number}" for name, number in one.versions.items())),
    ]
    return [(term, value) for term, value in facts if value]


def _settings(explanation: Explanation) -> list[tuple[str, str]]:
    """The options that count, and what the method itself found or chose."""
    asked = explanation.options.model_dump(exclude_defaults=True)
    shown = {key: wording.plain(value) for key, value in asked.items() if key not in _ELSEWHERE}
    for key, value in explanation.notes.items():
        found = wording.plain(value)
        same = shown.get(key, found) == found
        shown[key] = found if same else f"{found} ({shown[key]})"
    return [(key.replace("_", " ").capitalize(), value) for key, value in shown.items()]


def _sums(explanation: Explanation) -> list[tuple[str, str]]:
    """What the scores are parts of; rows have values of their own."""
    one = explanation
    facts = []
    if one.scores.ndim == 1:
        facts.append(("At the input", wording.value(one, float(one.value))))
        if one.baseline_value is not None:
            facts.append(("At the baseline", wording.value(one, float(one.baseline_value))))
        if one.signed:
            facts.append(("Sum of scores", f"{wording.number(one.scores.sum())} {one.units}"))
    if one.convergence_error is not None:
        facts.append(("Convergence error", wording.percent(one.convergence_error)))
    return facts
