"""METHODS as LIT interpreters, driven as LIT's server drives them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.components import core
from lit_nlp.lib import caching, serialize

from lit_plugins.attribution.methods import METHODS
from lit_plugins.components.interpreters import interpreters
from lit_plugins.components.language_models import lm_group
from lit_plugins.errors import InputError

PROMPT, TARGET = "the cat sat. the dog ate the onion soup.", " sat on"
OTHER_TEXT = "sat the cat. the dog ate the onion soup."  # as many tokens
EXAMPLE = {"prompt": PROMPT, "target": TARGET}


@pytest.fixture(scope="module")
def model():
    return tiny.hf_model("llama", tiny.byte_level_tokenizer(), max_new_tokens=3, tokens_per_pass=64)


@pytest.fixture(scope="module")
def group(model, ready):
    return lm_group("tiny", ready(model), "hf:tiny")


@pytest.fixture(scope="module")
def ours():
    return interpreters()


@pytest.fixture(params=METHODS.values(), ids=list(METHODS))
def method(request):
    return request.param


DATA = lit_dataset.Dataset({"prompt": lit_types.TextSegment()}, [EXAMPLE])


def run(interpreter, model, example=EXAMPLE, outputs=None, **config):
    [made] = interpreter.run([example], model, DATA, outputs, config or None)
    return made


def cheap(method, **config):
    """Few passes: the dialog's text boxes send text."""
    few = {"steps": "3", "samples": "3"}
    return {key: value for key, value in few.items() if key in method.defaults} | config


def test_one_for_each_method_and_no_name_of_lits_own(ours):
    assert len(ours) == len(METHODS)
    assert not set(ours) & set(core.default_interpreters({}))


def test_specs_say_what_a_method_is(ours, method):
    interpreter = ours[method.title]
    [field] = interpreter.meta_spec().values()
    assert type(field) is lit_types.TokenSalience
    assert (field.autorun, field.signed) == (method.cheap, method.signed)
    spec = interpreter.config_spec()
    serialize.to_json({"spec": spec})
    assert not any(control.required for control in spec.values())
    assert set(method.defaults) - {"tolerance"} <= set(spec)
    assert {"explained part", "foil", "segment"} <= set(spec)
    for name, control in spec.items():
        if isinstance(control, lit_types.CategoryLabel):
            assert control.vocab[0] == (method.defaults.get(name) or control.vocab[0])


def test_is_for_the_model_that_answers(ours, group, method):
    interpreter = ours[method.title]
    assert interpreter.is_compatible(group["tiny"], DATA)
    cached = caching.CachingModelWrapper(group["tiny"], "tiny")
    assert interpreter.is_compatible(cached, DATA)
    assert not interpreter.is_compatible(group["_tiny_salience"], DATA)


def test_scores_are_those_of_the_engine(ours, group, method):
    cached = caching.CachingModelWrapper(group["tiny"], "tiny")
    config = cheap(method, **{"scale to 1": False})
    made = run(ours[method.title], cached, **config)
    few = {key: int(value) for key, value in cheap(method).items()}
    expected = group["tiny"].shared.explainer().explain(PROMPT, TARGET, method=method.name, **few)
    assert list(made["salience"].tokens) == list(expected.tokens)
    np.testing.assert_allclose(made["salience"].salience, expected.per_token())
    assert np.abs(made["salience"].salience).max() > 0
    assert any(f"scores in {expected.units}" in note for note in made["about"].tokens)
    for warning in expected.warnings:
        assert f"⚠ {warning}" in made["about"].tokens
    json.loads(serialize.to_json(made, simple=True))


def test_the_largest_is_one_for_the_colours(ours, group):
    made = run(ours["Gradient x input"], group["tiny"])
    assert np.abs(made["salience"].salience).max() == pytest.approx(1)


def test_without_a_target_the_answer_is_explained(ours, group, model):
    [answer] = group["tiny"].predict([{"prompt": PROMPT}])
    example = {"prompt": PROMPT, "target": ""}
    for outputs in ([answer], None):
        made = run(ours["Gradient, L2 norm"], group["tiny"], example, outputs)
        tokens = model.shown_tokens(model.text(PROMPT, answer["response"]))
        assert list(made["salience"].tokens) == tokens


def test_a_part_a_foil_and_segments_of_the_dialog(ours, group):
    explainer = group["tiny"].shared.explainer()
    config = {"explained part": "on", "foil": "the", "scale to 1": False}
    made = run(ours["Gradient x input"], group["tiny"], **config)
    expected = explainer.explain(PROMPT, TARGET, "on", method="grad_dot_input", foil="the")
    np.testing.assert_allclose(made["salience"].salience, expected.per_token())
    assert any("rather than ' the'" in note for note in made["about"].tokens)
    made = run(ours["Feature ablation"], group["tiny"], segment="word", **{"scale to 1": "false"})
    expected = explainer.explain(PROMPT, TARGET, method="feature_ablation", segment="word")
    np.testing.assert_allclose(made["salience"].salience, expected.per_token())


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"explained part": "elephant"}, "span 'elephant' is not in the target"),
        ({"steps": "many"}, "steps is 'many': expected a number"),
        ({"steps": "0"}, "steps is 0: expected 1 to 10000"),
        ({"steps": "1e999"}, "steps is inf: Input should be a whole number, or auto"),
        ({"baseline": "nothing"}, "baseline is 'nothing'"),
        ({"step": "3"}, "Unknown setting 'step'"),
        ({"segment": "regex"}, "segment=regex and pattern="),
        ({"pattern": "(a+)+$"}, None),
    ],
)
def test_bad_settings_say_what_is_wrong(ours, group, config, message):
    if message is None:
        with pytest.raises(InputError):
            run(ours["Integrated gradients"], group["tiny"], **config)
    else:
        with pytest.raises(InputError, match=message):
            run(ours["Integrated gradients"], group["tiny"], **config)


def test_an_expensive_request_is_refused_with_what_is_cheaper(ready):
    model = tiny.hf_model("llama", max_explanation_seconds=1e-3)
    group = lm_group("tiny", ready(model))
    with pytest.raises(InputError, match=r"would take .* passes.*the limit is .*Try "):
        run(interpreters()["Occlusion"], group["tiny"])
    # What is cheap is not even measured.
    assert run(interpreters()["Gradient, L2 norm"], group["tiny"])


def dialog(interpreter, **touched):
    """What LIT's client sends: every control's value, touched or not."""
    sent = {}
    for name, control in interpreter.config_spec().items():
        is_list = isinstance(control, lit_types.CategoryLabel)
        sent[name] = control.vocab[0] if is_list else control.default
    assert set(touched) <= set(sent)
    return sent | touched


@pytest.mark.parametrize(
    ("name", "touched"),
    [
        ("integrated_gradients", {"steps": "5"}),
        ("integrated_gradients", {"steps": "5", "rule": "riemann_left"}),
        ("integrated_gradients", {"max_steps": "12"}),
        ("integrated_gradients", {"steps": "3", "baseline_text": OTHER_TEXT}),
        ("leave_one_out", {"pattern": "dog|cat"}),
        ("leave_one_out", {"segment": "sentence"}),
        ("occlusion", {"window": "4", "stride": "4"}),
        ("lime", {"samples": "5", "seed": "3"}),
    ],
)  # fmt: skip
def test_the_dialog_sends_everything(ours, group, name, touched):
    """What a user has not touched is not in the way of what was."""
    interpreter = ours[METHODS[name].title]
    made = run(
        interpreter, group["tiny"], **dialog(interpreter, **touched, **{"scale to 1": False})
    )
    given = {key: int(value) if value.isdigit() else value for key, value in touched.items()}
    expected = group["tiny"].shared.explainer().explain(PROMPT, TARGET, method=name, **given)
    np.testing.assert_allclose(made["salience"].salience, expected.per_token())


def test_the_untouched_dialog_is_the_default(ours, group, method):
    interpreter = ours[method.title]
    few = cheap(method)
    made = run(interpreter, group["tiny"], **dialog(interpreter, **few))
    expected = run(interpreter, group["tiny"], **few)
    assert made["salience"].salience == expected["salience"].salience
