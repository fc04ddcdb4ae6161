"""How far two methods, or two models, rank the same parts of the same text alike."""

from __future__ import annotations

import heapq
import itertools
from array import array
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import blake2b

import numpy as np

from lit_plugins.report.reading import Case, Reading

FEWEST = 3  # parts; the rank correlation of two is 1 or -1 whatever they are
WORST = 3  # inputs shown, of the lowest correlations
HELD = 32_000_000  # bytes, about, of what waits for another run's explanation


@dataclass(frozen=True)
class Grid:
    """A case's scores with the places of their parts, small enough to be kept.

    Attributes:
        text: The user's own text.
        digest: Of its visible characters.
        starts, stops: Of the parts, in visible characters, in order, none empty.
        scores: (parts,).

    """

    text: str
    digest: bytes
    starts: np.ndarray
    stops: np.ndarray
    scores: np.ndarray


def grid(reading: Reading, case: Case) -> Grid:
    """Parts that can be seen; what white space has goes to the part before it."""
    starts, stops = reading.extents()
    scores = case.scores
    seen = stops > starts
    if not seen.all() and seen.any():
        owner = np.maximum(np.cumsum(seen) - 1, 0)
        scores = np.bincount(owner, scores, int(seen.sum()))
        starts, stops = starts[seen], stops[seen]
    elif not seen.any():
        starts, stops, scores = starts[:0], stops[:0], scores[:0]
    visible = "".join(reading.text.split())
    digest = blake2b(visible.encode(errors="surrogatepass"), digest_size=16).digest()
    return Grid(
        reading.text, digest, starts.astype(np.int32), stops.astype(np.int32), np.asarray(scores)
    )


def common(one: Grid, other: Grid) -> tuple[np.ndarray, np.ndarray, list[tuple[int, int]]]:
    """Scores of the smallest parts that both have: (parts,) twice, and where those are.

    Where one has tokens and the other words, tokens are summed to words. What only one of them
    scores is left out.
    """
    if np.array_equal(one.starts, other.starts) and np.array_equal(one.stops, other.stops):
        spans = list(zip(one.starts.tolist(), one.stops.tolist(), strict=True))
        return one.scores, other.scores, spans
    first = list(zip(one.starts.tolist(), one.stops.tolist(), one.scores.tolist(), strict=True))
    second = list(
        zip(other.starts.tolist(), other.stops.tolist(), other.scores.tolist(), strict=True)
    )
    found: list[tuple[float, float, int, int]] = []
    i = j = 0
    while i < len(first) and j < len(second):
        if first[i][1] <= second[j][0]:
            i += 1
            continue
        if second[j][1] <= first[i][0]:
            j += 1
            continue
        start = min(first[i][0], second[j][0])
        (_, here, left), (_, there, right) = first[i], second[j]
        i, j = i + 1, j + 1
        while True:
            if here < there and i < len(first) and first[i][0] < there:
                left, here, i = left + first[i][2], first[i][1], i + 1
            elif there < here and j < len(second) and second[j][0] < here:
                right, there, j = right + second[j][2], second[j][1], j + 1
            else:
                break
        found.append((left, right, start, max(here, there)))
    return (
        np.array([row[0] for row in found]),
        np.array([row[1] for row in found]),
        [row[2:] for row in found],
    )


def spearman(one: np.ndarray, other: np.ndarray) -> float | None:
    """Spearman's rank correlation; ties have their mean rank.

    None if there are fewer than FEWEST parts, or all scores of one side are the same.
    """
    if len(one) < FEWEST:
        return None
    a, b = (_centred_ranks(values) for values in (one, other))
    size = float(np.sqrt((a @ a) * (b @ b)))
    return None if size == 0 else float(np.clip(a @ b / size, -1, 1))


def _centred_ranks(values: np.ndarray) -> np.ndarray:
    _, group, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks = (last - (counts - 1) / 2)[group]
    return ranks - ranks.mean()


@dataclass(frozen=True)
class Compared:
    """The same input and target, explained twice: common parts and both scores of each."""

    correlation: float
    target: str
    record: str
    text: str
    spans: list[tuple[int, int]]
    scores: tuple[np.ndarray, np.ndarray]


@dataclass
class Pair:
    """What is known of two runs.

    Attributes:
        correlations: One an input and target.
        same_top: How often the part of the largest absolute score is the same.
        undefined: How often there are too few parts, or scores that are all the same.
        mismatched: How often the texts differ, as two tokenizers show them.
        worst: Of the lowest correlations.

    """

    correlations: array[float] = field(default_factory=lambda: array("d"))
    same_top: int = 0
    undefined: int = 0
    mismatched: int = 0
    worst: list[tuple[float, int, Compared]] = field(default_factory=list)
    _order: itertools.count = field(default_factory=itertools.count)

    def add(self, target: str, record: str, one: Grid, other: Grid, signed: bool) -> None:
        """Compare by signed scores, or by absolute ones."""
        if one.digest != other.digest:
            self.mismatched += 1
            return
        a, b, spans = common(one, other)
        ranked = (a, b) if signed else (np.abs(a), np.abs(b))
        found = spearman(*ranked)
        if found is None:
            self.undefined += 1
            return
        self.correlations.append(found)
        self.same_top += int(np.argmax(np.abs(a)) == np.argmax(np.abs(b)))
        # The heap's smallest is what goes first: the highest correlation, then the latest.
        made = Compared(found, target, record, one.text, spans, (a, b))
        heapq.heappush(self.worst, (-found, -next(self._order), made))
        if len(self.worst) > WORST:
            heapq.heappop(self.worst)

    def lowest(self) -> list[Compared]:
        """The lowest correlations, lowest first."""
        return [made for *_, made in sorted(self.worst, key=lambda row: (-row[0], -row[1]))]


@dataclass
class _Waiting:
    grids: dict[int, Grid]
    size: int


class Matcher:
    """Finds explanations of the same input and target by different runs, in any order.

    What waits for its counterpart is bounded: beyond HELD bytes the oldest is let go.
    """

    def __init__(self) -> None:
        self.pairs: dict[tuple[int, int], Pair] = {}
        self.let_go = 0
        self._waiting: OrderedDict[tuple[bytes, str], _Waiting] = OrderedDict()
        self._held = 0

    def add(
        self,
        run: int,
        reading: Reading,
        case: Case,
        record: str,
        comparable: Mapping[int, bool],
    ) -> None:
        """Compare a case of a run with those of others.

        `comparable`: the runs to compare with, and whether by signed scores.
        """
        key = (reading.identity, case.target)
        entry = self._waiting.get(key)
        if entry is not None and run in entry.grids:
            return  # the same input once more
        made = grid(reading, case)
        if entry is None:
            entry = self._waiting[key] = _Waiting({}, 0)
        for other, theirs in entry.grids.items():
            if other not in comparable:
                continue
            ends = (other, run) if other < run else (run, other)
            both = (theirs, made) if other < run else (made, theirs)
            pair = self.pairs.setdefault(ends, Pair())
            pair.add(case.target, record, *both, comparable[other])
        entry.grids[run] = made
        size = len(made.text) + 16 * len(made.scores) + 1000
        entry.size += size
        self._held += size
        while self._held > HELD and len(self._waiting) > 1:
            _, gone = self._waiting.popitem(last=False)
            self._held -= gone.size
            self.let_go += 1
