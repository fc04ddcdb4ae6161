"""METHODS as LIT interpreters, driven as LIT's server drives them."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tiny
from encoders import answerer, classifier, tagger, zero_shot
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.components import core
from lit_nlp.lib import caching, serialize

from lit_plugins.attribution.methods import METHODS
from lit_plugins.components.attention import AttentionInterpreter
from lit_plugins.components.interpreters import interpreters
from lit_plugins.components.language_models import lm_group
from lit_plugins.errors import InputError
from lit_plugins.models import kinds
from lit_plugins.server import build

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
        if isinstance(control, lit_types.CategoryLabel) and control.vocab[0] != "default":
            assert control.vocab[0] == (method.defaults.get(name) or control.vocab[0])
    by_model = {"output", "template", "baseline", "perturb"} & set(spec)
    assert all(spec[name].vocab[0] == "default" for name in by_model)


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
        if isinstance(control, lit_types.SalienceTargetInfo):
            sent[name] = {}  # of a model without classes
            continue
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


# Models that read a text as a whole.

TEXT = "We visited Oslo, where Ada lives."
LABELS = ("NEGATIVE", "POSITIVE", "MIXED")


@pytest.fixture
def encoder(ready):
    def make(model):
        profile = kinds.profile_of_loaded(model, "tiny")
        return build.lit_models("tiny", ready(model), profile, "")["tiny"]

    return make


@pytest.fixture(params=["classifier", "pair", "zero_shot", "tagger", "answerer"])
def encoded(request, encoder):
    pair = {"text_a": TEXT, "text_b": "a cat"}
    models = {
        "classifier": lambda: (classifier(), {"text": TEXT}),
        "pair": lambda: (classifier(("RELEVANT",), fields=("text_a", "text_b")), pair),
        "zero_shot": lambda: (zero_shot(), {"text": TEXT, "candidate_labels": ["a", "b"]}),
        "tagger": lambda: (tagger(), {"text": TEXT}),
        "answerer": lambda: (answerer(), {"question": "where?", "context": TEXT}),
    }
    model, example = models[request.param]()
    return encoder(model), example


def test_every_method_for_every_kind_of_model(ours, encoded, method):
    member, example = encoded
    interpreter = ours[method.title]
    data = lit_dataset.Dataset({}, [example])
    assert interpreter.is_compatible(caching.CachingModelWrapper(member, "tiny"), data)
    settings = dialog(interpreter, **cheap(method))
    [made] = interpreter.run([example], member, data, None, settings)
    assert "about" in made
    assert np.abs(made["salience"].salience).max() == pytest.approx(1)
    json.loads(serialize.to_json(made, simple=True))
    assert len(made["salience"].tokens) == len(made["salience"].salience)


def test_the_class_chosen_above_the_maps_is_explained(ours, encoder):
    member = encoder(classifier())
    interpreter, example = ours["Gradient x input"], {"text": TEXT}
    outputs = member.predict([example])
    best = int(outputs[0]["probas"].argmax())
    # As salience_map_module.ts sends it: first without, then with a number.
    for target, label in [({}, best), ({"field": "probas"}, best)] + [
        ({"field": "probas", "index": number}, number) for number in range(3)
    ]:
        [made] = interpreter.run(
            [example], member, DATA, outputs, {"target": target, "scale to 1": False}
        )
        expected = member.shared.explainer().explain(
            example, LABELS[label], method="grad_dot_input"
        )
        np.testing.assert_allclose(made["salience"].salience, expected.per_token())
        assert f"of {LABELS[label]}" in made["about"].tokens[0]
    for index in (3, -1, "x", True):
        with pytest.raises(InputError, match="number"):
            interpreter.run([example], member, DATA, outputs, {"target": {"index": index}})


def test_one_logit_has_two_classes(ours, encoder):
    member = encoder(classifier(("RELEVANT",)))
    maps = []
    for index in (0, 1):
        config = {"target": {"field": "probas", "index": index}, "output": "logit"}
        [made] = ours["Gradient x input"].run([{"text": TEXT}], member, DATA, None, config)
        maps.append(np.array(made["salience"].salience))
        assert ("not RELEVANT" in made["about"].tokens[0]) == (index == 0)
    np.testing.assert_allclose(maps[0], -maps[1], atol=1e-6)


def test_words_are_the_sums_of_their_pieces(ours, encoder):
    member = encoder(classifier())
    config = {"scale to 1": False}
    [made] = ours["Integrated gradients"].run([{"text": TEXT}], member, DATA, None, config)
    assert made["words"].tokens == ["We", "visited", "Oslo,", "where", "Ada", "lives."]
    pieces = made["salience"].tokens
    assert pieces[0] == "[CLS]"
    assert pieces.count("▁visit") == 1
    begin = pieces.index("▁visit")
    assert pieces[begin + 1] == "ed"
    assert made["words"].salience[1] == pytest.approx(
        sum(made["salience"].salience[begin : begin + 2])
    )
    assert sum(made["words"].salience) == pytest.approx(sum(made["salience"].salience))
    # Nothing to sum: each word is one piece.
    [made] = ours["Integrated gradients"].run([{"text": "a cat"}], member, DATA, None, config)
    assert "words" not in made


def detail(made):
    """What our client draws of an answer, as it gets it."""
    return json.loads(serialize.to_json(made["about"], simple=True))["detail"]


def test_our_client_gets_exact_scores_by_token_and_by_word(ours, encoder):
    member = encoder(classifier())
    [made] = ours["Integrated gradients"].run([{"text": TEXT}], member, DATA, None, None)
    expected = member.shared.explainer().explain({"text": TEXT}, method="integrated_gradients")
    shown = detail(made)
    [row] = shown["rows"]
    tokens, words = row["views"]["token"], row["views"]["word"]
    scored = [part["score"] for part in tokens if part["score"] is not None]
    np.testing.assert_allclose(scored, expected.scores)
    assert [part["text"].strip() for part in words] == [
        *("[CLS]", "We", "visited", "Oslo,", "where", "Ada", "lives.", "[SEP]"),
    ]  # fmt: skip
    assert words[0]["score"] is None  # held: it has none
    assert sum(part["score"] or 0 for part in words) == pytest.approx(expected.scores.sum())
    assert (shown["units"], shown["signed"]) == ("nats", True)
    assert shown["card"]["heading"].startswith("Why ")
    facts = dict(shown["card"]["facts"])
    assert facts["Method"].startswith("Integrated gradients")
    assert {"Convergence error", "Passes", "Time"} <= set(facts)
    assert shown["forward"] > 0 < shown["seconds"]


def test_our_client_gets_words_of_a_prompt_too(ours, group):
    views = detail(run(ours["Gradient x input"], group["tiny"]))["rows"][0]["views"]
    assert list(views) == ["token", "word"]
    for parts in views.values():
        assert "".join(part["text"] for part in parts) == PROMPT + TARGET
    assert any(part["target"] for part in views["word"])


def test_our_client_gets_what_was_scored_and_no_other_unit(ours, encoder):
    member = encoder(classifier())
    for config, units in [({"segment": "word"}, ["word"]), ({"segment": "token"}, ["token"])]:
        [made] = ours["Feature ablation"].run([{"text": TEXT}], member, DATA, None, config)
        assert list(detail(made)["rows"][0]["views"]) == units


def test_special_tokens_that_have_scores_are_no_part_of_a_word(ours, encoder):
    member = encoder(classifier(fields=("text_a", "text_b")))
    example = {"text_a": "lives in oslo", "text_b": "ada visited"}
    config = {"template": "keep"}
    [made] = ours["Gradient x input"].run([example], member, DATA, None, config)
    assert made["words"].tokens == [
        *("[CLS]", "lives", "in", "oslo", "[SEP]", "ada", "visited", "[SEP]"),
    ]  # fmt: skip


def test_segments_that_were_scored_are_shown(ours, encoder):
    member = encoder(classifier())
    [made] = ours["Feature ablation"].run([{"text": TEXT}], member, DATA, None, {"segment": "word"})
    assert made["salience"].tokens == ["We", "visited", "Oslo,", "where", "Ada", "lives."]
    assert "words" not in made


def test_labels_that_are_independent_have_a_row_each(ours, encoder):
    member = encoder(classifier(("a", "a b", "about"), "multi_label_classification"))
    example, interpreter = {"text": TEXT}, ours["Gradient x input"]
    [made] = interpreter.run([example], member, DATA, None, {"scale to 1": False})
    assert list(made) == ["a", "a b", "about (2)", "about"]
    assert [row["name"] for row in detail(made)["rows"]] == ["a", "a b", "about"]
    for label in ("a", "a b"):
        expected = member.shared.explainer().explain(example, label, method="grad_dot_input")
        assert sum(made[label].salience) == pytest.approx(expected.scores.sum(), rel=1e-4)
    # One of them alone; and against its opposite, which is of one alone, too.
    [one] = interpreter.run([example], member, DATA, None, {"explained part": "a b"})
    assert list(one) == ["salience", "words", "about"]
    with pytest.raises(InputError, match="'cat'"):
        interpreter.run([example], member, DATA, None, {"explained part": "cat"})


def test_two_labels_of_one_name_have_two_rows(ours):
    from lit_plugins.components.interpreters import _free

    rows = {}
    for name in ("a", "a", "a (2)", "about", "", "x\n<b>" * 40):
        rows[_free(name, rows)] = name
    assert list(rows)[:5] == ["a", "a (2)", "a (2) (2)", "about (2)", "label"]
    assert len(list(rows)[5]) == 80


def test_parts_of_each_kind_of_model(ours, encoder):
    interpreter = ours["Gradient x input"]

    def about(model, example, **config):
        [made] = interpreter.run([example], encoder(model), DATA, None, config)
        return made["about"].tokens[0]

    assert "of Ada" in about(tagger(), {"text": TEXT}, **{"explained part": "Ada"})
    assert "of visited" in about(tagger(), {"text": TEXT}, **{"explained part": "word 2"})
    question = {"question": "where?", "context": TEXT}
    both = about(answerer(), question)
    assert "start of" in both
    assert "end of" in both
    assert "end of" not in about(answerer(), question, **{"explained part": "start"})
    labels = {"text": TEXT, "candidate_labels": ["a", "b"]}
    assert "of b" in about(zero_shot(), labels, **{"explained part": "b"})
    assert "rather than 'a'" in about(zero_shot(), labels, **{"explained part": "b", "foil": "a"})
    with pytest.raises(InputError, match="Leave it out"):
        about(classifier(), {"text": TEXT}, **{"explained part": "Ada"})


def test_over_one_of_two_texts(ours, encoder):
    member = encoder(classifier(fields=("text_a", "text_b")))
    example = {"text_a": "ada lives", "text_b": "in oslo"}
    [made] = ours["Gradient x input"].run([example], member, DATA, None, {"over": "second"})
    scores = dict(zip(made["salience"].tokens, made["salience"].salience, strict=True))
    assert scores["ada"] == 0 != scores["in"]


def test_attention_of_a_layer_a_head_and_a_token(encoder):
    interpreter = AttentionInterpreter()
    member = encoder(classifier(attention=True))
    example = {"text": TEXT}
    assert interpreter.is_compatible(caching.CachingModelWrapper(member, "x"), DATA)
    [output] = member.predict([example])

    def shown(**config):
        [made] = interpreter.run([example], member, DATA, None, config)
        assert made["attention"].tokens == output["attention_tokens"]
        return np.array(made["attention"].salience)

    last, first = output["layer_2/attention"], output["layer_1/attention"]
    np.testing.assert_allclose(shown(), last[:, 0].mean(0), atol=1e-3)
    np.testing.assert_allclose(shown(layer="1", head="2"), first[1, 0], atol=1e-3)
    ada = output["attention_tokens"].index("▁Ada")
    np.testing.assert_allclose(shown(**{"of token": "Ada"}), last[:, ada].mean(0), atol=1e-3)
    for config, message in [
        ({"layer": "3"}, "layer is '3': expected 1 to 2, or last"),
        ({"head": "x"}, "head is 'x': expected 1 to 3, or mean"),
        ({"of token": "Ben"}, "of token is 'Ben'"),
    ]:
        with pytest.raises(InputError, match=message):
            shown(**config)
