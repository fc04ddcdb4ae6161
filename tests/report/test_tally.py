"""What is counted, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from lit_plugins.report import tally
from lit_plugins.report.reading import read
from lit_plugins.report.tally import BINS, ClassTally, Run, Warnings


def counted(explanations):
    run = Run(0, "model", explanations[0], 8)
    for number, one in enumerate(explanations, 1):
        run.add(one, read(one), str(number))
    return run


def test_words_of_a_class(explained):
    run = counted(
        [
            explained([("Good", 1.0), (" good", 2.0), (" film.", -0.5)]),
            explained([("A", 0.25), (" GOOD!", 6.0)]),
            explained([("Bad", -4.0), (" film", 0.25)]),
            explained([("good", 100.0)], name="BAD"),
        ]
    )
    one = run.classes["GOOD"]
    assert (one.cases, one.occurrences) == (3, 7)
    good, film = one.words["good"], one.words["film"]
    assert (good.count, good.cases) == (3, 2)
    assert good.mean == pytest.approx((1 + 2 + 6) / 3)
    assert (good.lowest, good.highest) == (1, 6)
    assert (film.count, film.cases, film.mean) == (2, 2, -0.125)
    assert film.absolute == 0.75
    assert one.absolute == 1 + 2 + 0.5 + 0.25 + 6 + 4 + 0.25
    assert run.classes["BAD"].words["good"].mean == 100
    # The mean of one occurrence is not ranked; film is below 0.
    assert [key for key, _ in one.influential(2, 10, 1)] == ["good"]
    assert [key for key, _ in one.influential(2, 10, -1)] == ["film"]
    assert [key for key, _ in one.influential(1, 10, -1)] == ["bad", "film"]
    assert one.heaviest(2) == ["good", "film"]
    assert one.value == pytest.approx(-0.1)


def test_ranks_do_not_depend_on_the_order(explained):
    texts = [explained([(word, 1.0), (" same", 1.0)]) for word in ("c", "a", "b")]
    for order in (texts, texts[::-1]):
        one = counted(order).classes["GOOD"]
        assert [key for key, _ in one.influential(1, 10, 1)] == ["a", "b", "c", "same"]


def test_examples_are_the_largest_and_say_where_they_are_from(explained):
    long = "x" * 40
    run = counted(
        [
            explained([("bad", -1.0), (" start", 0)]),
            explained([(long, 0), (" bad,", -3.0), (f" {long}", 0)]),
            explained([("bad", 2.0)]),
            explained([("bad", -3.0)]),
        ]
    )
    first, second = sorted(run.classes["GOOD"].words["bad"].examples, reverse=True)
    assert (first.score, first.record, first.word) == (-3, "2", "bad,")
    assert first.before == "…" + "x" * (tally.CONTEXT - 1) + " "
    assert first.after == " " + "x" * (tally.CONTEXT - 1) + "…"
    assert (second.score, second.record) == (-3, "4")


def test_positions_are_shares_by_letters(explained):
    # Four letters of mass 3, then one of mass 1: the first 4/5 of the text have 3/4 of it.
    shares = counted([explained([("aaaa", -3.0), (" b", 1.0)])]).positions
    assert shares == pytest.approx([0.75 / 8] * 8 + [0.125] * 2)


def test_positions_count_each_explanation_alike(explained):
    run = counted(
        [
            explained([("a", 100.0), (" b", 0)]),
            explained([("a", 0), (" b", -1.0)]),
            explained([("a", 0), (" b", 0)]),
        ]
    )
    assert (run.placed, run.massless) == (2, 1)
    assert run.positions / run.placed == pytest.approx([0.1] * BINS)


def test_positions_leave_out_special_tokens_and_what_has_no_score(explained):
    parts = [("[CLS]", 50.0), ("first text", None), ("[SEP]", 50.0), ("ab", 1.0), (" cd", 0)]
    run = counted([explained(parts)])
    assert run.positions == pytest.approx([0.2] * 5 + [0] * 5)


def test_special_tokens(explained):
    run = counted(
        [
            explained([("[CLS]", -1.0), ("a", 2.0), ("[SEP]", 1.0)]),
            explained([("[CLS]", 3.0), ("a", 1.0), ("[SEP]", 0)]),
            explained([("[CLS]", None), ("a", 1.0)]),
        ]
    )
    assert (run.own_known, run.special_scored) == (3, 2)
    assert run.special_share == pytest.approx(0.5 + 0.75)
    assert run.special_most == 0.75
    assert run.special == pytest.approx({"[CLS]": 0.25 + 0.75, "[SEP]": 0.25})


def test_special_tokens_that_nobody_knows_of(explained):
    run = counted([explained([("[CLS]", 1.0), ("a", 1.0)], known=False)])
    assert (run.own_known, run.special_scored) == (0, 0)


def test_rare_words_are_let_go(explained, monkeypatch):
    monkeypatch.setattr(tally, "MOST_WORDS", 10)
    run = counted([explained([("often", 1.0), (f" once{place}", 1.0)]) for place in range(20)])
    one = run.classes["GOOD"]
    assert len(one.words) <= 10
    assert one.words["often"].count == 20
    assert one.forgotten + len(one.words) == 21


def test_a_sample_is_of_all_cases_alike(explained, monkeypatch):
    monkeypatch.setattr(tally, "SAMPLED", 50)
    run = counted([explained([(f"w{place}", 1.0)]) for place in range(500)])
    sampled = [int(key[1:]) for row in run.classes["GOOD"].sampled for key in row]
    assert len(set(sampled)) == 50
    # The mean of 50 of 0 to 499 is 250 give or take 19 (one standard deviation).
    assert abs(np.mean(sampled) - 249.5) < 60
    again = counted([explained([(f"w{place}", 1.0)]) for place in range(500)])
    assert again.classes["GOOD"].sampled == run.classes["GOOD"].sampled


def test_a_word_twice_in_a_text_is_one_dot(explained):
    run = counted([explained([("so", 1.0), (" so", 2.0), (" bad", 4.0)])])
    assert run.classes["GOOD"].sampled == [{"so": 3.0, "bad": 4.0}]


def test_warnings_that_differ_in_numbers_are_one():
    found = Warnings()
    found.add(["12 tokens left out.", "Other."])
    found.add(["3 tokens left out.", "4 tokens left out."])
    assert found.most_common() == [("12 tokens left out.", 2), ("Other.", 1)]


def test_kinds_of_warnings_are_bounded():
    found = Warnings()
    for place in range(100):
        found.add([f"no {chr(0x4E00 + place)}"])
    assert len(found.counts) == tally.MOST_WARNINGS + 1
    assert dict(found.most_common())[tally.OTHER] == 100 - tally.MOST_WARNINGS


def test_a_run_sums_what_it_cost(explained):
    run = counted(
        [
            explained([("a", 1.0)], forward=3, backward=2, seconds=0.5, convergence_error=0.25),
            explained([("a", 1.0), ("b", 1.0)], forward=4, seconds=0.25),
        ]
    )
    assert (run.explanations, run.cases, run.tokens) == (2, 2, 3)
    assert (run.forward, run.backward, run.seconds) == (7, 2, 0.75)
    assert list(run.errors) == [0.25]


def test_a_class_of_nothing_but_zeros(explained):
    one: ClassTally = counted([explained([("a", 0), (" b", 0)])] * 3).classes["GOOD"]
    assert one.influential(1, 10, 1) == one.influential(1, 10, -1) == []
    assert one.words["a"].mean == 0
