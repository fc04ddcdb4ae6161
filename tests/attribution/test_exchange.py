"""Explanations to JSON and back."""

from __future__ import annotations

import copy
import json
import pickle

import numpy as np
import pytest
from explained import of_answer, of_label, of_pair, of_prompt, of_tag, of_zero_shot

from lit_plugins.attribution import exchange
from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.options import Options
from lit_plugins.errors import DataError

KINDS = [of_label, of_pair, of_tag, of_answer, of_zero_shot, of_prompt]


@pytest.mark.parametrize("make", KINDS)
@pytest.mark.parametrize(
    "options",
    [
        {"method": "grad_dot_input"},
        {"method": "integrated_gradients", "steps": "auto", "baseline": "zero"},
        {"method": "leave_one_out", "segment": "word"},
        {"method": "grad_l2", "segment": "regex", "pattern": "[a-z]+"},
    ],
    ids=lambda one: one["method"],
)
def test_there_and_back(make, options, tmp_path):
    made = make(**options)
    text = made.to_json(tmp_path / "one.json")
    assert "\n" not in text
    for source in (text, text.encode(), tmp_path / "one.json", str(tmp_path / "one.json")):
        again = Explanation.from_json(source)
        assert again == made
        assert again.to_json() == text
    assert hash(Explanation.from_json(text)) == hash(made)
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == made


@pytest.mark.parametrize("make", [of_label, of_answer, of_tag, of_prompt])
def test_each_target(make):
    made = make(method="grad_dot_input", each=True)
    assert made.scores.ndim == 2
    assert Explanation.from_json(made.to_json()) == made


def test_what_it_says():
    made = of_label(method="integrated_gradients", steps=4, output="prob")
    found = json.loads(made.to_json())
    assert found["lit_plugins_explanation"] == 1
    assert found["task"] == "text-classification"
    assert found["model"] == "tiny"
    assert found["inputs"] == {"text": "what a dog"}
    assert found["units"] == "probability"
    assert found["options"]["steps"] == 4
    assert found["names"] == list(made.names)
    assert found["own"] == [False, True, True, True, False]
    assert found["places"] == []
    assert {"lit-plugins", "torch", "transformers"} <= found["versions"].keys()
    # The shortest writing, and still the same number.
    assert np.array_equal(np.asarray(found["scores"], np.float32), made.scores)
    assert max(len(str(score)) for score in found["scores"]) <= 14


def test_which_tokens_are_explained():
    made = of_tag(method="grad_dot_input")
    assert [made.tokens[place] for place in made.places] == ["▁a"]
    assert [part.text for part in made.parts() if part.target] == [" a"]
    made = of_prompt(" three", method="grad_dot_input")
    assert "".join(made.tokens[place] for place in made.places) == "▁three"
    assert made.inputs == {"prompt": "One two", "target": " three"}


@pytest.mark.parametrize("make", KINDS)
def test_parts_are_the_whole_input(make):
    made = make(method="leave_one_out", segment="word")
    parts = made.parts()
    assert [part.start for part in parts[1:]] == [part.stop for part in parts[:-1]]
    assert (parts[0].start, parts[-1].stop) == (0, len(made.tokens))
    assert "".join(part.text for part in parts) == "".join(made.tokens).replace("▁", " ")
    scored = [part for part in parts if part.score is not None]
    assert [part.text for part in scored] == [one.text for one in made.segments]
    assert [part.score for part in scored] == pytest.approx(made.scores.tolist())
    assert all(part.own for part in scored)


def changed(**values):
    found = json.loads(of_label(method="grad_l2").to_json())
    for key, value in values.items():
        if value is None:
            del found[key]
        else:
            found[key] = value
    return json.dumps(found)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{", "is no JSON"),
        ("[]", "is no explanation"),
        ('{"a": 1}', "is no explanation"),
        ("null.json", "null.json: cannot be read"),
        (lambda: changed(lit_plugins_explanation=2), "is 2, and this version reads 1. Upgrade"),
        (lambda: changed(scores=None), "scores: Field required"),
        (lambda: changed(scores=[1.0]), r"scores: expected \d numbers"),
        (lambda: changed(scores=[[1.0]]), "rows of them|expected"),
        (lambda: changed(scores=["a"]), "scores"),
        (lambda: changed(more=1), "more: Extra inputs"),
        (lambda: changed(options={"steps": "many"}), "steps"),
        (lambda: changed(options={"what": 1}), "what: Extra inputs"),
        (lambda: changed(segments=[{"start": 3, "stop": 99, "text": ""}]), r"segments: \[3, 99\)"),
        (lambda: changed(own=[True]), "own: 1 for 5 tokens"),
        (lambda: changed(places=[77]), "places"),
        (lambda: changed(value="high"), "value"),
    ],
)
def test_what_is_no_explanation(source, message):
    with pytest.raises(DataError, match=message):
        Explanation.from_json(source if isinstance(source, str) else source())


def test_numbers_that_json_does_not_have():
    made = Explanation(
        method="grad_l2", options=Options(), tokens=("a",), segments=(Segment(0, 1, "a"),),
        scores=np.array([1.5], np.float32), targets=(0,), signed=False, units="nats",
        value=np.array(0.1), notes={"panel_error": float("inf"), "place": np.int64(3)},
    )  # fmt: skip
    found = json.loads(exchange.dump(made))
    assert found["notes"] == {"panel_error": None, "place": 3}
    assert found["value"] == 0.1


def test_different_explanations_differ():
    one = of_label(method="grad_l2")
    assert one != of_label(method="grad_l1")
    assert one != "text"
