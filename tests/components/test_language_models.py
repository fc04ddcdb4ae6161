"""The trio that LIT's prompt-debugging modules use, driven as its client drives it."""

from __future__ import annotations

import numpy as np
import pytest
import tiny
from lit_nlp.api import types as lit_types
from lit_nlp.lib import serialize

from lit_plugins.attribution.methods import METHODS, UNASKED
from lit_plugins.components.language_models import lm_group
from lit_plugins.errors import InputError

PROMPTS = ["the cat", "What is the capital of France?", "", "naïve 👋", "a\n\nb"]


@pytest.fixture(scope="module")
def model():
    return tiny.hf_model("llama", tiny.byte_level_tokenizer(chat=True), max_new_tokens=9)


@pytest.fixture(scope="module")
def group(model, ready):
    return lm_group("tiny", ready(model), "hf:tiny")


def test_names_and_specs_are_those_that_the_client_expects(group):
    assert list(group) == ["tiny", "_tiny_salience", "_tiny_tokenizer"]
    made = group["tiny"].output_spec()["response"]
    assert isinstance(made, lit_types.GeneratedText)
    assert made.parent == "target"
    salience = group["_tiny_salience"]
    assert salience.input_spec()["target_mask"].required is False
    scores = {
        name
        for name, spec in salience.output_spec().items()
        if isinstance(spec, lit_types.TokenScores)
    }
    assert scores == set(UNASKED) == {"grad_l2", "grad_dot_input"}
    for member in group.values():
        for spec in (member.input_spec(), member.output_spec()):
            # A subclass of a LitType, or an extra attribute on one, kills the client.
            assert all(type(field).__module__ == lit_types.__name__ for field in spec.values())
            serialize.to_json(spec)


def test_the_session_of_the_client(group, model):
    """Generate; take the response as target; tokens; a mask over a segment; salience."""
    responses = group["tiny"].predict([{"prompt": prompt, "_id": "x"} for prompt in PROMPTS])
    for prompt, output in zip(PROMPTS, responses, strict=True):
        example = {"prompt": prompt, "target": output["response"], "_id": ""}
        [shown] = group["_tiny_tokenizer"].predict([example])
        tokens = shown["tokens"]
        text = model.text(prompt, output["response"])
        made = "".join(tokens[text.target_start :])
        assert made.replace("▁", " ") == output["response"].replace("▁", " ")
        mask = [0] * (len(tokens) - 2) + [1, 1]
        [salience] = group["_tiny_salience"].predict([example | {"target_mask": mask}])
        assert salience["tokens"] == tokens
        for method in UNASKED:
            scores = salience[method]
            assert scores.shape == (len(tokens),)
            assert scores.dtype == np.float32
            assert np.isfinite(scores).all()
            assert scores[:-1].any()
            assert scores[-1] == 0  # the last target token is nobody's input
        serialize.to_json(salience, simple=True)


def test_batch_equals_one_by_one(group):
    examples = [
        {"prompt": prompt, "target": target}
        for prompt, target in zip(PROMPTS, [" sat", " Paris.", "x", " y z", "no"], strict=True)
    ]
    together = group["_tiny_salience"].predict(examples)
    for example, scores in zip(examples, together, strict=True):
        [alone] = group["_tiny_salience"].predict([example])
        for method in UNASKED:
            scale = np.abs(alone[method]).max()
            np.testing.assert_allclose(scores[method], alone[method], atol=1e-4 * scale)


def test_without_a_mask_the_whole_target_is_explained(group):
    example = {"prompt": "the cat", "target": " sat on"}
    [whole] = group["_tiny_salience"].predict([example])
    tokens = whole["tokens"]
    start = len(tokens) - tokens[::-1].index("\n")  # behind the chat template
    mask = [0] * start + [1] * (len(tokens) - start)
    [masked] = group["_tiny_salience"].predict([example | {"target_mask": mask}])
    np.testing.assert_array_equal(whole["grad_l2"], masked["grad_l2"])
    assert whole["grad_l2"].any()


def test_a_span_explains_less_than_the_whole_and_sums_to_it(group):
    """The gradient of a sum is the sum of the gradients: one token at a time gives the whole."""
    example = {"prompt": "the cat", "target": " sat on"}
    [whole] = group["_tiny_salience"].predict([example])
    parts = []
    for place in range(len(whole["tokens"])):
        if whole["tokens"][place] and place >= len(whole["tokens"]) - 4:
            mask = [float(other == place) for other in range(len(whole["tokens"]))]
            parts.append(group["_tiny_salience"].predict([example | {"target_mask": mask}])[0])
    mask = [0.0] * (len(whole["tokens"]) - 4) + [1.0] * 4
    [span] = group["_tiny_salience"].predict([example | {"target_mask": mask}])
    summed = np.sum([part["grad_dot_input"] for part in parts], axis=0)
    scale = np.abs(span["grad_dot_input"]).max()
    np.testing.assert_allclose(summed, span["grad_dot_input"], atol=1e-4 * scale)


def test_segments_of_the_prompt_can_be_explained_too(group):
    [tokens] = group["_tiny_tokenizer"].predict([{"prompt": "the cat sat", "target": ""}])
    mask = [0] * len(tokens["tokens"])
    mask[4] = 1
    [salience] = group["_tiny_salience"].predict(
        [{"prompt": "the cat sat", "target": "", "target_mask": mask}]
    )
    assert salience["grad_l2"][:4].all()
    assert not salience["grad_l2"][4:].any()


def test_nothing_to_explain_gives_zeros(group):
    [salience] = group["_tiny_salience"].predict([{"prompt": "the cat", "target": ""}])
    assert not salience["grad_l2"].any()


def test_what_was_left_out_is_shown(group, model):
    example = {"prompt": "the cat and the dog " * 30, "target": " sat"}
    [shown] = group["_tiny_tokenizer"].predict([example])
    markers = [place for place, token in enumerate(shown["tokens"]) if "left out" in token]
    dropped = model.text(example["prompt"], example["target"]).dropped
    assert shown["tokens"][markers[0]] == f"[… {dropped} tokens left out …]"
    mask = [0] * (len(shown["tokens"]) - 1) + [1]
    [salience] = group["_tiny_salience"].predict([example | {"target_mask": mask}])
    assert salience["tokens"] == shown["tokens"]
    assert len(salience["grad_l2"]) == len(shown["tokens"])
    assert salience["grad_l2"][markers[0]] == 0
    assert salience["grad_l2"][markers[0] + 1 : -1].all()


def test_embeddings_are_finite_and_can_be_left_out(group, ready):
    outputs = group["tiny"].predict([{"prompt": prompt} for prompt in PROMPTS])
    for output in outputs:
        for field in ("prompt_embeddings", "response_embeddings"):
            assert output[field].shape == (24,)
            assert np.isfinite(output[field]).all()
    plain = lm_group("plain", ready(tiny.hf_model("llama", embeddings=False)))
    assert set(plain["plain"].predict([{"prompt": "a"}])[0]) == {"response"}


def test_no_examples_need_no_model(ready):
    class Never:
        def get(self):
            raise AssertionError("loaded for nothing")

    assert all(member.predict([]) == [] for member in lm_group("x", Never()).values())


@pytest.mark.parametrize(
    ("example", "message"),
    [
        ({}, "has no 'prompt'"),
        ({"text": "x"}, "Got: text"),
        ({"prompt": 3}, "prompt must be text. Got int: 3"),
        ({"prompt": ["x"]}, "prompt must be text. Got list"),
        ({"prompt": "x", "target": 1.5}, "target must be text. Got float"),
        ({"prompt": "x", "target": "y", "target_mask": [1]}, "one number for each of the"),
        ({"prompt": "x", "target": "y", "target_mask": "abc"}, "target_mask must"),
        ({"prompt": "x", "target": "y", "target_mask": 7}, "target_mask must"),
    ],
)
def test_examples_that_are_none(group, example, message):
    with pytest.raises(InputError, match=message):
        group["_tiny_salience"].predict([example])


def test_mask_of_words(group):
    [shown] = group["_tiny_tokenizer"].predict([{"prompt": "x", "target": "y"}])
    for mask in (["a"] * len(shown["tokens"]), [float("nan")] * len(shown["tokens"])):
        with pytest.raises(InputError, match="target_mask must be"):
            group["_tiny_salience"].predict([{"prompt": "x", "target": "y", "target_mask": mask}])


@pytest.fixture
def counted(model, monkeypatch):
    """The methods that are asked of the engine."""
    from lit_plugins.attribution.explainer import Explainer

    made, own = [], Explainer.answer

    def answer(self, questions, method="", options=None, watch=None):
        made.append(method)
        return own(self, questions, method, options, watch)

    monkeypatch.setattr(Explainer, "answer", answer)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_only_the_method_that_is_named_is_computed(group, counted, method):
    example = {"prompt": "the cat sat. the dog", "target": " ate", "salience_method": method}
    if method == "integrated_gradients":
        example |= {"prompt": "the cat"}
    [salience] = group["_tiny_salience"].predict([example])
    assert set(salience) == {"tokens", method}
    assert counted == [method]
    assert salience[method].shape == (len(salience["tokens"]),)
    assert salience[method].any()
    serialize.to_json(salience, simple=True)


@pytest.mark.parametrize("nothing", [None, ""])
def test_otherwise_the_two_cheap_ones_are(group, counted, nothing):
    example = {"prompt": "the cat", "target": " ate", "salience_method": nothing}
    assert set(group["_tiny_salience"].predict([example])[0]) == {"tokens", *UNASKED}
    assert counted == list(UNASKED)


def test_each_example_may_name_its_own(group):
    examples = [
        {"prompt": "the cat", "target": " ate", "salience_method": "grad_l1"},
        {"prompt": "the dog", "target": " ate"},
    ]
    first, second = group["_tiny_salience"].predict(examples)
    assert set(first) == {"tokens", "grad_l1"}
    assert set(second) == {"tokens", *UNASKED}


@pytest.mark.parametrize("name", ["grad_l3", 7, ["grad_l2"]])
def test_methods_that_are_none(group, name):
    example = {"prompt": "the cat", "target": " ate", "salience_method": name}
    with pytest.raises(InputError, match=r"Unknown method .* Available: grad_l2"):
        group["_tiny_salience"].predict([example])


def test_zeros_never_stand_for_what_is_no_number(group, model, monkeypatch):
    """In Sequence Salience nobody sees the warnings of an explanation."""
    pull = type(model.backend).record

    def record(self, function, features):
        recording = pull(self, function, features)
        own = recording.pull
        recording.pull = lambda weights, last=False: own(weights, last) * float("nan")
        return recording

    monkeypatch.setattr(type(model.backend), "record", record)
    with pytest.raises(InputError, match="not finite numbers"):
        group["_tiny_salience"].predict([{"prompt": "a dog", "target": " ate soup"}])
