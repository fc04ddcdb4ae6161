"""What a report counts, one explanation at a time: sums and a bounded number of examples."""

from __future__ import annotations

import heapq
import itertools
import math
import random
import re
from array import array
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.report.answers import Judged, Kept
from lit_plugins.report.reading import Case, Reading

BINS = 10
EXAMPLES = 2  # of each word
SAMPLED = 300  # cases of a class whose words the beeswarm shows
FEW = 8  # explanations of a run, up to which all are shown
CONTEXT = 32  # characters on either side of a word in its examples
MOST_WARNINGS = 20  # kinds, of a run
OTHER = "Other warnings."
_NUMBER = re.compile(r"\d[\d.,]*")
MOST_WORDS = 60_000  # of a class; beyond, those seen once are let go


@dataclass(frozen=True, order=True)
class Example:
    """A word where it stands; ordered by absolute score."""

    size: float
    order: int
    score: float = field(compare=False)
    before: str = field(compare=False)
    word: str = field(compare=False)
    after: str = field(compare=False)
    record: str = field(compare=False)


@dataclass(slots=True)
class WordTally:
    """A word over all cases of a class.

    Attributes:
        count: Its occurrences.
        cases: Cases in which it occurs.
        total, absolute: Sum of its scores, and of their absolute values.
        lowest, highest: Of its scores.
        examples: Those of the largest absolute scores, a heap.

    """

    count: int = 0
    cases: int = 0
    total: float = 0.0
    absolute: float = 0.0
    lowest: float = math.inf
    highest: float = -math.inf
    last: int = -1
    examples: list[Example] = field(default_factory=list)

    @property
    def mean(self) -> float:
        """Of its scores, over occurrences."""
        return self.total / self.count


class ClassTally:
    """All cases of one run whose target has one name."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.cases = 0
        self.values = 0.0
        self.occurrences = 0
        self.absolute = 0.0
        self.forgotten = 0
        self.words: dict[str, WordTally] = {}
        self.sampled: list[dict[str, float]] = []
        self._random = random.Random(0)
        self._order = itertools.count()

    @property
    def value(self) -> float:
        """Mean of the score explained."""
        return self.values / self.cases

    def add(self, reading: Reading, case: Case, record: str) -> None:
        """Count a case."""
        scores = reading.word_scores(case).tolist()
        row: dict[str, float] = {}
        for word, score in zip(reading.words, scores, strict=True):
            tally = self.words.get(word.key)
            if tally is None:
                tally = self.words[word.key] = WordTally()
            tally.count += 1
            tally.cases += tally.last != self.cases
            tally.last = self.cases
            tally.total += score
            tally.absolute += abs(score)
            tally.lowest = min(tally.lowest, score)
            tally.highest = max(tally.highest, score)
            self.absolute += abs(score)
            row[word.key] = row.get(word.key, 0.0) + score
            examples, size = tally.examples, abs(score)
            if len(examples) < EXAMPLES or size > examples[0].size:
                example = _example(reading.text, word.start, word.stop, score, record, self._order)
                if len(examples) < EXAMPLES:
                    heapq.heappush(examples, example)
                else:
                    heapq.heapreplace(examples, example)
        self.cases += 1
        self.values += case.value
        self.occurrences += len(scores)
        self._sample(row)
        if len(self.words) > MOST_WORDS:
            self._forget()

    def _sample(self, row: dict[str, float]) -> None:
        """Keep each of all cases with the same probability (algorithm R)."""
        if len(self.sampled) < SAMPLED:
            self.sampled.append(row)
        elif (place := self._random.randrange(self.cases)) < SAMPLED:
            self.sampled[place] = row

    def _forget(self) -> None:
        """Let go of the rarest words, so that memory stays bounded."""
        rarest = 1
        while len(self.words) > MOST_WORDS // 2:
            kept = {key: tally for key, tally in self.words.items() if tally.count > rarest}
            self.forgotten += len(self.words) - len(kept)
            self.words = kept
            rarest *= 2

    def influential(self, minimum: int, count: int, sign: int) -> list[tuple[str, WordTally]]:
        """Words of at least `minimum` occurrences with the largest mean score of that sign."""
        often = [
            (key, tally)
            for key, tally in self.words.items()
            if tally.count >= minimum and sign * tally.mean > 0
        ]
        often.sort(key=lambda row: (-sign * row[1].mean, row[0]))
        return often[:count]

    def heaviest(self, minimum: int) -> list[str]:
        """Words of at least `minimum` occurrences by their share of all absolute scores."""
        often = [(key, tally) for key, tally in self.words.items() if tally.count >= minimum]
        often.sort(key=lambda row: (-row[1].absolute, row[0]))
        return [key for key, _ in often]


def _example(
    text: str, start: int, stop: int, score: float, record: str, order: itertools.count
) -> Example:
    before, after = text[max(0, start - CONTEXT) : start], text[stop : stop + CONTEXT]
    if start > CONTEXT:
        before = "…" + before
    if stop + CONTEXT < len(text):
        after += "…"
    # The first of equals is the one to keep.
    word = text[start:stop]
    word = word if len(word) <= 2 * CONTEXT else word[: 2 * CONTEXT] + "…"
    return Example(abs(score), -next(order), score, before, word, after, record)


class Warnings:
    """Warnings that differ in their numbers alone are one, shown as it came first."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: dict[str, str] = {}

    def add(self, warnings: Iterable[str]) -> None:
        """Count those of one explanation, each kind once."""
        kinds = {_NUMBER.sub("#", text): text for text in warnings}
        for kind, text in kinds.items():
            kind = kind if kind in self.counts or len(self.counts) < MOST_WARNINGS else OTHER
            self.counts[kind] += 1
            self.samples.setdefault(kind, text if kind != OTHER else OTHER)

    def most_common(self) -> list[tuple[str, int]]:
        """A sample of each kind, and how many explanations have it."""
        return [(self.samples[kind], count) for kind, count in self.counts.most_common()]


class Run:
    """All explanations of one model by one method with one set of options.

    Attributes:
        positions: Sum over cases of the share of absolute score in each tenth of the text, (10,).
        special: Sum over cases of the share of absolute score on special tokens, by token.
        judged: Its answers beside gold labels.
        first: The explanations that came first.

    """

    def __init__(self, number: int, model: str, sample: Explanation, keep: int) -> None:
        self.number = number
        self.judged = Judged(keep)
        self.first: list[Kept] = []
        self.model = model
        self.method = sample.method
        self.task = sample.task
        self.signed = sample.signed
        self.units = sample.units
        self.options = sample.options
        self.versions = dict(sample.versions)
        self.label = ""
        self.explanations = 0
        self.classes: dict[str, ClassTally] = {}
        self.warnings = Warnings()
        self.errors: array[float] = array("d")
        self.forward = 0
        self.backward = 0
        self.seconds = 0.0
        self.tokens = 0
        # Where scores are.
        self.placed = 0
        self.positions = np.zeros(BINS)
        self.massless = 0
        self.own_known = 0
        self.special_scored = 0
        self.special_share = 0.0
        self.special_most = 0.0
        self.special: Counter[str] = Counter()

    @property
    def cases(self) -> int:
        """Over all classes."""
        return sum(one.cases for one in self.classes.values())

    def add(self, explanation: Explanation, reading: Reading, record: str) -> None:
        """Count an explanation; what concerns answers, `judged` counts."""
        self.explanations += 1
        self.warnings.add(explanation.warnings)
        self.forward += explanation.forward
        self.backward += explanation.backward
        self.seconds += explanation.seconds
        self.tokens += len(explanation.tokens)
        if explanation.convergence_error is not None:
            self.errors.append(explanation.convergence_error)
        for case in reading.cases:
            tally = self.classes.get(case.target)
            if tally is None:
                tally = self.classes[case.target] = ClassTally(case.target)
            tally.add(reading, case, record)
            self._place(reading, case)

    def _place(self, reading: Reading, case: Case) -> None:
        sizes = np.abs(case.scores)
        mass = float(sizes.sum())
        special = np.abs(case.special)
        everything = mass + float(special.sum())
        if reading.knows_own:
            self.own_known += 1
            if len(special):
                self.special_scored += 1
                if everything > 0:
                    share = float(special.sum()) / everything
                    self.special_share += share
                    self.special_most = max(self.special_most, share)
                    for text, size in zip(reading.special, special.tolist(), strict=True):
                        self.special[text] += size / everything
        if mass == 0:
            self.massless += 1
            return
        edges = np.concatenate([[0.0], np.cumsum(reading.widths())])
        below = np.concatenate([[0.0], np.cumsum(sizes)]) / mass
        cuts = np.linspace(0, edges[-1], BINS + 1)
        self.positions += np.diff(np.interp(cuts, edges, below))
        self.placed += 1
