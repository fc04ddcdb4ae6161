"""Real SmolLM2: of `I am so happy for you!`, *happy* is what makes it joy rather than anger."""

from __future__ import annotations

import pytest

from lit_plugins.attribution.methods import METHODS

SPEC = "hf:packaged:smollm2-135m-instruct"
PROMPT = "I am so happy for you!\nThe feeling in this sentence is: "
# The words of the sentence; the question behind it is not what is asked about.
WORDS = r"\b(I|am|so|happy|for|you)\b(?=[^\n]*\n)"
FEW = {"samples": 8}
# Gradient times input, and DeepLift, which is the same here because it has no rule for this model's
# modules, get it wrong: they are not to be trusted, and the test fails should that change. Without
# `so` the sentence is less joyful than without `happy`, which comes second.
NOT_FIRST = {"grad_dot_input": " you", "deep_lift": " you", "leave_one_out": " so"}


@pytest.fixture(scope="module")
def explainer():
    from lit_plugins.attribution.explainer import Explainer
    from lit_plugins.components.language_models import open_model
    from lit_plugins.sources import parse_model

    return Explainer(open_model(parse_model(SPEC, name="smollm2")))


@pytest.mark.packaged
@pytest.mark.parametrize("name", METHODS)
def test_happy(explainer, name):
    options = FEW if "noise" in METHODS[name].defaults else {}
    made = explainer.explain(PROMPT, "joy", method=name, foil="anger", pattern=WORDS, **options)
    words = [text for text, _ in made.top(2)]
    assert words[0] == NOT_FIRST.get(name, " happy")
    assert " happy" in words
    if METHODS[name].signed and name not in NOT_FIRST:
        assert made.top(1)[0][1] > 0
