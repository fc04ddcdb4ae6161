"""What the model answered, and whether that is what the data says."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.report.reading import TAGS, TEXTS, ZERO_SHOT, Case

UNJUDGED = (TAGS, TEXTS)  # what is explained there is not the whole answer

HELD = 300  # of each model: explanations that wait for the other's
MOST_WAITING = 100_000  # inputs that do
LEAST_SURE = 3  # answers shown, where no gold label is known
DIFFERENT = 5  # inputs shown, of those that two models answer differently
MOST_LABELS = 200  # different ones that are counted by name
OTHERS = "(others)"


@dataclass(frozen=True)
class Said:
    """An answer.

    Attributes:
        answer: The label or text; None if the explanation does not say what the model's is.
        sure: Its probability, where that is known.
        on_trust: Whether nothing but custom says that what is explained is the model's answer.

    """

    answer: str | None
    sure: float | None = None
    on_trust: bool = False


@dataclass(frozen=True)
class Kept:
    """An explanation kept to be shown."""

    explanation: Explanation
    record: str
    identity: bytes
    gold: str | None
    answer: str | None
    sure: float | None


def gold_labels(label: Any) -> tuple[str, ...] | None:
    """What a record's label says: one, or several; None if it says nothing."""
    if label is None or label == "":
        return None
    several = isinstance(label, Iterable) and not isinstance(label, str | bytes)
    found = [str(one) for one in (label if several else [label]) if one is not None and one != ""]
    return tuple(dict.fromkeys(found)) or None


def is_right(answer: str, gold: Iterable[str]) -> bool:
    """Whether the answer is one of these; `not X` is right where X is not."""
    known = {_plain(one) for one in gold}
    plain = _plain(answer)
    return plain in known or (plain.startswith("not ") and plain[4:] not in known)


def _plain(text: str) -> str:
    return " ".join(text.split()).casefold()


def probability(explanation: Explanation, value: float) -> float | None:
    """Of what is explained; None where the score explained does not say."""
    if explanation.foil is not None:
        return None
    if explanation.options.output == "logprob":
        return float(np.exp(min(0.0, value)))
    return value if explanation.options.output == "prob" else None


def said(explanation: Explanation, cases: Iterable[Case], prediction: str | None = None) -> Said:
    """The model's answer, as far as an explanation tells it.

    One label: it is the answer if its probability is at least 1/2, or if a contrast is won. Below,
    it may or may not be, unless a prediction says so. Zero-shot: the label explained is taken for
    the answer. All labels: the one of the highest score, if
    their probabilities sum to 1.
    """
    if explanation.task in UNJUDGED:
        return Said(None)
    found = [(case.answer, case.value) for case in cases if case.answer is not None]
    if prediction is not None:
        sure = [probability(explanation, value) for answer, value in found if answer == prediction]
        return Said(prediction, sure[0] if sure else None)
    if not found:
        return Said(None)
    answer, value = max(found, key=lambda row: row[1])
    sure = probability(explanation, value)
    if len(found) > 1:
        chances = [probability(explanation, one) for _, one in found]
        known = [one for one in chances if one is not None]
        if len(known) == len(found) and abs(sum(known) - 1) > 0.01:
            return Said(None)  # independent labels: none of them is the answer
        return Said(answer, sure, sure is None)
    if explanation.task == ZERO_SHOT:
        # What is explained is that the label is entailed, not that it is the likeliest.
        return Said(answer, None, True)
    if explanation.foil is not None:
        return Said(answer if value >= 0 else None, None, True)
    if sure is None:
        return Said(answer, None, True)
    return Said(answer if sure >= 0.5 else None, sure)


@dataclass
class Judged:
    """Answers of a run beside gold labels.

    Attributes:
        right, wrong: Answers.
        unclear: Explanations with a gold label that do not say what the model's answer is.
        without_gold: Explanations without a gold label.
        on_trust: Of the answers, those that are the model's by custom alone.
        table: How often each gold label met each answer.
        errors: The surest wrong ones, a heap.
        unsure: Without gold labels, the least sure ones, a heap.

    """

    keep: int
    right: int = 0
    wrong: int = 0
    unclear: int = 0
    without_gold: int = 0
    on_trust: int = 0
    table: Counter[tuple[str, str]] = field(default_factory=Counter)
    errors: list[tuple[float, int, Kept]] = field(default_factory=list)
    unsure: list[tuple[float, int, Kept]] = field(default_factory=list)
    _labels: set[str] = field(default_factory=set)
    _order: itertools.count = field(default_factory=itertools.count)

    @property
    def judged(self) -> int:
        """Answers that are right or wrong."""
        return self.right + self.wrong

    def add(self, one: Said, gold: tuple[str, ...] | None, kept: Kept) -> bool | None:
        """Whether the answer is right; None if that cannot be said."""
        if gold is None:
            self.without_gold += 1
            if one.answer is not None and one.sure is not None:
                heapq.heappush(self.unsure, (-one.sure, -next(self._order), kept))
                if len(self.unsure) > LEAST_SURE:
                    heapq.heappop(self.unsure)
            return None
        if one.answer is None:
            self.unclear += 1
            return None
        right = is_right(one.answer, gold)
        self.on_trust += one.on_trust
        self.table[self._name(" or ".join(gold)), self._name(one.answer)] += 1
        if right:
            self.right += 1
            return True
        self.wrong += 1
        # The smallest goes first: the least sure, then the latest.
        heapq.heappush(self.errors, (one.sure or 0.0, -next(self._order), kept))
        if len(self.errors) > self.keep:
            heapq.heappop(self.errors)
        return False

    def surest_errors(self) -> list[Kept]:
        """Wrong answers, those of the highest probability first."""
        return [kept for *_, kept in sorted(self.errors, key=lambda row: (-row[0], -row[1]))]

    def least_sure(self) -> list[Kept]:
        """Answers without a gold label, those of the lowest probability first."""
        return [kept for *_, kept in sorted(self.unsure, key=lambda row: (-row[0], -row[1]))]

    def _name(self, label: str) -> str:
        if label not in self._labels:
            if len(self._labels) >= MOST_LABELS:
                return OTHERS
            self._labels.add(label)
        return label


@dataclass
class Duel:
    """Two models' answers to the same inputs.

    Attributes:
        same, different: Inputs that both answered, by whether alike.
        unclear: Inputs where one answer is not known.
        both, first, second, neither: Of those with a gold label, who was right.
        shown: Inputs with different answers, those of which both models are surest, a heap.

    """

    same: int = 0
    different: int = 0
    unclear: int = 0
    both: int = 0
    first: int = 0
    second: int = 0
    neither: int = 0
    shown: list[tuple[float, int, Kept, Kept]] = field(default_factory=list)
    _order: itertools.count = field(default_factory=itertools.count)

    def add(self, one: _Waits, other: _Waits) -> None:
        """Count an input."""
        if one.answer is None or other.answer is None:
            self.unclear += 1
            return
        same = _plain(one.answer) == _plain(other.answer)
        self.same += same
        self.different += not same
        if one.right is not None and other.right is not None:
            self.both += one.right and other.right
            self.first += one.right and not other.right
            self.second += other.right and not one.right
            self.neither += not (one.right or other.right)
        if not same and one.kept and other.kept:
            sure = min(one.kept.sure or 0.0, other.kept.sure or 0.0)
            heapq.heappush(self.shown, (sure, -next(self._order), one.kept, other.kept))
            if len(self.shown) > DIFFERENT:
                heapq.heappop(self.shown)

    def surest(self) -> list[tuple[Kept, Kept]]:
        """Inputs with different answers, those of which both are surest first."""
        order = sorted(self.shown, key=lambda row: (-row[0], -row[1]))
        return [(one, other) for _, _, one, other in order]


@dataclass
class _Waits:
    answer: str | None
    right: bool | None
    kept: Kept | None


class Duels:
    """Finds answers of different models to the same input, in any order."""

    def __init__(self) -> None:
        self.by_models: dict[tuple[str, str], Duel] = {}
        self._waiting: dict[bytes, dict[str, _Waits]] = {}
        self._held: Counter[str] = Counter()
        self._models: list[str] = []

    def add(self, model: str, answer: str | None, right: bool | None, kept: Kept) -> None:
        """Count an answer; the first of a model to an input is the one that counts."""
        if model not in self._models:
            self._models.append(model)
        entry = self._waiting.get(kept.identity)
        if entry is None:
            if len(self._waiting) >= MOST_WAITING:
                return
            entry = self._waiting[kept.identity] = {}
        if model in entry:
            return
        self._held[model] += 1
        mine = _Waits(answer, right, kept if self._held[model] <= HELD else None)
        for other, theirs in entry.items():
            ends = sorted((other, model), key=self._models.index)
            pair = (theirs, mine) if ends[0] == other else (mine, theirs)
            self.by_models.setdefault((ends[0], ends[1]), Duel()).add(*pair)
        entry[model] = mine
