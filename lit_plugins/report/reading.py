"""From an Explanation to what a report counts: words, their scores, their places in the text."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from lit_plugins.attribution.explanation import Explanation

LONGEST_KEY = 200  # characters; longer parts of a text are told apart by no more
SPACE, LINE_BREAK = "(space)", "(line break)"

# Scripts written without spaces: what the tokenizer makes of them are their words here.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
_TAG = re.compile(r"(?:[BILUES]-)?(.+?) of .*", re.DOTALL)
_ANSWER = re.compile(r"(?:start|end) of (.*)", re.DOTALL)

TAGS, ANSWERS, TEXTS = "token-classification", "question-answering", "text-generation"
ZERO_SHOT = "zero-shot"

_NO_TEXT = frozenset(("target", "span", "hypothesis_template"))


@dataclass(frozen=True)
class Word:
    """One occurrence of a word.

    Attributes:
        key: Case-folded, without punctuation around it: what its occurrences have in common.
        start, stop: Its characters in `Reading.text`, `[start, stop)`.
        first, last: Numbers of its pieces, `[first, last)`.

    """

    key: str
    start: int
    stop: int
    first: int
    last: int


@dataclass(frozen=True)
class Case:
    """What is counted once: one target's scores of one input.

    Attributes:
        target: The label, tag or kind of thing that is explained.
        answer: The label or answer as the data would have it; None where there is none.
        scores: Of the pieces of the user's own text, (pieces,).
        special: Of special tokens and templates that have a score, (specials,).
        value: The score explained at the input.

    """

    target: str
    answer: str | None
    scores: np.ndarray
    special: np.ndarray
    value: float


@dataclass(frozen=True)
class Reading:
    """An explained input.

    Attributes:
        text: The user's own text. Texts that a special token separates have ` | ` between them.
        starts, stops: Of the pieces, the parts of it that have a score: characters of `text`.
        words: In the order of the text.
        special: Texts of special tokens and templates that have a score.
        knows_own: Whether it is known which tokens are the user's own.
        cases: One, or one a target where they are explained one by one.
        identity: The same for the same input, whatever model or method.

    """

    text: str
    starts: np.ndarray
    stops: np.ndarray
    words: tuple[Word, ...]
    special: tuple[str, ...]
    knows_own: bool
    cases: tuple[Case, ...]
    identity: bytes

    def word_scores(self, case: Case) -> np.ndarray:
        """The sum of each word's pieces: (words,)."""
        sums = np.concatenate([[0.0], np.cumsum(case.scores)])
        first = np.fromiter((word.first for word in self.words), int, len(self.words))
        last = np.fromiter((word.last for word in self.words), int, len(self.words))
        return sums[last] - sums[first]

    def widths(self) -> np.ndarray:
        """Visible characters of each piece, one at least: (pieces,)."""
        return np.maximum(self._visible(), 1)

    def extents(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each piece begins and ends, counted in visible characters of the text."""
        visible = np.fromiter((not char.isspace() for char in self.text), int, len(self.text))
        before = np.concatenate([[0], np.cumsum(visible)])
        return before[self.starts], before[self.stops]

    def _visible(self) -> np.ndarray:
        begin, end = self.extents()
        return end - begin


def read(explanation: Explanation) -> Reading:
    """What a report needs of an explanation."""
    text, spans, own, other, names = "", [], [], [], []
    apart = False
    number = 0
    for part in explanation.parts():
        scored = part.score is not None
        if part.own:
            if apart and text:
                text += " | "
            apart = False
            if scored:
                spans.append((len(text), len(text) + len(part.text)))
                own.append(number)
            text += part.text
        else:
            apart = True
            if scored:
                names.append(part.text.strip() or part.text)
                other.append(number)
        number += scored
    starts = np.array([start for start, _ in spans], int)
    stops = np.array([stop for _, stop in spans], int)
    return Reading(
        text=text,
        starts=starts,
        stops=stops,
        words=tuple(_words(text, spans)),
        special=tuple(names),
        knows_own=bool(explanation.own),
        cases=tuple(_cases(explanation, own, other)),
        identity=_identity(explanation, text),
    )


def _identity(explanation: Explanation, text: str) -> bytes:
    # Values only, and only texts: another model may call them otherwise, or be told its labels.
    given = [
        value
        for name, value in explanation.inputs.items()
        if isinstance(value, str) and name not in _NO_TEXT
    ]
    content = json.dumps(given) if given else " ".join(text.split())
    return blake2b(content.encode(errors="surrogatepass"), digest_size=16).digest()


# What is explained.


def _cases(explanation: Explanation, own: Sequence[int], other: Sequence[int]) -> list[Case]:
    scores = explanation.scores.astype(float)
    values = np.asarray(explanation.value, float)
    names = explanation.names
    by_target = scores.ndim == 2 and explanation.task != TEXTS and len(names) == len(scores)
    if not by_target:
        # The tokens of a completion are one thing to explain, also if each has scores.
        scores = scores.sum(0) if scores.ndim == 2 else scores
        return [_case(explanation, names, scores, float(values.sum()), own, other)]
    return [
        _case(explanation, names[row : row + 1], scores[row], float(values[row]), own, other)
        for row in range(len(scores))
    ]


def _case(
    explanation: Explanation,
    names: Sequence[str],
    scores: np.ndarray,
    value: float,
    own: Sequence[int],
    other: Sequence[int],
) -> Case:
    target, answer = _named(explanation.task, names)
    if explanation.foil is not None:
        foil = f"{explanation.foil}"
        told = explanation.task in (TAGS, ANSWERS, TEXTS)
        target += " rather than another" if told else f" rather than {foil}"
    return Case(target, answer, scores[list(own)], scores[list(other)], value)


def _named(task: str, names: Sequence[str]) -> tuple[str, str | None]:
    """What is explained as a class of things, and as the data would have it."""
    if task == TEXTS:
        return "the text generated", None
    if task == TAGS:
        tags = [found[1] if (found := _TAG.fullmatch(name)) else name for name in names]
        return " + ".join(dict.fromkeys(tags)) or "tags", None
    if task == ANSWERS:
        found = _ANSWER.fullmatch(names[0]) if names else None
        return "the answer", found[1] if found else (names[0] if names else None)
    joined = " + ".join(names)
    return joined or "the score", joined or None


# Words.


@functools.lru_cache(65536)
def key_of(text: str) -> str:
    """What occurrences of a word have in common: case-folded, without punctuation around it."""
    plain = unicodedata.normalize("NFC", " ".join(text.split())).casefold().replace("’", "'")
    if not plain:
        return LINE_BREAK if "\n" in text else SPACE
    start, stop = 0, len(plain)
    while start < stop and _is_punctuation(plain[start]):
        start += 1
    while stop > start and _is_punctuation(plain[stop - 1]):
        stop -= 1
    key = plain[start:stop].strip() or plain
    return key if len(key) <= LONGEST_KEY else key[:LONGEST_KEY] + "…"


def _is_punctuation(char: str) -> bool:
    return char in "`^" or unicodedata.category(char).startswith("P")


def _words(text: str, spans: Sequence[tuple[int, int]]) -> list[Word]:
    """Pieces put together to words; pieces of several words stay what they are."""
    found: list[Word] = []
    first = 0
    for number in range(1, len(spans) + 1):
        if number == len(spans) or not _goes_on(text, spans[number - 1], spans[number]):
            found += _peeled(text, spans, first, number)
            first = number
    return found


def _goes_on(text: str, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Whether two pieces are of one word."""
    left, right = text[slice(*before)], text[slice(*after)]
    if before[1] != after[0] or not left or not right:
        return False
    if left[-1].isspace() or right[0].isspace():
        return False
    if len(left.split()) > 1 or len(right.split()) > 1:
        return False
    return not (_UNSPACED.match(left[-1]) or _UNSPACED.match(right[0]))


def _peeled(text: str, spans: Sequence[tuple[int, int]], first: int, last: int) -> list[Word]:
    """The word of some pieces; pieces of punctuation around it are words of their own."""
    if first == last:
        return []
    if last - first == 1:
        return [_word(text, *spans[first], first, last)]

    def is_wordy(number: int) -> bool:
        return any(char.isalnum() for char in text[slice(*spans[number])])

    wordy = [number for number in range(first, last) if is_wordy(number)]
    inner = (wordy[0], wordy[-1] + 1) if wordy else (first, first)
    groups = [
        *((number, number + 1) for number in range(first, inner[0])),
        *([inner] if wordy else []),
        *((number, number + 1) for number in range(inner[1], last)),
    ]
    return [_word(text, spans[begin][0], spans[end - 1][1], begin, end) for begin, end in groups]


def _word(text: str, start: int, stop: int, first: int, last: int) -> Word:
    raw = text[start:stop]
    key = key_of(raw)
    lead = len(raw) - len(raw.lstrip())
    if lead < len(raw):
        start, stop = start + lead, start + len(raw.rstrip())
    return Word(key, start, stop, first, last)
