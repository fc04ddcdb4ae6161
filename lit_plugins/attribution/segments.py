"""Parts of a text that get one score: words, sentences, …, few-shot examples, matches."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from collections.abc import Sequence

import regex

from lit_plugins.attribution.explanation import Segment
from lit_plugins.attribution.options import SegmentUnit
from lit_plugins.errors import InputError

# A pattern of a user's own may backtrack for ever.
REGEX_SECONDS = 1.0
# `a{1000}` is written out when it is compiled, nested ones their product: memory without bound.
MOST_REPEATS = 100_000
_REPEATS = re.compile(r"\{\s*(\d+)")
# A pattern that contains itself may go deeper for ever, where the time limit does not count.
_RECURSION = re.compile(r"(?<!\\)\(\?(?:R|[+-]?\d|&|P>)")

_SEPARATORS = {
    "word": re.compile(r"(?<=\S)(?=\s)"),
    # Behind . ! ? and closing quotes, if a space follows, and behind their East Asian kin in any
    # case; behind a line's end.
    "sentence": re.compile(
        r"(?<=[.!?。！？])[\"'”’)\]]*(?=\s)|(?<=[。！？])[。！？\"'”’」』）)\]]*+(?=\S)|(?<=\S)(?=\s*\n)"
    ),
    "line": re.compile(r"(?<=\S)(?=[^\S\n]*\n)"),
    "paragraph": re.compile(r"(?<=\S)(?=[^\S\n]*\n\s*\n)"),
}
_LABEL = re.compile(r"^([^\s:][^:\n]{0,40}):", re.MULTILINE)


def segments(
    pieces: Sequence[str], unit: SegmentUnit, begin: int, end: int, pattern: str | None = None
) -> list[Segment]:
    """The segments of the tokens `[begin, end)`, in order.

    `pieces` are the tokens' texts, with real spaces, which put together are the text. A token
    belongs to the segment in which its first character that is no space lies; white space alone
    belongs to the segment before it, but to no match. With `regex` only the pattern's matches are
    segments, possibly none; else every token of the range is in one. Raises InputError.
    """
    if unit == "token":
        return [Segment(place, place + 1, pieces[place]) for place in range(begin, end)]
    text = "".join(pieces[begin:end])
    if unit == "regex":
        spans = _matches(text, pattern or "")
    else:
        cuts = _examples(text) if unit == "example" else _cuts(text, unit)
        edges = [0, *sorted({cut for cut in cuts if 0 < cut < len(text)}), len(text)]
        spans = list(itertools.pairwise(edges))
    return _group(pieces, begin, end, spans, loose=unit == "regex")


def _cuts(text: str, unit: SegmentUnit) -> list[int]:
    return [match.end() for match in _SEPARATORS[unit].finditer(text)]


def _examples(text: str) -> list[int]:
    """Where few-shot examples begin.

    An example begins at a line with the label (`Question:`) that begins most paragraphs; what is
    before the first one is a segment of its own. Without such a label, paragraphs are the examples.
    """
    paragraphs = [0, *(match.end() for match in re.finditer(r"\n[^\S\n]*\n\s*", text))]
    first = Counter(
        label[1] for place in paragraphs if (label := _LABEL.match(text, place)) is not None
    )
    label, times = next(iter(first.most_common(1)), ("", 0))
    if times < 2:
        labels = Counter(match[1] for match in _LABEL.finditer(text))
        label, times = next(iter(labels.most_common(1)), ("", 0))
        if times < 2:
            return _cuts(text, "paragraph")
    return [match.start() for match in _LABEL.finditer(text) if match[1] == label]


def _matches(text: str, pattern: str) -> list[tuple[int, int]]:
    repeats = math.prod(max(1, int(count)) for count in _REPEATS.findall(pattern))
    if repeats > MOST_REPEATS:
        raise InputError(
            f"pattern {pattern!r:.100} is too large: its repetitions multiply to more than "
            f"{MOST_REPEATS:,}. Expected smaller numbers, or + and *."
        )
    if _RECURSION.search(pattern):
        raise InputError(f"pattern {pattern!r:.100} contains itself. Expected one without (?R).")
    try:
        compiled = regex.compile(pattern)
        return [
            match.span()
            for match in compiled.finditer(text, timeout=REGEX_SECONDS)
            if match.end() > match.start()
        ]
    except regex.error as error:
        raise InputError(f"pattern {pattern!r:.100} is no regular expression: {error}.") from None
    except TimeoutError:
        raise InputError(
            f"pattern {pattern!r:.100} takes longer than {REGEX_SECONDS:g} s on this text. Nested "
            "repetitions such as (a+)+ backtrack for ever: write it without."
        ) from None
    except (MemoryError, RecursionError, OverflowError) as error:
        raise InputError(f"pattern {pattern!r:.100} is too large: {error}.") from None


def _group(
    pieces: Sequence[str], begin: int, end: int, spans: Sequence[tuple[int, int]], loose: bool
) -> list[Segment]:
    """Tokens by the span that their first visible character is in."""
    if not spans:
        return []
    owners: list[int | None] = []
    place, span = 0, 0
    for piece in pieces[begin:end]:
        visible = place + len(piece) - len(piece.lstrip())
        if piece.strip():
            while span + 1 < len(spans) and visible >= spans[span + 1][0]:
                span += 1
            inside = spans[span][0] <= visible < spans[span][1]
            # A token may begin before a match and reach into it.
            reaches = spans[span][0] < place + len(piece) and visible < spans[span][1]
            if loose and not reaches and span + 1 < len(spans):
                follows = spans[span + 1]
                if follows[0] < place + len(piece):
                    span, reaches = span + 1, True
            owners.append(span if inside or reaches or not loose else None)
        elif owners and (not loose or not piece):
            owners.append(owners[-1])
        else:
            owners.append(None if loose else 0)
        place += len(piece)
    found = []
    for offset, owner in enumerate(owners):
        if owner is None:
            continue
        if found and found[-1][0] == owner:
            found[-1][2] = begin + offset + 1
        else:
            found.append([owner, begin + offset, begin + offset + 1])
    return [Segment(first, last, "".join(pieces[first:last])) for _, first, last in found]
