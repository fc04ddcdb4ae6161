"""Classifiers, taggers, question answerers and zero-shot: what they read, and what they say."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import transformers
from encoders import SENTENCE, answerer, bert, classifier, tagger, tokenizer, zero_shot

from lit_plugins.attribution.text_explainer import Ask, TextExplainer
from lit_plugins.errors import InputError, SourceError, SpecError
from lit_plugins.models.encoded import NO_FIELD, Encoded, Inquiry, token_offsets
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.models.hf_tokens import split_tag
from lit_plugins.models.kinds import head_of
from lit_plugins.sources import ModelOptions

TEXT = "We visited Paris last weekend, where Ada lives."

TEXTS = [
    TEXT,
    "one\ttwo \n three",
    "né ö ñ",
    "الكلب يأكل the dog",
    "犬は食べる。the dog",
    "😀 dogs 👩‍👩‍👧 cats",
    "  spaces   before and behind  ",
    "[SEP] [MASK] [CLS]",
    "zqx" * 50,
]


# What a text becomes.


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_slices_of_the_text(text):
    [made] = classifier().encode([text])
    own = made.places(0)
    joined = "".join(made.pieces[own])
    assert joined
    assert joined in text
    assert joined.strip() == text.strip() or made.dropped
    for place in range(own.start, own.stop):
        begin, end = made.spans[place]
        assert made.pieces[place].endswith(text[begin:end])
    assert list(made.ids) == tokenizer()(text, max_length=64, truncation=True)["input_ids"]
    assert made.fields[0] == made.fields[-1] == NO_FIELD


def test_a_special_token_in_the_text_is_the_users():
    [made] = classifier().encode(["a [SEP] b"])
    assert made.pieces == ("[CLS]", "a", " [SEP]", " b", "[SEP]")
    assert made.fields == (-1, 0, 0, 0, -1)


def test_pairs_and_token_types():
    [made] = classifier(fields=("text_a", "text_b")).encode(["ada lives", "in oslo"])
    assert made.fields == (-1, 0, 0, -1, 1, 1, -1)
    assert made.types == (0, 0, 0, 0, 1, 1, 1)
    assert made.pieces[made.places(1)] == ("in", " oslo")


def test_long_texts_lose_their_end():
    [made] = classifier(max_length=10).encode(["dogs " * 30])
    assert len(made.ids) == 10
    assert made.dropped == 30 + 2 - 10  # two special tokens
    [one] = classifier().encode(["dogs and " * 20_000])
    assert len(one.ids) == 64


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (None, "text must be text. Got NoneType"),
        (7, "text must be text. Got int"),
        (["a", "b"], "text must be text. Got list"),
        ("a\ud800b", "half a surrogate pair at character 1"),
        ("a" * 1_000_001, r"1,000,001 characters; at most 1,000,000"),
    ],
)
def test_what_is_no_text(text, match):
    model = classifier()
    with pytest.raises(InputError, match=match):
        model.texts_of({"text": text})
    with pytest.raises(InputError, match=match.removeprefix("text ")):
        answerer().answer([{"question": "a", "context": text}])


def test_missing_fields_are_named():
    with pytest.raises(
        InputError, match=r"no 'text_b'\. Expected the fields text_a, text_b. Got: t"
    ):
        classifier(fields=("text_a", "text_b")).texts_of({"text_a": "a"})
    with pytest.raises(InputError, match="no 'context'"):
        answerer().answer([{"question": "a"}])
    with pytest.raises(InputError, match="no 'text'"):
        tagger().tag([{}])
    with pytest.raises(InputError, match="no 'text'"):
        zero_shot(candidate_labels=("a",)).entailments([{}])


def test_empty_texts_are_answered():
    for text in ("", "   ", "\n"):
        logits = classifier().logits_of([classifier().texts_of({"text": text})])
        assert np.isfinite(logits).all()
        assert tagger().tag([{"text": text}])[0].words == ()


# Batches.


@pytest.mark.parametrize("make", [classifier, tagger, answerer])
def test_padding_changes_nothing(make):
    model = make()
    fields = {"question": "where", "context": ""}
    short, long = "ada lives", "ada lives in oslo with two dogs and a cat"
    texts = [
        model.encode([one] if len(model.fields) == 1 else [fields["question"], one])[0]
        for one in (long, short)
    ]
    inquiries = [
        Inquiry(one, (0,), (1,), ("",), (0,), allowed=np.ones(len(one.ids), bool)) for one in texts
    ]
    with torch.no_grad():
        batch = model.batch(inquiries)
        both = model.logits(model.features(batch), batch)
        alone = model.batch(inquiries[1:])
        one = model.logits(model.features(alone), alone)
    torch.testing.assert_close(both[1:, :, : one.shape[-1]], one, rtol=1e-5, atol=1e-5)


def test_batches_are_bounded_by_tokens():
    model = classifier()
    lengths = [9, 2, 9, 3, 40]
    groups = list(model.in_batches(lengths, 20))
    assert sorted(place for group in groups for place in group) == [0, 1, 2, 3, 4]
    for group in groups:
        assert len(group) == 1 or len(group) * max(lengths[place] for place in group) <= 20


def test_models_that_pad_in_front_get_texts_of_one_length():
    model = classifier()
    model.pads = False
    lengths = [5, 4, 5, 5, 4, 7]
    assert all(len({lengths[place] for place in group}) == 1 for group in model.in_batches(lengths))


# Heads.


@pytest.mark.parametrize(
    ("problem", "labels", "option", "head"),
    [
        (None, 3, None, "one_of"),
        (None, 1, None, "yes_or_no"),
        ("regression", 1, None, "number"),
        ("multi_label_classification", 3, None, "any_of"),
        ("multi_label_classification", 3, "single_label_classification", "one_of"),
        (None, 1, "regression", "number"),
    ],
)
def test_heads(problem, labels, option, head):
    assert head_of(problem, labels, ModelOptions(problem_type=option)) == head


def test_probabilities_are_the_heads_own():
    logits = np.array([[1.0, -2.0, 0.5]], np.float32)
    tensor = torch.as_tensor(logits)
    for problem, expected in (
        (None, tensor.softmax(-1)),
        ("multi_label_classification", tensor.sigmoid()),
        ("regression", tensor),
    ):
        made = classifier(problem=problem).probabilities(logits)
        np.testing.assert_allclose(made, expected, rtol=1e-6)


def test_labels_missing_in_the_config_are_numbered():
    model = bert("SequenceClassification", ("x", "y"))
    model.config.id2label = {0: "x", 7: "z"}
    made = HFSequenceClassifier(model, tokenizer(), ModelOptions())
    model.config.id2label = {0: "x", 1: "y"}
    assert made.labels == ("x", "LABEL_1")


def test_inquiries_about_labels():
    model = classifier()
    [best] = model.inquiries([{"text": TEXT}], [None], [None])
    logits = model.logits_of([best.text])
    assert best.targets == (int(logits.argmax()),)
    assert best.names == (model.labels[best.targets[0]],)
    [every] = model.inquiries([{"text": TEXT}], [None], [None], every=True)
    assert every.names == model.labels
    with pytest.raises(InputError, match=r"no label 'POSITVE'\. Did you mean 'POSITIVE'"):
        model.inquiries([{"text": TEXT}], ["POSITVE"], [None])
    with pytest.raises(InputError, match="a label is of the whole text"):
        model.inquiries([{"text": TEXT}], [None], ["Paris"])
    one = classifier(("RELEVANT",))
    [against] = one.inquiries([{"text": TEXT}], ["not RELEVANT"], [None])
    assert (against.rows, against.targets) == ((0,), (0,))


# Zero-shot.


def test_zero_shot_scores_are_those_of_the_pipeline():
    model = zero_shot(candidate_labels=("dogs", "a cat", "paris"))
    example = {"text": "ada lives with two dogs"}
    [logits] = model.entailments([example])
    pipeline = transformers.pipeline(
        "zero-shot-classification", model=model.model, tokenizer=tokenizer()
    )
    for multi in (False, True):
        theirs = pipeline(
            example["text"],
            ["dogs", "a cat", "paris"],
            hypothesis_template="This text is about {}.",
            multi_label=multi,
        )
        problem = "multi_label_classification" if multi else None
        ours = zero_shot(candidate_labels=("dogs",), problem_type=problem).scores(logits)
        expected = dict(zip(theirs["labels"], theirs["scores"], strict=True))
        np.testing.assert_allclose(ours, [expected[x] for x in ("dogs", "a cat", "paris")], 1e-4)


@pytest.mark.parametrize(
    ("example", "match"),
    [
        ({"text": "a"}, "candidate_labels is .*: expected one label at least"),
        ({"text": "a", "candidate_labels": ["x", "x"]}, "holds 'x' twice"),
        ({"text": "a", "candidate_labels": ["x", ""]}, "expected one label at least, each of them"),
        (
            {"text": "a", "candidate_labels": ["x"], "hypothesis_template": "It is so."},
            "hypothesis_template is 'It is so.': it must hold {} once",
        ),
    ],
)
def test_zero_shot_bad_examples(example, match):
    with pytest.raises(InputError, match=match):
        zero_shot().entailments([example])


def test_zero_shot_needs_an_entailment_label():
    from lit_plugins.models.hf_zero_shot import HFZeroShotClassifier

    with pytest.raises(SourceError, match=r"none of its labels \(no, yes\) begins with 'entail'"):
        HFZeroShotClassifier(
            bert("SequenceClassification", ("no", "yes")), tokenizer(), ModelOptions()
        )


# Tags.


def test_words_and_their_tags():
    model = tagger()
    [made] = model.tag([{"text": TEXT}])
    assert [word.text for word in made.words] == [
        "We", "visited", "Paris", "last", "weekend", ",", "where", "Ada", "lives", "."
    ]  # fmt: skip
    for word in made.words:
        assert TEXT[word.begin : word.end] == word.text
    # The first piece gives the tag.
    with torch.no_grad():
        logits = model.model(**tokenizer()([TEXT], return_tensors="pt")).logits[0]
    visited = made.words[1]
    assert len(visited.tokens) == 2
    np.testing.assert_allclose(visited.scores, logits[visited.tokens[0]].softmax(-1), rtol=1e-5)


def test_aggregation():
    scores = {}
    for how in ("first", "max", "average"):
        [made] = tagger(aggregation=how).tag([{"text": TEXT}])
        scores[how] = made.words[1].scores
    [made] = tagger().tag([{"text": TEXT}])
    with torch.no_grad():
        logits = tagger().model(**tokenizer()([TEXT], return_tensors="pt")).logits[0]
    each = logits[list(made.words[1].tokens)].softmax(-1).numpy()
    np.testing.assert_allclose(scores["average"], each.mean(0), rtol=1e-5)
    np.testing.assert_allclose(scores["max"], each[each.max(1).argmax()], rtol=1e-5)
    assert not np.allclose(scores["first"], scores["average"])


def test_given_words_are_kept():
    model = tagger()
    tokens = ["We", "visited", "Paris", "last", "weekend,", "where", "Ada", "lives."]
    [made] = model.tag([{"text": TEXT, "tokens": tokens}])
    assert [word.text for word in made.words] == tokens
    [alone] = model.tag([{"tokens": ["Ada", "lives", "."]}])
    assert alone.text == "Ada lives ."
    [edited] = model.tag([{"text": "Two dogs.", "tokens": tokens}])
    assert [word.text for word in edited.words] == ["Two", "dogs", "."]
    with pytest.raises(InputError, match=r"tokens is .*: expected a list of words"):
        model.tag([{"text": TEXT, "tokens": "We"}])


def test_words_of_which_the_tokenizer_makes_nothing():
    [made] = tagger().tag([{"tokens": ["ada", "\u200b\u200b", "lives"]}])
    assert [word.text for word in made.words] == ["ada", "\u200b\u200b", "lives"]
    assert made.words[1].tokens == ()
    assert tagger().labels[made.words[1].tag] == "O"


def test_long_texts_are_read_in_windows():
    """Each word once, where it is farthest from an edge; in the middle as in one window."""
    words = SENTENCE.split() * 3
    text = " ".join(words)
    model = tagger(max_length=20)
    [made] = model.tag([{"text": text}])
    assert len(made.windows) > 2
    assert all(len(window.ids) <= 20 for window in made.windows)
    assert [word.text for word in made.words] == words
    for word in made.words:
        window = made.windows[word.window]
        own = window.places(0)
        room = min(
            word.tokens[0] - own.start if word.window else 99,
            own.stop - 1 - word.tokens[-1] if word.window + 1 < len(made.windows) else 99,
        )
        assert room >= 1 or room == 99


def test_entities():
    model = tagger()
    tags = ["B-PER", "I-PER", "O", "B-CITY", "B-CITY", "I-CITY", "I-PER"]
    from lit_plugins.models.hf_tokens import Tagged, Word

    one_hot = {name: np.eye(5)[place] for place, name in enumerate(model.labels)}
    words = tuple(
        Word(f"w{n}", 3 * n, 3 * n + 2, 0, (n + 1,), one_hot[tag]) for n, tag in enumerate(tags)
    )
    found = model.entities(Tagged("", (), words))
    assert [(one.label, one.first, one.last) for one in found] == [
        ("PER", 0, 2), ("CITY", 3, 4), ("CITY", 4, 6), ("PER", 6, 7)
    ]  # fmt: skip
    without = tagger(ignored_labels=("O", "CITY"))
    assert [one.label for one in without.entities(Tagged("", (), words))] == ["PER", "PER"]


@pytest.mark.parametrize(
    ("tag", "parts"),
    [("B-CITY", ("B", "CITY")), ("O", ("", "O")), ("E-MAIL", ("E", "MAIL")), ("X-1", ("", "X-1"))],
)
def test_split_tag(tag, parts):
    assert split_tag(tag) == parts


@pytest.mark.parametrize(
    ("span", "names"),
    [("Paris", ["Paris"]), ("word 2", ["visited"]), ("Ada lives", ["Ada", "lives"])],
)
def test_inquiries_about_tags(span, names):
    [made] = tagger().inquiries([{"text": TEXT}], ["B-CITY"], [span])
    assert made.names == tuple(f"B-CITY of {name}" for name in names)
    assert set(made.targets) == {3}


def test_inquiries_about_no_part_of_the_text():
    model = tagger()
    beyond = "the text has words 1 to 10"
    for span, match in (("London", "not in the text"), ("word 99", beyond), ("word 0", beyond)):
        with pytest.raises(InputError, match=match):
            model.inquiries([{"text": TEXT}], [None], [span])
    with pytest.raises(InputError, match="no label 'B-TOWN'"):
        model.inquiries([{"text": TEXT}], ["B-TOWN"], ["Paris"])
    with pytest.raises(InputError, match="has no word whose tag"):
        model.inquiries([{"text": " "}], [None], [None])


# Answers.

CONTEXT = "Ada lives in Oslo with two dogs and a cat. "
ASKED = {"question": "Where is Ada?", "context": CONTEXT}


def _all_spans(model, example, longest=30):
    """Every span's probability, one by one."""
    made = tokenizer()(example["question"], example["context"], return_tensors="pt")
    with torch.no_grad():
        output = model.model(**made)
    second = np.array([one == 1 for one in made.encodings[0].sequence_ids])
    second[0] |= model.options.no_answer
    start, end = (
        torch.where(torch.as_tensor(second), logits[0], -torch.inf).softmax(-1).numpy()
        for logits in (output.start_logits, output.end_logits)
    )
    spans = {}
    for first in np.flatnonzero(second):
        for last in np.flatnonzero(second):
            if first <= last < first + longest and (first > 0 or last == 0):
                spans[int(first), int(last)] = float(start[first] * end[last])
    return spans


@pytest.mark.parametrize("no_answer", [True, False])
def test_answers_are_the_likeliest_spans(no_answer):
    model = answerer(no_answer=no_answer)
    expected = sorted(_all_spans(model, ASKED).items(), key=lambda item: -item[1])[:5]
    [made] = model.answer([ASKED], 5)
    assert [(one.first, one.last) for one in made] == [span for span, _ in expected]
    np.testing.assert_allclose([one.score for one in made], [p for _, p in expected], rtol=1e-4)
    for one in made:
        assert CONTEXT[one.begin : one.end].strip() == one.text


def test_no_answer():
    model = answerer()
    [[*answers]] = model.answer([ASKED], 1000)
    assert any(one.text == "" for one in answers)
    assert all(one.text for one in answerer(no_answer=False).answer([ASKED], 1000)[0])
    [made] = model.inquiries([ASKED], [""], [None])
    assert made.targets == (0, 0)
    with pytest.raises(InputError, match="it always answers"):
        answerer(no_answer=False).inquiries([ASKED], [""], [None])


def test_long_contexts_are_read_in_strides():
    model = answerer(max_length=24)
    example = {**ASKED, "context": CONTEXT * 5}
    windows = model.windows_of(example)
    assert len(windows) > 3
    assert all(len(one.ids) <= 24 for one in windows)
    seen = {span for one in windows for span in np.asarray(one.spans)[one.places(1)].tolist() and
            [tuple(x) for x in np.asarray(one.spans)[one.places(1)].tolist()]}  # fmt: skip
    whole = tokenizer()(example["context"], add_special_tokens=False).encodings[0]
    assert seen == set(whole.offsets)
    [answers] = model.answer([example], 3)
    for one in answers:
        assert example["context"][one.begin : one.end].strip() == one.text


def test_inquiries_about_answers():
    model = answerer()
    [both] = model.inquiries([ASKED], ["Oslo"], [None])
    assert both.names == ("start of Oslo", "end of Oslo")
    assert both.text.pieces[both.targets[0]] == " Oslo"
    [end] = model.inquiries([ASKED], ["two dogs"], ["end"])
    assert end.rows == (1,)
    assert end.text.pieces[end.targets[0]] == " dogs"
    with pytest.raises(InputError, match="'Berlin' is not in the context"):
        model.inquiries([ASKED], ["Berlin"], [None])
    with pytest.raises(InputError, match="expected start or end"):
        model.inquiries([ASKED], [None], ["middle"])
    with pytest.raises(InputError, match="question leaves no room"):
        answerer(max_length=16).answer([{"question": "where " * 30, "context": CONTEXT}])


# Models that cannot be explained are refused.


def test_a_model_without_a_fast_tokenizer_is_refused():
    class Slow:
        is_fast = False

    with pytest.raises(SourceError, match="cannot say which characters a token stands for"):
        HFSequenceClassifier(bert("SequenceClassification"), Slow(), ModelOptions())


def test_a_model_that_reads_its_ids_twice_is_refused():
    model = bert("SequenceClassification", ("p", "q"))

    class Cheat(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.config, self.device = model.config, torch.device("cpu")
            self.table = torch.nn.Embedding(200, 8)
            self.other = torch.nn.Embedding(200, 2)

        def get_input_embeddings(self):
            return self.table

        def forward(self, input_ids, **_):
            self.table(input_ids)
            return type("Output", (), {"logits": self.other(input_ids).sum(1)})()

    with pytest.raises(SourceError, match="does not get everything from its token embeddings"):
        HFSequenceClassifier(Cheat(), tokenizer(), ModelOptions())


def test_damaged_weights_are_refused():
    model = transformers.BertForSequenceClassification(bert("SequenceClassification").config)
    with torch.no_grad():
        model.classifier.bias.fill_(float("nan"))
    with pytest.raises(SourceError, match="not finite"):
        HFSequenceClassifier(model, tokenizer(), ModelOptions())


def test_max_length():
    assert classifier().max_length == 64
    with pytest.raises(SpecError, match="max_length=65 is more than this model's context of 64"):
        classifier(max_length=65)


def test_nothing_stays_on_the_model():
    model = classifier()

    def hooks() -> list[int]:  # transformers has some of its own
        return [len(module._forward_hooks) for module in model.model.modules()]

    before = hooks()
    [text] = model.encode([TEXT])
    batch = model.batch([Inquiry(text, (0,), (1,), ("",), (0,))])
    model.logits(model.features(batch), batch)
    with pytest.raises(RuntimeError):
        model.logits(torch.zeros(1, 2, 3), batch)
    assert hooks() == before
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_eager_attention_for_a_while():
    model = classifier()
    before = model.model.config._attn_implementation
    with model.eager():
        [text] = model.encode([TEXT])
        [(_, _, output)] = model.run([text], output_attentions=True)
    assert output.attentions[0].shape == (1, 3, len(text.ids), len(text.ids))
    assert model.model.config._attn_implementation == before


def test_tokens_found_in_a_text():
    assert token_offsets("a b ab", ["a", "b", "ab"]) == [(0, 1), (2, 3), (4, 6)]
    assert token_offsets("a b", ["b", "a"]) == [(2, 3)]


def test_a_text_without_some_tokens():
    [text] = classifier().encode(["ada lives in oslo"])
    left = text.without(np.array([True, True, False, False, True, True]))
    assert left.pieces == ("[CLS]", "ada", " oslo", "[SEP]")
    assert isinstance(left, Encoded)
    assert len(left.ids) == len(left.types) == len(left.words) == 4


# Rows that no head reads.


def test_the_last_layer_computes_the_first_row_alone():
    model = classifier()
    assert model._behind is model.model.bert.encoder.layer[-1].attention.output
    rows = []
    last = model.model.bert.encoder.layer[-1].intermediate
    handle = last.register_forward_hook(lambda _, inputs, __: rows.append(inputs[0].shape[1]))
    explainer = TextExplainer(model)
    texts = [Ask("what a dog"), Ask("a cat is a cat is what")]
    options = {"output": "logit", "method": "integrated_gradients", "steps": 5}
    quick = explainer.explain_all(texts, **options)
    assert set(rows) == {1}
    model._behind = None
    whole = TextExplainer(model).explain_all(texts, **options)
    assert max(rows) > 1
    handle.remove()
    for one, other in zip(quick, whole, strict=True):
        assert one.scores == pytest.approx(other.scores, rel=1e-4, abs=1e-6)
        assert one.value == pytest.approx(other.value, rel=1e-5)


def test_heads_that_read_other_rows_get_them():
    class Mean(torch.nn.Module):
        def forward(self, hidden):
            return torch.tanh(hidden.mean(1))

    module = copy.deepcopy(bert("SequenceClassification"))
    module.bert.pooler = Mean()
    model = HFSequenceClassifier(module, tokenizer(), ModelOptions(), "tiny")
    assert model._behind is None
    assert tagger()._behind is None
    assert answerer()._behind is None
