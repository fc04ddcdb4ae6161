"""Numbers and names in words."""

from __future__ import annotations

import made
import numpy as np
import pytest

from lit_plugins.attribution.options import Options
from lit_plugins.display import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (-0.0123456, "−0.0123"),
        (1.1, "1.10"),
        (12.0, "12.0"),
        (123456.7, "123457"),
        (1e-9, "1.00e−09"),
        (-2.5e7, "−2.50e+07"),
    ],
)
def test_number(value, text):
    assert wording.number(value) == text


def test_a_plus_is_for_what_is_above_zero():
    assert [wording.number(value, plus=True) for value in (1, 0, -1)] == ["+1.00", "0", "−1.00"]
    assert [wording.exact(value, plus=True) for value in (1, 0, -1)] == ["+1.0", "0.0", "−1.0"]


def test_exact_is_exact():
    values = np.random.default_rng(3).normal(size=50).astype(np.float32)
    for value in values:
        assert np.float32(wording.exact(value).replace("−", "-")) == value


@pytest.mark.parametrize(
    ("share", "text"),
    [(0, "0"), (0.012, "1.2"), (0.795, "79.5"), (0.99991, "99.99"), (0.999999, "over 99.99")],
)
def test_percent(share, text):
    assert wording.percent(share) == text + "\u00a0%"


def test_certain_is_one_hundred():
    assert wording.percent(1.0) == "100.0\u00a0%"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0123, "12 ms"), (0.25, "0.25 s"), (9.47, "9.5 s"), (125, "2 min 5 s")]
)
def test_duration(seconds, text):
    assert wording.duration(seconds) == text


def test_clean_text_can_be_written():
    text = "".join(map(chr, [*range(0x3000), 0xD800, 0xDFFF, 0xFFFE, 0xFFFF, 0x1F600]))
    cleaned = wording.clean(text)
    cleaned.encode()
    assert len(cleaned) == len(text)
    assert wording.clean("a\tb\n\x1b") == "a\tb\n␛"


def test_long_names_are_cut_in_their_middle():
    shown = wording.cut("first " + "x " * 500 + "last")
    assert len(shown) <= wording.LONGEST + 3
    assert shown.startswith("first x")
    assert shown.endswith("x last")


@pytest.mark.parametrize(
    ("text", "shown"), [(" dog", "dog"), ("\n", "↵"), ("  ", "␣␣"), ("", "·"), ("a\nb", "a b")]
)
def test_visible(text, shown):
    assert wording.visible(text) == shown


def heading(**changes):
    return wording.heading(made.explanation(["a"], [1.0], **changes))


def test_headings():
    assert heading(names=("GOOD",)) == "Why GOOD?"
    assert heading(names=("GOOD",), foil="BAD") == "Why GOOD, not BAD?"
    assert heading(names=("GOOD",), options=Options(runner_up=True)) == (
        "Why GOOD, not the runner-up?"
    )
    assert heading(names=("A", "B", "C"), options=Options(each=True)) == "Why each of A, B and C?"
    assert heading(names=tuple("ABCDE")) == "Why A and 4 more?"
    assert heading(names=()) == "Why this score?"
    assert heading(names=("The", "▁end"), task="text-generation") == "Why “The end”?"
    tokens = {"names": ("The", "▁end"), "task": "text-generation"}
    assert heading(**tokens, options=Options(each=True)) == "Why each token of “The end”?"


def test_the_number_explained_has_units():
    one = made.explanation(["a"], [1.0])
    assert wording.value(one, float(np.log(0.795))) == "−0.229 nats (probability\u00a079.5\u00a0%)"
    contrast = made.explanation(["a"], [1.0], foil="BAD")
    assert wording.value(contrast, -0.5) == "−0.500 nats"
    logit = made.explanation(["a"], [1.0], options=Options(output="logit"))
    assert wording.value(logit, 9.085) == "9.09 logits"
    share = made.explanation(["a"], [1.0], options=Options(output="prob"))
    assert wording.value(share, 0.25) == "25.0\u00a0%"
    assert wording.value(share, -0.25) == "−0.250"
