"""`lit_plugins.load`, and calling what it returns."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import encoders
import pytest
import tiny

import lit_plugins
from lit_plugins import explaining
from lit_plugins.attribution.text_explainer import Ask, TextExplainer
from lit_plugins.errors import InputError, LitPluginsError, SpecError
from lit_plugins.sources import ModelSpec, parse_model, parse_unnamed


@pytest.fixture(scope="module")
def explainer():
    labels = ("NEGATIVE", "POSITIVE", "MIXED")
    return lit_plugins.load(encoders.bert("SequenceClassification", labels), encoders.tokenizer())


def test_importing_is_light():
    code = (
        "import sys, lit_plugins; print(sorted({'numpy', 'pydantic', 'torch', 'lit_nlp', 'pandas'}"
        " & sys.modules.keys())); lit_plugins.Explanation; print('torch' in sys.modules);"
        "print(lit_plugins.__dir__())"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[:2] == ["[]", "False"]
    assert "load" in ran.stdout
    with pytest.raises(AttributeError, match="no attribute 'lode'"):
        _ = lit_plugins.lode


def test_one_input(explainer):
    why = explainer("what a dog", method="integrated_gradients", steps=7, output="logit")
    [same] = TextExplainer(encoders.classifier()).explain_all(
        [Ask("what a dog")], method="integrated_gradients", steps=7, output="logit", segment="word"
    )
    assert why.scores.tolist() == pytest.approx(same.scores.tolist(), rel=1e-5)
    assert why.names == same.names
    assert why.options.segment == "word"
    assert why.task == explainer.task == "text-classification"
    assert "NEGATIVE" in repr(why) or "POSITIVE" in repr(why) or "MIXED" in repr(why)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"unit": "token"}, {"segment": "token"}),
        ({"unit": None}, {"segment": None}),
        ({"segment": "sentence"}, {"segment": "sentence"}),
        ({"pattern": "[a-z]+"}, {"segment": "regex"}),
        ({"contrast": "MIXED", "target": "POSITIVE"}, {"foil": "MIXED"}),
        ({"baseline": "mask", "steps": 3}, {"baseline": "mask", "steps": 3}),
        ({"each": True}, {"each": True}),
    ],
)
def test_options_by_the_names_of_the_field(explainer, options, expected):
    found = explainer("what a dog", **options).options.model_dump()
    assert {key: found[key] for key in expected} == expected


def test_several_fields():
    model = encoders.bert("SequenceClassification")
    explain = lit_plugins.load(model, encoders.tokenizer(), task="pair-classification", name="x")
    assert explain.fields == ("text_a", "text_b")
    one = explain("a dog", "a cat")
    assert one == explain(("a dog", "a cat"))
    assert one.inputs == {"text_a": "a dog", "text_b": "a cat"}
    # Passes and seconds are of the first time.
    assert one.scores.tolist() == explain({"text_b": "a cat", "text_a": "a dog"}).scores.tolist()
    assert repr(explain) == "<ModelExplainer of x: pair-classification of text_a, text_b>"
    with pytest.raises(InputError, match=r"reads text_a and text_b\. Got 1 text"):
        explain("a dog")
    with pytest.raises(InputError, match="A list stands alone"):
        explain(["a dog"], "a cat")


def test_an_inputs_further_fields():
    explain = lit_plugins.load(encoders.zero_shot())
    why = explain("a dog", candidate_labels=["a cat", "dogs"], target="dogs")
    assert why.names == ("dogs",)
    assert why.inputs["candidate_labels"] == ["a cat", "dogs"]
    [more] = explain.predict([{"text": "a dog", "candidate_labels": ["a cat", "dogs"]}])
    assert sum(more["scores"].values()) == pytest.approx(1)
    with pytest.raises(InputError, match="candidate_labels"):
        explain("a dog")


def test_a_list_is_lazy(explainer, monkeypatch):
    asked = []
    whole = explainer.explain_all
    monkeypatch.setattr(
        type(explainer),
        "explain_all",
        lambda self, few, **o: asked.append(len(few)) or whole(few, **o),
    )
    texts = [f"what a dog {'is ' * (number % 5)}" for number in range(75)]
    found = explainer(texts, method="grad_dot_input")
    assert len(found) == 75
    assert not asked
    assert found[70].inputs == {"text": texts[70]}
    assert asked == [11]
    assert found[-1] is found[74]
    assert [one.inputs["text"] for one in found] == texts
    assert asked == [11, 32, 32]
    assert [one.inputs["text"] for one in found[3:5]] == texts[3:5]
    assert repr(found) == "<Explanations of 75 inputs, 75 computed>"
    with pytest.raises(IndexError):
        found[75]
    alone = explainer(texts[4], method="grad_dot_input")
    assert found[4].scores.tolist() == pytest.approx(alone.scores.tolist(), rel=1e-4, abs=1e-6)
    assert len(explainer([])) == 0
    assert list(explainer([])) == []


def test_a_list_shows_its_progress(explainer, monkeypatch):
    bars = []

    class Bar(explaining.tqdm):
        def __init__(self, *args, **options):
            options.pop("delay")
            super().__init__(*args, **options, file=io.StringIO())
            self.seen = []
            bars.append(self)

        def update(self, n=1):
            self.seen.append(n)
            super().update(n)

    monkeypatch.setattr(explaining, "tqdm", Bar)
    found = explainer(
        [f"what a dog {'is ' * (n % 4)}" for n in range(40)], method="lime", samples=4
    )
    assert len(list(found)) == 40
    [bar] = bars
    assert bar.n == 40
    assert sum(1 for step in bar.seen if step > 0) > 4  # within batches of 32, too
    assert min(bar.seen) >= 0
    told = []
    again = explainer(
        ["what a dog is"], method="lime", samples=5, progress=lambda *a: told.append(a)
    )
    assert len(list(again)) == 1
    assert told


def test_a_language_model():
    explain = lit_plugins.load(tiny.hf_model("llama"))
    assert explain.task == "text-generation"
    assert explain.fields == ("prompt",)
    why = explain("One two", target=" three", method="grad_dot_input")
    assert why.inputs == {"prompt": "One two", "target": " three"}
    same = explain({"prompt": "One two", "target": " three"}, method="grad_dot_input")
    assert same.scores.tolist() == why.scores.tolist()
    own = explain("One two", method="grad_dot_input")
    [said] = explain.predict(["One two"])
    assert own.inputs["target"] == said["response"]
    assert set(said) == {"response"}


def multi_label():
    return encoders.classifier(problem="multi_label_classification")


@pytest.mark.parametrize(
    ("make", "example", "keys"),
    [
        (encoders.classifier, "a dog", {"probas", "tokens"}),
        (multi_label, "a dog", {"scores", "tokens"}),
        (encoders.tagger, "a dog", {"tokens", "predicted_tags", "spans", "entities"}),
        (
            encoders.answerer,
            ("what", "a dog"),
            {"answer", "answer_score", "best_answers", "answer_places"},
        ),
    ],
)
def test_predictions_are_plain(make, example, keys):
    [found] = lit_plugins.load(make()).predict([example])
    assert set(found) == keys
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("hf:packaged:sentiment", "sentiment"),
        ("mine=hf:packaged:sentiment", "mine"),
        ("hf:org/some-model?dtype=bfloat16", "some-model"),
        ("hf:./folder/", "folder"),
        ("keras:kaggle://keras/gemma/keras/x/1", "1"),
        ("hf:a/b?stop=x=y", "b"),
    ],
)
def test_a_name_of_its_own(text, name):
    assert parse_unnamed(text).name == name
    assert parse_unnamed(text, "other").name == "other"


def test_specs_and_options(monkeypatch):
    seen: list[ModelSpec] = []

    def opened(spec):
        seen.append(spec)
        return encoders.classifier()

    monkeypatch.setattr(explaining.kinds, "open_model", opened)
    made = lit_plugins.load("hf:packaged:sentiment", dtype="bfloat16", max_length=99)
    assert made.name == "sentiment"
    other = lit_plugins.load("hf:packaged:sentiment")
    why, also = (one("a dog", method="grad_l2") for one in (made, other))
    assert why.model == "hf:packaged:sentiment?dtype=bfloat16&max_length=99"
    assert also.model == "hf:packaged:sentiment"
    assert explaining.explainer_of(why) is made
    assert explaining.explainer_of(also) is other
    assert (seen[0].options.dtype, seen[0].options.max_length) == ("bfloat16", 99)
    assert lit_plugins.load(parse_model("x=hf:packaged:sentiment")).name == "x"
    with pytest.raises(SpecError, match="dtype is given in the spec and as an argument"):
        lit_plugins.load("hf:packaged:sentiment?dtype=float32", dtype="bfloat16")
    with pytest.raises(SpecError, match="unknown option 'dtyp'"):
        lit_plugins.load("hf:packaged:sentiment", dtyp="bfloat16")


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (("hf:packaged:sentiment", "tokenizer"), {}, "A spec names its tokenizer too"),
        (("sentiment",), {}, "names no framework"),
        (("hf:packaged:sentimental",), {}, "sentiment"),
        ((7,), {}, "load() got int. Expected a spec"),
        ((None,), {}, "load() got NoneType"),
        ((encoders.bert("SequenceClassification"),), {}, "and a tokenizer beside it"),
        ((encoders.classifier(),), {"dtype": "float32"}, "has its options already"),
    ],
)
def test_what_cannot_be_loaded(arguments, options, message):
    with pytest.raises(LitPluginsError) as caught:
        lit_plugins.load(*arguments, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("inputs", "options", "message"),
    [
        (7, {}, "An input is text as text, or a mapping of them. Got int: 7"),
        (None, {}, "Got NoneType"),
        ({"txt": "a"}, {}, "no 'text'"),
        ("", {}, "no tokens that could have a score"),
        ("a dog", {"method": "ig"}, "Unknown method 'ig'"),
        ("a dog", {"target": "GOOD"}, "no label 'GOOD'"),
        ("a dog", {"contrast": "MIXED", "foil": "MIXED"}, "two names of one option"),
        ("a dog", {"unit": "letter"}, "segment is 'letter'"),
        ("a dog", {"stepz": 4}, "Unknown option 'stepz'"),
    ],
)
def test_what_cannot_be_explained(explainer, inputs, options, message):
    with pytest.raises(InputError) as caught:
        explainer(inputs, **options)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("make", "inputs"),
    [(encoders.classifier, "what a dog"), (lambda: tiny.hf_model("llama"), "One two")],
)
def test_what_it_will_cost(make, inputs):
    explain = lit_plugins.load(make())
    few = explain.estimate(inputs, method="integrated_gradients", steps=5)
    many = explain.estimate(inputs, method="integrated_gradients", steps=50)
    assert (few.backward, many.backward) == (5, 50)
    assert few.seconds < many.seconds
    with pytest.raises(InputError, match="Unknown method"):
        explain.estimate(inputs, method="ig")


def test_a_list_may_take_as_long_as_its_inputs(explainer, monkeypatch):
    one = explainer.estimate("what a dog", method="integrated_gradients", steps=50).seconds
    monkeypatch.setattr(explainer.engine, "limit_seconds", 3 * one)
    texts = [f"what a dog {'is ' * (number % 5)}" for number in range(20)]
    assert len(explainer.explain_all(texts, method="integrated_gradients", steps=50)) == 20
    with pytest.raises(InputError, match=r"the limit is"):
        explainer.explain_all(texts, method="integrated_gradients", steps=51, limit_seconds=one)


def test_who_made_an_explanation(explainer, monkeypatch):
    why = explainer("a dog", method="grad_l2")
    assert explaining.explainer_of(why).model is explainer.model
    monkeypatch.setattr(explaining, "_LOADED", {})
    with pytest.raises(LitPluginsError):
        explaining.explainer_of(why)
