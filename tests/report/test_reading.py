"""Words, their scores and what is explained, from an Explanation."""

from __future__ import annotations

import numpy as np
import pytest

from lit_plugins.report.reading import LINE_BREAK, LONGEST_KEY, SPACE, key_of, read


@pytest.mark.parametrize(
    ("text", "key"),
    [
        (" Dull,", "dull"),
        ("“Wonderful!”", "wonderful"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("don’t", "don't"),
        ("cafe\u0301", "café"),
        ("C++", "c++"),
        ("$5", "$5"),
        ("...", "..."),
        ("—", "—"),
        (" \n", LINE_BREAK),
        ("  ", SPACE),
        ("a\n b", "a b"),
        ("x" * 300, "x" * LONGEST_KEY + "…"),
    ],
)
def test_key(text, key):
    assert key_of(text) == key


def words(explanation):
    reading = read(explanation)
    [case] = reading.cases
    scores = reading.word_scores(case).round(6).tolist()
    return [
        (word.key, reading.text[word.start : word.stop], score)
        for word, score in zip(reading.words, scores, strict=True)
    ]


def test_pieces_are_summed_to_words_and_punctuation_stands_alone(explained):
    tokens = [("A", 1), (" dull", 2), (",", 4), (" life", 8), ("less", 16), (" mess", 32),
              (".", 64), (".", 128)]  # fmt: skip
    assert words(explained(tokens)) == [
        ("a", "A", 1),
        ("dull", "dull", 2),
        (",", ",", 4),
        ("lifeless", "lifeless", 24),
        ("mess", "mess", 32),
        (".", ".", 64),
        (".", ".", 128),
    ]


def test_punctuation_inside_of_a_word_is_the_words(explained):
    tokens = [("(", 1), ("can", 2), ("'", 4), ("t", 8), (")", 16)]
    assert words(explained(tokens)) == [("(", "(", 1), ("can't", "can't", 14), (")", ")", 16)]


def test_words_of_a_script_without_spaces_are_the_tokenizers(explained):
    assert words(explained([("映画", 1), ("は", 2), ("最高", 4)])) == [
        ("映画", "映画", 1),
        ("は", "は", 2),
        ("最高", "最高", 4),
    ]


def test_sentences_stay_whole(explained):
    parts = [("It is bad.", 1), (" It is BAD!", 2)]
    assert words(explained(parts)) == [
        ("it is bad", "It is bad.", 1),
        ("it is bad", "It is BAD!", 2),
    ]


def test_white_space_has_a_name(explained):
    assert words(explained([("a", 1), ("\n", 2), ("b", 4)])) == [
        ("a", "a", 1),
        (LINE_BREAK, "\n", 2),
        ("b", "b", 4),
    ]


def test_special_tokens_are_apart_and_so_are_two_texts(explained):
    parts = [("[CLS]", 1), ("one", 2), ("[SEP]", 4), ("two", 8), ("[SEP]", None)]
    reading = read(explained(parts))
    [case] = reading.cases
    assert reading.text == "one | two"
    assert case.scores.tolist() == [2, 8]
    assert reading.special == ("[CLS]", "[SEP]")
    assert case.special.tolist() == [1, 4]
    assert [word.key for word in reading.words] == ["one", "two"]


def test_what_has_no_score_parts_words(explained):
    assert words(explained([("un", 1), ("believ", None), ("able", 4)])) == [
        ("un", "un", 1),
        ("able", "able", 4),
    ]


def test_extents_count_visible_characters(explained):
    reading = read(explained([("ab", 1), (" ", 2), (" cde", 4)]))
    starts, stops = reading.extents()
    assert starts.tolist() == [0, 2, 2]
    assert stops.tolist() == [2, 2, 5]
    assert reading.widths().tolist() == [2, 1, 3]


def test_labels_one_by_one_are_a_case_each(explained):
    one = explained([("a", [1, -1]), ("b", [2, -2])], names=("GOOD", "BAD"), value=[-0.1, -2.3])
    good, bad = read(one).cases
    assert (good.target, good.answer, good.value) == ("GOOD", "GOOD", -0.1)
    assert good.scores.tolist() == [1, 2]
    assert (bad.target, bad.answer, bad.value) == ("BAD", "BAD", -2.3)
    assert bad.scores.tolist() == [-1, -2]


def test_tokens_of_a_completion_are_one_case(explained):
    one = explained([("a", [1, 10]), ("b", [2, 20])], names=("x", "y"), value=[-1.0, -2.0],
                    task="text-generation")  # fmt: skip
    [case] = read(one).cases
    assert case.target == "the text generated"
    assert case.answer is None
    assert case.scores.tolist() == [11, 22]
    assert case.value == -3


@pytest.mark.parametrize(
    ("task", "names", "target", "answer"),
    [
        ("token-classification", ("B-PER of Ada",), "PER", None),
        ("token-classification", ("B-PER of Ada", "I-PER of Byron of Kent"), "PER", None),
        ("token-classification", ("O of of",), "O", None),
        ("question-answering", ("start of Bank of Rome", "end of Bank of Rome"), "the answer",
         "Bank of Rome"),
        ("zero-shot", ("sport",), "sport", "sport"),
        ("", (), "the score", None),
    ],
)  # fmt: skip
def test_what_is_explained_by_task(explained, task, names, target, answer):
    [case] = read(explained([("a", 1)], names=names, task=task)).cases
    assert (case.target, case.answer) == (target, answer)


def test_a_contrast_is_another_target(explained):
    [case] = read(explained([("a", 1)], foil="BAD", options={"foil": "BAD"})).cases
    assert case.target == "GOOD rather than BAD"
    assert case.answer == "GOOD"


def test_the_same_input_is_the_same_whatever_explains_it(explained):
    words = explained([("a b", 1)])
    tokens = explained([("a", 1), (" b", 2)], model="other", method="lime", name="BAD")
    assert read(words).identity == read(tokens).identity
    assert read(words).identity != read(explained([("a c", 1)])).identity
    # Another model calls the text otherwise, and is told its labels.
    told = {"sentence": "a b", "candidate_labels": ["x"], "hypothesis_template": "It is {}."}
    assert read(words).identity == read(explained([("a b", 1)], inputs=told)).identity
    # Without the texts that were given: by what is shown.
    bare = [explained(parts, inputs={}) for parts in ([("a b", 1)], [("a", 1), ("  b", 2)])]
    assert read(bare[0]).identity == read(bare[1]).identity


def test_of_no_part_at_all(explained):
    reading = read(explained([]))
    [case] = reading.cases
    assert reading.text == ""
    assert reading.words == ()
    assert reading.word_scores(case).shape == (0,)
    assert np.array_equal(reading.extents()[0], [])
