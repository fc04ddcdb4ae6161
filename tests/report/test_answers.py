"""The model's answers, and whether they are right."""

from __future__ import annotations

import math

import pytest

from lit_plugins.report import answers
from lit_plugins.report.answers import (
    DIFFERENT,
    Duels,
    Judged,
    Kept,
    Said,
    gold_labels,
    is_right,
    said,
)
from lit_plugins.report.reading import read


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        (None, None),
        ("", None),
        ([], None),
        (["", None], None),
        ("GOOD", ("GOOD",)),
        (0, ("0",)),
        (False, ("False",)),
        (["a", "b", "a"], ("a", "b")),
    ],
)
def test_gold_labels(label, expected):
    assert gold_labels(label) == expected


@pytest.mark.parametrize(
    ("answer", "gold", "right"),
    [
        ("GOOD", ["good"], True),
        ("in  Rome", ["Paris", "in Rome"], True),
        ("GOOD", ["BAD"], False),
        ("not toxic", ["toxic"], False),
        ("not toxic", ["obscene"], True),
    ],
)
def test_is_right(answer, gold, right):
    assert is_right(answer, gold) is right


def of(explanation, prediction=None):
    return said(explanation, read(explanation).cases, prediction)


def test_a_likely_label_is_the_answer(explained):
    assert of(explained([("a", 1)], value=math.log(0.75))) == Said("GOOD", pytest.approx(0.75))
    assert of(explained([("a", 1)], value=0.75, output="prob")) == Said("GOOD", 0.75)


def test_an_unlikely_one_may_not_be(explained):
    unlikely = explained([("a", 1)], value=math.log(0.25))
    assert of(unlikely) == Said(None, pytest.approx(0.25))
    assert of(unlikely, "GOOD") == Said("GOOD", pytest.approx(0.25))
    assert of(unlikely, "BAD") == Said("BAD", None)


def test_a_logit_does_not_say(explained):
    assert of(explained([("a", 1)], value=-2, output="logit")) == Said("GOOD", None, True)


def test_a_contrast_that_is_lost(explained):
    for value, answer in ((0.5, "GOOD"), (-0.5, None)):
        one = explained([("a", 1)], value=value, foil="BAD", options={"foil": "BAD"})
        assert of(one) == Said(answer, None, True)


def test_zero_shot_explains_its_likeliest_label(explained):
    one = explained([("a", 1)], value=-5, task="zero-shot")
    assert of(one) == Said("GOOD", None, True)


def test_of_all_labels_the_likeliest(explained):
    values = [math.log(0.2), math.log(0.45), math.log(0.35)]
    one = explained([("a", [1, 2, 3])], names=("A", "B", "C"), value=values)
    assert of(one) == Said("B", pytest.approx(0.45))


def test_independent_labels_have_no_single_answer(explained):
    one = explained([("a", [1, 2])], names=("A", "B"), value=[math.log(0.9), math.log(0.8)])
    assert of(one) == Said(None)


@pytest.mark.parametrize("task", answers.UNJUDGED)
def test_tags_and_texts_are_not_judged(explained, task):
    assert of(explained([("a", 1)], task=task)) == Said(None)


def kept(record, identity=None, sure=None, gold="GOOD", answer="BAD"):
    return Kept(None, record, (identity or record).encode(), gold, answer, sure)  # pyright: ignore


def test_judged():
    judged = Judged(2)
    rows = [("BAD", 0.6), ("GOOD", 0.9), ("BAD", 0.8), ("BAD", 0.8), (None, 0.3), ("BAD", 0.7)]
    for number, (answer, sure) in enumerate(rows):
        judged.add(Said(answer, sure), ("GOOD",), kept(str(number), sure=sure))
    judged.add(Said("BAD", 0.7), None, kept("no gold"))
    assert (judged.right, judged.wrong, judged.unclear, judged.without_gold) == (1, 4, 1, 1)
    assert judged.table == {("GOOD", "BAD"): 4, ("GOOD", "GOOD"): 1}
    assert [one.record for one in judged.surest_errors()] == ["2", "3"]


def test_without_gold_the_least_sure_are_kept():
    judged = Judged(2)
    for sure in (0.9, 0.6, 0.8, 0.7, 0.95):
        judged.add(Said("GOOD", sure), None, kept(str(sure), sure=sure))
    assert [one.record for one in judged.least_sure()] == ["0.6", "0.7", "0.8"]


def test_names_of_labels_are_bounded(monkeypatch):
    monkeypatch.setattr(answers, "MOST_LABELS", 3)
    judged = Judged(2)
    for number in range(10):
        judged.add(Said("GOOD", 0.9), (f"gold {number}",), kept(str(number)))
    assert judged.wrong == 10
    assert {gold for gold, _ in judged.table} == {"gold 0", "gold 1", answers.OTHERS}


def test_a_duel_in_any_order():
    table = [  # input, A's and B's answer, and whether they are right
        ("1", "GOOD", True, "GOOD", True),
        ("2", "GOOD", True, "BAD", False),
        ("3", "BAD", False, "GOOD", True),
        ("4", "BAD", False, "BAD", False),
        ("5", None, None, "BAD", False),
        ("6", "x", None, "X", None),
    ]
    first = [("A", one, a, right, kept(one, sure=0.5)) for one, a, right, _, _ in table]
    second = [("B", one, b, right, kept(one, sure=0.5)) for one, _, _, b, right in table]
    woven = [row for pair in zip(first, second, strict=True) for row in pair]
    for order in (first + second, first + second[::-1], woven, woven + woven):
        duels = Duels()
        for model, _, answer, right, one in order:
            duels.add(model, answer, right, one)
        [(ends, duel)] = duels.by_models.items()
        assert ends == ("A", "B")
        assert (duel.same, duel.different, duel.unclear) == (3, 2, 1)
        assert (duel.both, duel.first, duel.second, duel.neither) == (1, 1, 1, 1)
        assert {one.record for one, _ in duel.surest()} == {"2", "3"}


def test_of_different_answers_the_surest_are_shown():
    duels = Duels()
    for number in range(20):
        for model, answer in (("A", "GOOD"), ("B", "BAD")):
            duels.add(model, answer, None, kept(str(number), sure=0.5 + number / 50))
    duel = duels.by_models["A", "B"]
    assert duel.different == 20
    assert [one.record for one, _ in duel.surest()] == [str(19 - n) for n in range(DIFFERENT)]


def test_explanations_that_wait_are_bounded(monkeypatch):
    monkeypatch.setattr(answers, "HELD", 3)
    monkeypatch.setattr(answers, "MOST_WAITING", 10)
    duels = Duels()
    for model in "AB":
        for number in range(20):
            duels.add(model, model, None, kept(str(number)))
    duel = duels.by_models["A", "B"]
    assert duel.different == 10
    assert len(duel.shown) == 3
