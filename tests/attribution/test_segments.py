"""What gets one score: every token in one segment, and segments where a reader sees them."""

from __future__ import annotations

import contextlib
import itertools
import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
import tiny

from lit_plugins.attribution.options import SEGMENTS
from lit_plugins.attribution.perturbation import players_of
from lit_plugins.attribution.segments import segments
from lit_plugins.errors import InputError
from lit_plugins.models.tokens import SPACE, readable

DATASETS = sorted((Path(__file__).parents[2] / "datasets").glob("*.jsonl"))
UNITS = [unit for unit in SEGMENTS if unit != "regex"]


def _texts(text, unit, pattern=None):
    """The segments of a text of one token a character."""
    pieces = list(text)
    return [one.text for one in segments(pieces, unit, 0, len(pieces), pattern)]


def _check_cover(found, pieces, begin, end):
    places = [place for one in found for place in range(one.start, one.stop)]
    assert places == list(range(begin, end))
    for one in found:
        assert one.stop > one.start
        assert one.text == "".join(pieces[one.start : one.stop])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("the cat sat", ["the", " cat", " sat"]),
        ("a  b\n\nc\td", ["a", "  b", "\n\nc", "\td"]),
        ("one", ["one"]),
        ("well-known, isn't it?", ["well-known,", " isn't", " it?"]),
        ("naïve 👋🏽 x", ["naïve", " 👋🏽", " x"]),
    ],
)
def test_words(text, expected):
    found = _texts(text, "word")
    assert [one.strip() for one in found] == [one.strip() for one in expected]
    assert "".join(found) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three? Four", ["One.", "Two!", "Three?", "Four"]),
        ('He said "No." She left.', ['He said "No."', "She left."]),
        ("“Yes.” ‘No!’ (Maybe?) Fine.", ["“Yes.”", "‘No!’", "(Maybe?)", "Fine."]),
        ("今日は晴れ。明日は雨！本当？はい", ["今日は晴れ。", "明日は雨！", "本当？", "はい"]),
        ("他说：“不。”她走了。", ["他说：“不。”", "她走了。"]),
        ("她问：「好吗？」他不答。", ["她问：「好吗？」", "他不答。"]),
        ("真的！？是", ["真的！？", "是"]),
        ("“好。”", ["“好。”"]),
        ("It costs 3.50 today. Yes.", ["It costs 3.50 today.", "Yes."]),
        ("Go to lit.dev now. Then", ["Go to lit.dev now.", "Then"]),
        ("Really?! Yes... No.", ["Really?!", "Yes...", "No."]),
        ("Title\nA line. B\n\nC", ["Title", "A line.", "B", "C"]),
        ("no end", ["no end"]),
        ("A.\n\n\nB.", ["A.", "B."]),
    ],
)
def test_sentences(text, expected):
    found = _texts(text, "sentence")
    assert [one.strip() for one in found] == expected
    assert "".join(found) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a b\nc\n\nd \ne", ["a b", "c", "d", "e"]),
        ("a. b. c", ["a. b. c"]),
        ("\n\na\n", ["a"]),
        ("a\r\nb", ["a", "b"]),
    ],
)
def test_lines(text, expected):
    found = _texts(text, "line")
    assert [one.strip() for one in found] == expected
    assert "".join(found) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\nb\n\nc\n \nd", ["a\nb", "c", "d"]),
        ("a\n\n\n\nb", ["a", "b"]),
        ("a\nb", ["a\nb"]),
        ("a \n\n b", ["a", "b"]),
    ],
)
def test_paragraphs(text, expected):
    found = _texts(text, "paragraph")
    assert [one.strip() for one in found] == expected
    assert "".join(found) == text


def _prompts():
    """The prompts of each sample set that has some."""
    found = {}
    for path in DATASETS:
        records = map(json.loads, path.read_text("utf-8").splitlines())
        if prompts := [record["prompt"] for record in records if "prompt" in record]:
            found[path.stem] = prompts
    return found


PROMPTS = _prompts()


@pytest.mark.parametrize(
    "prompt",
    [
        pytest.param(prompt, id=f"{name}-{number}")
        for name, prompts in PROMPTS.items()
        for number, prompt in enumerate(prompts)
    ],
)
def test_examples_of_our_datasets(prompt):
    """In all of them a blank line stands between examples, and behind the instruction.

    The instruction may have paragraphs, and is one segment.
    """
    expected = [part.strip() for part in re.split(r"\n\s*\n", prompt)]
    label = expected[-1].split(":")[0] + ":"
    first = next((n for n, part in enumerate(expected) if part.startswith(label)), 0)
    if first:
        instruction = prompt[: prompt.index("\n\n" + label)].strip()
        expected = [instruction, *expected[first:]]
    found = _texts(prompt, "example")
    assert [one.strip() for one in found] == expected
    assert "".join(found) == prompt


def test_our_datasets_have_examples():
    counts = {
        name: min(len(_texts(prompt, "example")) for prompt in prompts)
        for name, prompts in PROMPTS.items()
    }
    assert counts["grade_school_maths"] >= 3
    assert counts["headlines"] >= 3
    assert counts["menu_advice"] >= 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Q: a\nA: b\nQ: c\nA: d\nQ: e\nA:", ["Q: a\nA: b", "Q: c\nA: d", "Q: e\nA:"]),
        ("Translate.\n\nEN: a\nFR: b\n\nEN: c\nFR:", ["Translate.", "EN: a\nFR: b", "EN: c\nFR:"]),
        ("Intro: x\nIn: 1\nOut: 2\nIn: 3\nOut:", ["Intro: x", "In: 1\nOut: 2", "In: 3\nOut:"]),
        ("a\n\nb", ["a", "b"]),
        ("nothing like that", ["nothing like that"]),
    ],
)
def test_examples(text, expected):
    found = _texts(text, "example")
    assert [one.strip() for one in found] == expected
    assert "".join(found) == text


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("a1b22c", r"\d+", ["1", "22"]),
        ("the cat the", r"the", ["the", "the"]),
        ("the cat", r"dog", []),
        ("the cat", r"x*", []),
        ("aXbXc", r"X", ["X", "X"]),
        ("aab", r"a", ["a", "a"]),
        ("naïve 👋🏽 x", r"\p{L}+", ["naïve", "x"]),
        ("one two", r".+", ["one two"]),
    ],
)
def test_matches(text, pattern, expected):
    assert [one.strip() for one in _texts(text, "regex", pattern)] == expected


def test_matches_and_tokens_of_other_widths():
    """A token belongs to a match that its visible part overlaps."""
    pieces = ["the", " cat", " s", "at", " on", " mat"]
    for pattern, expected in (
        ("cat", [(1, 2)]),
        ("sat", [(2, 4)]),
        ("sat on", [(2, 5)]),
        ("a", [(1, 2), (3, 4), (5, 6)]),
        ("^the", [(0, 1)]),
        ("mat$", [(5, 6)]),
        (" ", []),
    ):
        found = segments(pieces, "regex", 0, 6, pattern)
        assert [(one.start, one.stop) for one in found] == expected, pattern
    found = segments(pieces, "regex", 2, 6, "cat|on")
    assert [(one.start, one.stop) for one in found] == [(4, 5)]


@pytest.mark.parametrize("pattern", ["(", "a{2,1}", "[", "(?P<n>a)(?P<n", "*", "(?<=a+"])
def test_what_is_no_regular_expression(pattern):
    with pytest.raises(InputError, match="is no regular expression"):
        _texts("a b", "regex", pattern)


@pytest.mark.parametrize(
    "pattern", ["(a+)+$", "(a|aa)+$", "(a|a)*b$", r"(.*)*x\1", "(?:a?){60}a{60}", "(a*)*(a*)*b$"]
)
def test_a_pattern_that_backtracks_for_ever_ends(pattern):
    """Either it is fast after all, or it is refused in bounded time."""
    _bounded("a" * 60 + "!" + "a" * 60 + "!", pattern)


def test_a_pattern_is_refused_for_its_time():
    with pytest.raises(InputError, match=r"takes longer than 1 s.*backtrack for ever"):
        _texts("a" * 60 + "!", "regex", NEVER_ENDS)


NEVER_ENDS = "(a|aa)+$"


@pytest.mark.parametrize("pattern", ["a{1000000000}", "(a{1,30000}){1,30000}", "a" * 1000])
def test_a_pattern_that_is_huge(pattern):
    _bounded("aaa b", pattern)


@pytest.mark.parametrize("pattern", ["a{1000000000}", "((a{1000}){1000}){1000}", "a{ 9999999 ,}"])
def test_a_pattern_that_would_take_all_memory(pattern):
    with pytest.raises(InputError, match="is too large: its repetitions"):
        _texts("aaa b", "regex", pattern)
    assert _texts("aa aaa", "regex", "a{3}|b{10}") == ["aaa"]


@pytest.mark.parametrize(
    "pattern", ["(?R)", "(a|(?R))", "(?P<x>(?&x))", "(?P<x>(?P>x))", "(?1)(a)"]
)
def test_a_pattern_that_contains_itself(pattern):
    with pytest.raises(InputError, match="contains itself"):
        _texts("aaa b", "regex", pattern)
    assert _texts("a (?R) b", "regex", r"\(\?R\)") == ["(?R)"]


def _bounded(text, pattern):
    begin = time.perf_counter()
    with contextlib.suppress(InputError):
        _texts(text, "regex", pattern)
    assert time.perf_counter() - begin < 5


ALPHABET = [*"aab.c!?", " ", " ", "\n", "\n\n", "\t", ":", "Q:", '"', "”", "。", "！", "é", "👋🏽",
            "A:", "1.5", "\u200b", "\u3000", "\r\n", "－", "(", ")"]  # fmt: skip


@pytest.mark.parametrize("unit", UNITS)
def test_every_token_is_in_exactly_one_segment(unit):
    """Random texts, cut at random, with tokens that show nothing between."""
    random = np.random.default_rng(7)
    for _ in range(400):
        text = "".join(random.choice(ALPHABET, size=random.integers(1, 40)))
        cuts = sorted(random.integers(0, len(text) + 1, size=random.integers(0, 25)))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        begin = int(random.integers(0, len(pieces)))
        end = int(random.integers(begin, len(pieces) + 1))
        found = segments(pieces, unit, begin, end)
        _check_cover(found, pieces, begin, end)
        players = players_of(found, len(pieces))
        assert (players[begin:end] >= 0).all()
        assert (players[:begin] == -1).all()
        assert (players[end:] == -1).all()
        assert (np.diff(players[begin:end]) >= 0).all()


def test_matches_of_random_texts_do_not_overlap():
    random = np.random.default_rng(8)
    for _ in range(400):
        text = "".join(random.choice(ALPHABET, size=random.integers(1, 40)))
        cuts = sorted(random.integers(0, len(text) + 1, size=random.integers(0, 25)))
        pieces = [text[a:b] for a, b in itertools.pairwise([0, *cuts, len(text)])]
        for pattern in (r"\w+", "a", r"[.!?]", "a.", r"\s+"):
            found = segments(pieces, "regex", 0, len(pieces), pattern)
            places = [place for one in found for place in range(one.start, one.stop)]
            assert places == sorted(set(places))
            for one in found:
                assert one.text == "".join(pieces[one.start : one.stop])
            # Every visible character that matches is in a segment, and no segment is without one.
            spans = [m.span() for m in re.finditer(pattern, text) if text[slice(*m.span())].strip()]
            ends = np.cumsum([len(piece) for piece in pieces])
            covered = {
                int(np.searchsorted(ends, place, side="right"))
                for first, last in spans
                for place in range(first, last)
                if not text[place].isspace()
            }
            assert covered <= set(places), (pieces, pattern)


@pytest.mark.parametrize("make", [tiny.byte_level_tokenizer, tiny.byte_fallback_tokenizer])
@pytest.mark.parametrize("unit", UNITS)
def test_characters_of_several_tokens(make, unit):
    model = tiny.hf_model("llama", make())
    for text in ("naïve 👋🏽 x. 今日は。Yes", "👋🏽👋🏽", "é\n\n日本 a", " 👋 ", "\n"):
        ids = model.text(text).ids
        pieces = [one.replace(SPACE, " ") for one in readable(model.tokenizer.pieces(ids))]
        assert "" in pieces or len(ids) < 4
        found = segments(pieces, unit, 0, len(pieces))
        _check_cover(found, pieces, 0, len(pieces))
        if unit != "token":
            assert all(one.text.strip() for one in found) or not "".join(pieces).strip()
            # No character is in two segments: a segment never begins with what shows nothing.
            assert all(pieces[one.start] != "" for one in found)


def test_nothing_gives_nothing():
    for unit in UNITS:
        assert segments(["a", "b"], unit, 1, 1) == []
    assert segments(["a", "b"], "regex", 1, 1, "a") == []


def test_long_texts_take_no_time():
    text = ("A sentence of some words, said twice. Question: yes?\nAnswer: no\n\n" * 800)[:50_000]
    pieces = [text[place : place + 3] for place in range(0, len(text), 3)]
    begin = time.perf_counter()
    for unit in UNITS:
        _check_cover(segments(pieces, unit, 0, len(pieces)), pieces, 0, len(pieces))
    segments(pieces, "regex", 0, len(pieces), r"\w+")
    assert time.perf_counter() - begin < 5
    for spaces in (" " * 20_000, "\n" * 20_000, "." * 20_000, '."' * 10_000):
        for unit in UNITS:
            begin = time.perf_counter()
            _texts(f"a.{spaces}b", unit)
            assert time.perf_counter() - begin < 5, (unit, spaces[:2])
