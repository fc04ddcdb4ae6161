"""An explanation of a tiny model of each task."""

from __future__ import annotations

from typing import Any

import encoders
import tiny

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.explanation import Explanation
from lit_plugins.attribution.text_explainer import TextExplainer


def of_label(**options: Any) -> Explanation:
    return TextExplainer(encoders.classifier()).explain("what a dog", **options)


def of_pair(**options: Any) -> Explanation:
    model = encoders.classifier(fields=("text_a", "text_b"))
    return TextExplainer(model).explain(("what a dog", "a cat"), **options)


def of_tag(**options: Any) -> Explanation:
    return TextExplainer(encoders.tagger()).explain("what a dog", span="word 2", **options)


def of_answer(**options: Any) -> Explanation:
    example = {"question": "what", "context": "a dog is a cat"}
    return TextExplainer(encoders.answerer()).explain(example, **options)


def of_zero_shot(**options: Any) -> Explanation:
    example = {"text": "a dog", "candidate_labels": ["a cat", "dogs"]}
    return TextExplainer(encoders.zero_shot()).explain(example, **options)


def of_prompt(target: str = " three four", **options: Any) -> Explanation:
    return Explainer(tiny.hf_model("llama")).explain("One two", target, **options)
