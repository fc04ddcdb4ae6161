"""Classifiers, taggers and question answerers as LIT models, driven as LIT drives them."""

from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from encoders import answerer, classifier, tagger, zero_shot
from lit_nlp import app as lit_app
from lit_nlp import server_flags
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.components import ablation_flip, core, hotflip
from lit_nlp.lib import caching, serialize

from lit_plugins import datasets
from lit_plugins.components.encoders import ATTENTION_TOKENS, EncoderModel
from lit_plugins.components.loading import Loadable
from lit_plugins.errors import InputError, SourceError, SpecError
from lit_plugins.models import kinds
from lit_plugins.server import build
from lit_plugins.sources import parse_model

TEXTS = ["we visited paris", "ada lives in oslo with two dogs and a cat", "", "naïve 👋", "a\n\nb"]
PAIR = ("text_a", "text_b")


@pytest.fixture
def lit(ready):
    """A loaded model as LIT's model."""

    def make(model) -> EncoderModel:
        profile = kinds.profile_of_loaded(model, "tiny")
        return build.lit_models("tiny", ready(model), profile, "hf:tiny")["tiny"]

    return make


def everything():
    """A model of each kind and examples for it."""
    texts = [{"text": text} for text in TEXTS]
    pairs = [{"text_a": text, "text_b": "is it?"} for text in TEXTS]
    on = {"attention": True, "gradients": True}
    topics = {"candidate_labels": ("a cat", "oslo")}
    questions = [{"question": "where?", "context": text or "no"} for text in TEXTS]
    return {
        "one of three": (classifier(**on), texts),
        "one logit": (classifier(("RELEVANT",), fields=PAIR, **on), pairs),
        "any of three": (classifier(problem="multi_label_classification", **on), texts),
        "a number": (classifier(("LABEL_0",), "regression", fields=PAIR, **on), pairs),
        "numbers": (classifier(("x", "y"), "regression", **on), texts),
        "zero-shot": (zero_shot(attention=True, **topics), texts),
        "zero-shot, own labels": (
            zero_shot(),
            [one | {"candidate_labels": ["a", f"b{place}"]} for place, one in enumerate(texts)],
        ),
        "tags": (tagger(attention=True), texts),
        "answers": (answerer(attention=True), questions),
    }


@pytest.fixture(params=list(everything()))
def case(request):
    return everything()[request.param]


def test_what_the_specs_promise_is_there(lit, case):
    model, examples = case
    made = lit(model)
    spec = made.output_spec()
    for fields in (made.input_spec(), spec):
        # A subclass of a LitType, or an extra attribute on one, kills the client.
        assert all(type(field).__module__ == lit_types.__name__ for field in fields.values())
        serialize.to_json(fields)
    outputs = made.predict([example | {"_id": "x"} for example in examples])
    data = lit_dataset.Dataset(made.input_spec(), examples)
    for example, output in zip(examples, outputs, strict=True):
        assert set(output) == set(spec)
        text = serialize.to_json(output, simple=True)
        assert "NaN" not in text
        assert "Infinity" not in text
        for name, field in spec.items():
            if not isinstance(field, lit_types.MulticlassPreds):
                field.validate_output(
                    output[name], spec, output, made.input_spec(), data.spec(), example
                )
        for name, field in spec.items():
            align = getattr(field, "align", None)
            if isinstance(align, str) and not isinstance(field, lit_types.SpanLabels):
                assert len(output[name]) == len(output[align])
            if isinstance(field, lit_types.AttentionHeads):
                tokens = len(output[field.align_in])
                assert output[name].shape == (3, tokens, tokens)
                np.testing.assert_allclose(output[name].astype(float).sum(-1), 1, atol=0.01)
        assert output["embedding"].shape == (24,)
    assert made.predict([]) == []
    assert json.loads(serialize.to_json(made.description())) == made.description()


def test_a_batch_is_its_examples(lit, case):
    model, examples = case
    made = lit(model)
    for example, together in zip(examples, made.predict(examples), strict=True):
        [alone] = made.predict([example])
        for name, value in alone.items():
            if isinstance(value, np.ndarray):
                atol = 2e-3 * max(1.0, np.abs(value).max(initial=0))
                np.testing.assert_allclose(together[name], value, atol=atol)
            elif isinstance(value, float):
                assert together[name] == pytest.approx(value, abs=1e-4)


def test_nothing_is_loaded_for_the_specs_and_lits_start(case):
    def load():
        raise SourceError("loaded too early")

    profile = kinds.profile_of_loaded(case[0], "tiny")
    loadable = Loadable("tiny", load)
    made = build.lit_models("tiny", loadable, profile, "")["tiny"]
    data = datasets.from_records(case[1], "data")
    assert made.is_compatible_with_dataset(data)
    components = {**build.interpreters({"tiny": made}), **core.default_generators()}
    for component in components.values():
        component.is_compatible(made, data)
    assert loadable.status()["state"] == "waiting"
    with pytest.raises(SourceError, match="too early"):
        made.predict(case[1])


# Predictions.


def test_probabilities_are_the_models(lit):
    model = classifier()
    [output] = lit(model).predict([{"text": TEXTS[1]}])
    expected = model.probabilities(model.logits_of([model.texts_of({"text": TEXTS[1]})]))[0]
    np.testing.assert_allclose(output["probas"], expected, atol=1e-6)
    spec = lit(model).output_spec()["probas"]
    assert tuple(spec.vocab) == ("NEGATIVE", "POSITIVE", "MIXED")
    assert (spec.parent, spec.null_idx) == ("label", None)


def test_one_logit_is_a_label_and_its_opposite(lit):
    model = classifier(("RELEVANT",), fields=PAIR)
    made = lit(model)
    [output] = made.predict([{"text_a": "we", "text_b": "lives in oslo"}])
    assert tuple(made.output_spec()["probas"].vocab) == ("not RELEVANT", "RELEVANT")
    assert made.output_spec()["probas"].null_idx == 0  # for LIT's thresholder
    assert output["probas"][1] == pytest.approx(1 / (1 + np.exp(-output["score"])), abs=1e-6)
    assert output["probas"].sum() == pytest.approx(1)


def test_of_two_labels_the_negative_one_is_null(lit):
    spec = lit(classifier(("POSITIVE", "NEGATIVE"))).output_spec()
    assert spec["probas"].null_idx == 1


def test_a_long_text_has_no_attention_and_says_so(lit, monkeypatch):
    monkeypatch.setattr("lit_plugins.components.encoders.ATTENTION_TOKENS", 8)
    made = lit(classifier(attention=True))
    short, long = made.predict([{"text": "a cat"}, {"text": TEXTS[1]}])
    assert short["layer_2/attention"].shape == (3, 4, 4)
    assert short["attention_tokens"] == ["[CLS]", "a", "▁cat", "[SEP]"]
    assert long["layer_2/attention"].size == 0
    assert long["attention_tokens"] == []
    assert long["probas"].sum() == pytest.approx(1)
    with pytest.raises(InputError, match=r"11 tokens|12 tokens.* 8 at most"):
        made.attention_of({"text": TEXTS[1]})
    assert ATTENTION_TOKENS > 8


def test_attention_needs_to_know_the_layers(ready):
    profile = kinds.Profile("text-classification", ("a", "b"), options=classifier().options)
    options = profile.options.model_copy(update={"attention": True})
    profile = kinds.Profile("text-classification", ("a", "b"), options=options)
    with pytest.raises(SpecError, match="num_hidden_layers"):
        build.lit_models("tiny", ready(classifier()), profile, "")


def test_the_embedding_is_of_the_texts_own_tokens(lit):
    model = classifier()
    text = model.texts_of({"text": TEXTS[1]})
    [(_, _, output)] = model.run([text], output_hidden_states=True)
    expected = model.backend.to_numpy(output.hidden_states[-1])[0, 1:-1].mean(0)
    [made] = lit(model).predict([{"text": TEXTS[1]}])
    np.testing.assert_allclose(made["embedding"], expected, atol=1e-6)
    assert "embedding" not in lit(classifier(embeddings=False)).output_spec()


def test_words_tags_and_entities_fit_together(lit):
    text = "We visited Paris with Ada."
    tokens = ["We", "visited", "Paris", "with", "Ada", "."]
    tags = ["O", "O", "B-CITY", "O", "B-PER", "O"]
    example = {"text": text, "tokens": tokens, "tags": tags}
    [output] = lit(tagger()).predict([example])
    assert output["tokens"] == tokens
    assert len(output["predicted_tags"]) == len(tokens)
    for span, entity in zip(output["spans"], output["entities"], strict=True):
        named = output["predicted_tags"][span.start : span.end]
        assert {tag.partition("-")[2] for tag in named} == {span.label} == {entity.label}
        [place] = entity.spans
        assert text[place.start : place.end].startswith(tokens[span.start])
        assert place.align == "text"
    in_data = [(one.label, one.spans[0].label) for one in output["entities_in_data"]]
    assert in_data == [("CITY", "Paris"), ("PER", "Ada")]
    # The data's tags are of words that an edited text does not have.
    [edited] = lit(tagger()).predict([example | {"text": "We visited Oslo with Ada."}])
    assert edited["entities_in_data"] == []


def test_answers_stand_in_the_context(lit):
    context = "Ada lives in Oslo. Two dogs live with a cat."
    example = {"question": "Where?", "context": context}
    [output] = lit(answerer(no_answer=False)).predict([example])
    assert output["answer"] == output["best_answers"][0][0]
    assert output["answer_score"] == output["best_answers"][0][1]
    assert len(output["best_answers"]) == 5
    for cluster in output["answer_places"]:
        [span] = cluster.spans
        text = context[span.start : span.end].strip()
        assert cluster.label == f"{text} ({cluster.score:.2f})"
    [output] = lit(answerer()).predict([example])
    nothing = [one.label for one in output["answer_places"] if not one.spans]
    assert [one[0] for one in output["best_answers"] if one[0] == "(no answer)"] == [
        label.rpartition(" ")[0] for label in nothing
    ]


def test_zero_shot_labels_of_one_vocabulary_or_of_each_text(lit):
    model = zero_shot(candidate_labels=("paris", "oslo", "a cat"))
    made = lit(model)
    assert tuple(made.output_spec()["probas"].vocab) == ("paris", "oslo", "a cat")
    own = {"text": TEXTS[1], "candidate_labels": ["a cat", "oslo"]}
    whole, some = made.predict([{"text": TEXTS[1]}, own])
    assert whole["probas"].sum() == pytest.approx(1)
    assert some["probas"][0] == 0
    ratio = whole["probas"][1] / whole["probas"][2]
    assert some["probas"][1] / some["probas"][2] == pytest.approx(ratio, rel=1e-3)
    with pytest.raises(InputError, match="'elephants' is none of the labels"):
        made.predict([own | {"candidate_labels": ["elephants"]}])

    [output] = lit(zero_shot()).predict([own])
    assert {label for label, _ in output["scores"]} == {"a cat", "oslo"}
    assert output["scores"][0][1] >= output["scores"][1][1]
    multi = zero_shot(candidate_labels=("paris", "oslo"), problem_type="multi_label_classification")
    assert "probas" not in lit(multi).output_spec()


@pytest.mark.parametrize(
    ("model", "example", "message"),
    [
        (classifier, {}, "'text'"),
        (classifier, {"text": 5}, "text must be text"),
        (classifier, {"text": "\ud800"}, "text holds half a surrogate pair"),
        (lambda: classifier(fields=PAIR), {"text_a": "x"}, "'text_b'"),
        (zero_shot, {"text": "x"}, "candidate_labels"),
        (zero_shot, {"text": "x", "candidate_labels": ["a", "a"]}, "candidate_labels"),
        (zero_shot, {"text": "x", "candidate_labels": 3}, "candidate_labels"),
        (tagger, {}, "'text'"),
        (tagger, {"text": "a", "tokens": "a"}, "tokens is 'a'"),
        (tagger, {"text": "a", "tokens": ["a"], "tags": 3}, "tags is 3"),
        (answerer, {"question": "x"}, "'context'"),
        (answerer, {"question": None, "context": "x"}, "question must be text"),
        (lambda: answerer(no_answer=False), {"question": "x", "context": ""}, "context is empty"),
    ],
)  # fmt: skip
def test_bad_examples_say_which_field(lit, model, example, message):
    with pytest.raises(InputError, match=message):
        lit(model()).predict([example])


# Data.


def test_labels_that_the_model_does_not_have(lit, caplog):
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    good = [{"text": "a", "label": "POSITIVE"}, {"text": "b"}]
    assert made.is_compatible_with_dataset(datasets.from_records(good, "good"))
    assert not caplog.records
    bad = datasets.from_records([*good, {"text": "c", "label": "POS"}], "bad")
    with caplog.at_level(logging.WARNING):
        assert not made.is_compatible_with_dataset(bad)
        assert not made.is_compatible_with_dataset(bad)
    [record] = caplog.records
    for word in ("'bad'", "'tiny'", "'POS'", "NEGATIVE, POSITIVE", "labels=POS:POSITIVE"):
        assert word in record.getMessage()


def test_data_of_another_task_is_no_mistake(lit, caplog):
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    topics = [{"text": "a", "label": "x", "candidate_labels": ["x", "y"]}]
    assert not made.is_compatible_with_dataset(datasets.from_records(topics, "topics"))
    prompts = datasets.from_records([{"prompt": "a"}], "prompts")
    assert not made.is_compatible_with_dataset(prompts)
    assert not caplog.records


@pytest.mark.parametrize(
    ("labels", "problem", "label", "fits"),
    [
        (("a", "b"), None, 0.5, False),
        (("LABEL_0",), "regression", 0.5, True),
        (("LABEL_0",), "regression", "good", False),
    ],
)
def test_numbers_and_names_are_told_apart(lit, caplog, labels, problem, label, fits):
    made = lit(classifier(labels, problem))
    data = datasets.from_records([{"text": "a", "label": label}], "data")
    assert made.is_compatible_with_dataset(data) == fits
    assert bool(caplog.records) != fits


def test_lits_app_asks_the_model(lit, caplog):
    """It has a cache around each model and an index around each dataset."""
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    records = {
        "some": [{"text": "a", "label": "POSITIVE"}, {"text": "b"}],
        "other": [{"text": "a", "label": "POS"}],
        "prompts": [{"prompt": "a"}],
        "plain": [{"text": "a"}],
    }
    data = {name: datasets.from_records(some, name) for name, some in records.items()}
    app = lit_app.LitApp(
        {"tiny": made},
        data,
        client_root=server_flags.get_flag_holders()["client_root"].default,
        interpreters=build.interpreters({"tiny": made}),
        metrics=build.metrics(),
    )
    info = app._info["models"]["tiny"]
    assert info["datasets"] == ["some", "plain", "_union_empty"]
    assert "'POS'" in caplog.text
    assert {"multiclass", "paired"} <= set(info["metrics"])
    assert {"Gradient x input", "Attention"} <= set(info["interpreters"])
    assert "Hotflip" not in info["generators"]


def test_zero_shot_data_needs_labels(lit):
    texts = datasets.from_records([{"text": "a"}], "texts")
    topics = datasets.from_records([{"text": "a", "candidate_labels": ["x", "y"]}], "topics")
    assert not lit(zero_shot()).is_compatible_with_dataset(texts)
    assert lit(zero_shot()).is_compatible_with_dataset(topics)
    with_labels = lit(zero_shot(candidate_labels=("x", "y")))
    assert with_labels.is_compatible_with_dataset(texts)
    assert with_labels.is_compatible_with_dataset(topics)
    assert not lit(zero_shot(candidate_labels=("x",))).is_compatible_with_dataset(topics)


def test_tags_may_differ(lit, caplog):
    record = {"text": "a b", "tokens": ["a", "b"], "tags": ["O", "B-DOG"]}
    assert lit(tagger()).is_compatible_with_dataset(datasets.from_records([record], "data"))
    assert "'B-DOG'" in caplog.text


# LIT's metrics and generators.


def run_metrics(made, records):
    data = datasets.from_records(records, "data")
    found = {}
    for name, metric in build.metrics().items():
        if metric.is_compatible(made, data):
            for result in metric.run(data.examples, made, data, made.predict(data.examples)):
                found[name] = result["metrics"]
    return found


def test_metrics_leave_out_examples_without_a_label(lit):
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    said = [made.predict([{"text": text}])[0]["probas"].argmax() for text in TEXTS]
    names = [("NEGATIVE", "POSITIVE")[one] for one in said]
    records = [{"text": text, "label": name} for text, name in zip(TEXTS, names, strict=True)]
    assert run_metrics(made, records)["multiclass"]["accuracy"] == 1
    other = {"NEGATIVE": "POSITIVE", "POSITIVE": "NEGATIVE"}
    records[0]["label"] = ""  # the first one, which LIT's own takes for the last
    records[1]["label"] = other[names[1]]
    found = run_metrics(made, records)["multiclass"]
    assert found["accuracy"] == pytest.approx(3 / 4)
    assert found["num_missing_labels"] == 1


def test_metrics_of_several_labels(lit):
    model = classifier(problem="multi_label_classification")
    made = lit(model)
    records = []
    for text in TEXTS[:2]:
        [output] = made.predict([{"text": text}])
        records.append({"text": text, "labels": [one for one, p in output["scores"] if p > 0.5]})
    assert any(record["labels"] for record in records)
    assert run_metrics(made, records)["multilabel"]["exactmatch"] == 1
    assert set(dict(output["scores"])) == set(model.labels)


def test_metrics_of_labels_named_at_will(lit):
    made = lit(zero_shot())
    records = []
    for number, text in enumerate(TEXTS[:2]):
        record = {"text": text, "candidate_labels": ["a", f"b{number}"]}
        [output] = made.predict([record])
        records.append(record | {"label": output["scores"][0][0]})
    assert run_metrics(made, records)["best label"]["accuracy"] == 1
    records[0]["label"] = ({"a", "b0"} - {records[0]["label"]}).pop()
    assert run_metrics(made, records)["best label"]["accuracy"] == 0.5
    records[0]["label"] = ""
    assert run_metrics(made, records)["best label"]["accuracy"] == 1


def test_metrics_of_a_number(lit):
    made = lit(classifier(("LABEL_0",), "regression"))
    outputs = made.predict([{"text": text} for text in TEXTS])
    records = [
        {"text": text, "label": output["score"]}
        for text, output in zip(TEXTS, outputs, strict=True)
    ]
    assert run_metrics(made, records)["regression"]["mse"] == pytest.approx(0, abs=1e-8)


def test_metrics_of_tags(lit):
    made = lit(tagger())
    text = "ada lives in oslo with two dogs"
    [output] = made.predict([{"text": text}])
    assert output["spans"]
    record = {"text": text, "tokens": output["tokens"], "tags": output["predicted_tags"]}
    assert run_metrics(made, [record])["tags"] == {"precision": 1, "recall": 1, "f1": 1}
    nothing = record | {"tags": ["O"] * len(output["tokens"])}
    assert run_metrics(made, [nothing])["tags"]["precision"] == 0
    both = run_metrics(made, [record, nothing])["tags"]
    assert both["precision"] == pytest.approx(0.5)
    assert both["recall"] == 1


def test_metrics_of_answers(lit):
    made = lit(answerer(no_answer=False))
    context = "ada lives in oslo with two dogs"
    [output] = made.predict([{"question": "where?", "context": context}])
    record = {"question": "where?", "context": context}
    right = record | {"answers": [output["answer"], context]}
    assert run_metrics(made, [right])["answers"] == {"exact match": 1, "word F1": 1}
    wrong = record | {"answers": ["oslo" if "oslo" not in output["answer"] else "ada"]}
    found = run_metrics(made, [right, wrong])["answers"]
    assert found["exact match"] == pytest.approx(0.5)


def generate(generator, made, example):
    wrapped = caching.CachingModelWrapper(made, "tiny")
    data = datasets.from_records([example], "data")
    assert generator.is_compatible(wrapped, data)
    config = {
        "Prediction key": "probas",
        "Fields to flip tokens in": [
            name for name, field in made.input_spec().items() if isinstance(field, lit_types.Tokens)
        ],
        "Fields to ablate": [
            name
            for name, field in made.input_spec().items()
            if isinstance(field, lit_types.TextSegment)
        ],
    }
    return generator.generate(dict(example), wrapped, data, config)


@pytest.mark.parametrize("fields", [("text",), PAIR])
def test_hotflip_flips_the_prediction(lit, fields):
    made = lit(classifier(("NEGATIVE", "POSITIVE"), fields=fields, gradients=True))
    example = dict(zip(fields, ["ada lives in oslo", "two dogs"], strict=False))
    flipped = generate(hotflip.HotFlip(), made, example)
    assert flipped
    [before] = made.predict([example])
    for one in flipped:
        [after] = made.predict([one])
        assert after["probas"].argmax() != before["probas"].argmax()
        # What was flipped is what the model read: word pieces, not their text.
        tokens = "tokens" + fields[0].removeprefix("text")
        assert after[tokens] == one[tokens]


def test_hotflip_goes_with_the_option(lit):
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    data = datasets.from_records([{"text": "a"}], "data")
    assert not hotflip.HotFlip().is_compatible(made, data)
    assert "token_gradients" not in made.output_spec()


def test_ablation_flip_flips_the_prediction(lit):
    made = lit(classifier(("NEGATIVE", "POSITIVE")))
    for text in ("ada lives in oslo", "we visit paris", "two dogs and a cat"):
        if flipped := generate(ablation_flip.AblationFlip(), made, {"text": text}):
            break
    assert flipped
    [before] = made.predict([{"text": text}])
    [after] = made.predict([flipped[0]])
    assert after["probas"].argmax() != before["probas"].argmax()


def test_word_pieces_count_only_where_they_are_the_text(lit):
    made = lit(classifier(gradients=True))
    pieces = ["ada", "live", "##s", "##end"]
    pieces[1] = "lives"
    given = {"text": " ".join(pieces), "tokens": pieces}
    [by_pieces] = made.predict([given])
    assert by_pieces["tokens"] == pieces
    [by_text] = made.predict([{"text": given["text"]}])
    assert by_text["tokens"] != pieces
    for other in (["ada"], ["no", "such", "words"], "ada", [3], None, ["ADA", *pieces[1:]]):
        [output] = made.predict([given | {"tokens": other}])
        assert output["tokens"] == by_text["tokens"]
    long = ["ada"] * 100
    [cut] = made.predict([{"text": " ".join(long), "tokens": long}])
    assert cut["tokens"] == ["ada"] * 62


def test_gradients_are_those_of_the_likeliest_label(lit):
    """A small step along the gradient raises the log-probability as much as it says."""
    import torch

    from lit_plugins.models.encoded import Inquiry

    model = classifier(gradients=True)
    [output] = lit(model).predict([{"text": TEXTS[0]}])
    best = int(output["probas"].argmax())
    text = model.texts_of({"text": TEXTS[0]})
    batch = model.batch([Inquiry(text, (0,), (best,), ("",), (0,))])
    with torch.no_grad():
        features = model.features(batch)
        gradient = torch.zeros_like(features)
        gradient[0, text.places(0)] = torch.as_tensor(output["token_gradients"])
        step = 1e-3 / gradient.norm()

        def score(values):
            return model.logits(values, batch).log_softmax(-1)[0, 0, best]

        rise = (score(features + step * gradient) - score(features - step * gradient)) / 2
    assert float(rise) == pytest.approx(float(step * gradient.norm() ** 2), rel=0.05)


# Whole models.

PACKAGED = {
    "sentiment": ("movie_reviews", "text-classification"),
    "reranker": ("passages", "pair-classification"),
    "pii-ner": ("personal_data", "token-classification"),
    "tiny-qa": ("questions", "question-answering"),
    "tiny-nli": ("topics", "zero-shot"),
}


@pytest.mark.packaged
@pytest.mark.parametrize("name", list(PACKAGED))
def test_packaged_models_with_their_sample_sets(name):
    sample, task = PACKAGED[name]
    data = datasets.parse_dataset(sample).load()
    [spec] = [one for one in map(parse_model, build.DEFAULT_MODELS) if one.name == name]
    loadables, models = build.models([spec], [data])
    made = models[name]
    assert made.profile.task == task
    assert made.is_compatible_with_dataset(data)
    assert loadables[name].status()["state"] == "waiting"
    outputs = made.predict(data.examples)
    serialize.to_json(outputs, simple=True)
    found = {}
    for metric in build.metrics().values():
        if metric.is_compatible(made, data):
            for result in metric.run(data.examples, made, data, outputs):
                found |= result["metrics"]
    assert max(found.get(key, 0) for key in ("accuracy", "f1", "word F1")) > 0.5


@pytest.mark.packaged
def test_lits_generators_flip_the_sentiment_model():
    [spec] = [one for one in map(parse_model, build.DEFAULT_MODELS) if one.name == "sentiment"]
    _, models = build.models([spec])
    example = {"text": "A warm, funny film with a wonderful cast.", "label": "POSITIVE"}
    made = models["sentiment"]
    assert made.predict([example])[0]["probas"].argmax() == 1
    for generator in (hotflip.HotFlip(), ablation_flip.AblationFlip()):
        flipped = generate(generator, made, example)
        assert flipped
        assert made.predict([flipped[0]])[0]["probas"].argmax() == 0
        assert flipped[0]["label"] == "NEGATIVE"
