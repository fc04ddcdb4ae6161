"""Rank correlation of the parts that two explanations have in common."""

from __future__ import annotations

import numpy as np
import pytest

from lit_plugins.report import agreement
from lit_plugins.report.agreement import Matcher, Pair, common, grid, spearman
from lit_plugins.report.reading import read


def of(explanation):
    reading = read(explanation)
    return grid(reading, reading.cases[0])


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ([1, 2, 3], [10, 20, 99], 1),
        ([1, 2, 3], [3, 2, -1], -1),
        ([1, 2, 3], [1, 3, 2], 0.5),  # 1 - 6 (0 + 1 + 1) / (3 (9 - 1))
        ([1, 2, 3, 4, 5], [2, 1, 4, 3, 5], 0.8),  # 1 - 6 · 4 / (5 · 24)
        # Ties have their mean rank: 1.5, 1.5, 3 beside 1, 2, 3 is 1.5 / sqrt(1.5 · 2).
        ([0, 0, 1], [1, 2, 3], 1.5 / np.sqrt(3)),
        ([1, 1, 1], [1, 2, 3], None),
        ([1, 2], [1, 2], None),
        ([], [], None),
    ],
)
def test_spearman(one, other, expected):
    found = spearman(np.array(one, float), np.array(other, float))
    assert found == (expected if expected is None else pytest.approx(expected))


def test_spearman_is_scipys():
    stats = pytest.importorskip("scipy.stats")
    values = np.random.default_rng(0).integers(0, 6, (2, 40)).astype(float)
    assert spearman(*values) == pytest.approx(stats.spearmanr(*values).statistic)


def test_tokens_are_summed_to_words(explained):
    tokens = of(explained([("un", 1), ("kind", 2), (" and", 4), (" cold", 8), (".", 16)]))
    words = of(explained([("unkind", -1), (" and", -2), (" cold.", -3)]))
    one, other, spans = common(tokens, words)
    assert one.tolist() == [3, 4, 24]
    assert other.tolist() == [-1, -2, -3]
    assert spans == [(0, 6), (6, 9), (9, 14)]


def test_parts_that_overlap_crosswise_are_put_together(explained):
    left = of(explained([("ab", 1), ("cd", 2), ("e", 4)]))
    right = of(explained([("a", 1), ("bc", 2), ("d", 4), ("e", 8)]))
    one, other, spans = common(left, right)
    assert one.tolist() == [3, 4]
    assert other.tolist() == [7, 8]
    assert spans == [(0, 4), (4, 5)]


def test_what_only_one_scores_is_left_out(explained):
    all_ = of(explained([("a", 1), (" b", 2), (" c", 4), (" d", 8)]))
    some = of(explained([("a", None), (" b", 10), (" c", None), (" d", 20)]))
    for first, second, expected in ((all_, some, [2, 8]), (some, all_, [10, 20])):
        one, _, spans = common(first, second)
        assert one.tolist() == expected
        assert spans == [(1, 2), (3, 4)]


def test_white_space_goes_to_the_part_before_it(explained):
    made = of(explained([("\n", 1), ("a", 2), ("\n", 4), ("b", 8)]))
    assert made.scores.tolist() == [7, 8]
    assert made.stops.tolist() == [1, 2]


def test_nothing_but_white_space(explained):
    made = of(explained([(" ", 1), ("\n", 2)]))
    assert made.scores.shape == (0,)
    assert [len(values) for values in common(made, made)] == [0, 0, 0]


def texts(explained, *rows):
    return [of(explained([(word, score) for word, score in zip("abcd", row, strict=False)]))
            for row in rows]  # fmt: skip


def test_a_pair(explained):
    pair = Pair()
    one, same, reverse = texts(explained, (1, 2, 3), (1, 2, 3), (9, 2, 1))
    [short] = texts(explained, (1, 2))
    pair.add("GOOD", "1", one, same, True)
    pair.add("GOOD", "2", one, reverse, True)
    pair.add("GOOD", "3", short, short, True)
    pair.add("GOOD", "4", one, short, True)  # another text
    assert list(pair.correlations) == [1, -1]
    assert (pair.same_top, pair.undefined, pair.mismatched) == (1, 1, 1)
    assert [found.record for found in pair.lowest()] == ["2", "1"]


def test_without_signs_sizes_are_ranked(explained):
    one, other = texts(explained, (-3, 2, 1), (3, 2, 1))
    signed, sizes = Pair(), Pair()
    signed.add("GOOD", "1", one, other, True)
    sizes.add("GOOD", "1", one, other, False)
    assert signed.correlations[0] == pytest.approx(-0.5)
    assert sizes.correlations[0] == 1


def test_only_the_lowest_are_kept(explained):
    pair = Pair()
    rows = texts(explained, (1, 2, 3, 4), (4, 3, 2, 1), (1, 2, 4, 3), (2, 1, 4, 3), (1, 3, 2, 4))
    for number, row in enumerate(rows):
        pair.add("GOOD", str(number), rows[0], row, True)
    assert len(pair.correlations) == 5
    # -1; 1 - 6 · 4 / 60 = 0.6; two of 0.8, of which the first came first.
    assert [found.record for found in pair.lowest()] == ["1", "3", "2"]


def add(matcher, run, explanation, comparable):
    reading = read(explanation)
    for case in reading.cases:
        matcher.add(run, reading, case, "1", comparable)


def test_the_same_input_and_target_meet_in_any_order(explained):
    rows = [explained([("a", s), (" b", 2), (" c", 3)], inputs={"text": t})
            for t, s in (("one", 1), ("two", 9))]  # fmt: skip
    matcher = Matcher()
    for one in rows:
        add(matcher, 0, one, {})
    for one in reversed(rows):
        add(matcher, 1, one, {0: True})
    assert list(matcher.pairs) == [(0, 1)]
    assert list(matcher.pairs[0, 1].correlations) == [1, 1]


def test_another_target_is_not_compared(explained):
    parts = [("a", 1), (" b", 2), (" c", 3)]
    matcher = Matcher()
    add(matcher, 0, explained(parts), {})
    add(matcher, 1, explained(parts, name="BAD"), {0: True})
    assert not matcher.pairs


def test_an_input_that_comes_twice_counts_once(explained):
    one = explained([("a", 1), (" b", 2), (" c", 3)])
    matcher = Matcher()
    for run in (0, 0, 1, 1, 0):
        add(matcher, run, one, {1 - run: True})
    assert len(matcher.pairs[0, 1].correlations) == 1


def test_what_waits_is_bounded(explained, monkeypatch):
    monkeypatch.setattr(agreement, "HELD", 5000)
    matcher = Matcher()
    rows = [explained([(f"a{n}", 1), (" b", 2), (" c", 3)]) for n in range(50)]
    for one in rows:
        add(matcher, 0, one, {})
    for one in rows:
        add(matcher, 1, one, {0: True})
    assert matcher.let_go >= 45
    assert matcher._held <= 5000 + 1100
    # Side by side none is let go too early.
    matcher = Matcher()
    for one in rows:
        add(matcher, 0, one, {})
        add(matcher, 1, one, {0: True})
    assert len(matcher.pairs[0, 1].correlations) == 50
