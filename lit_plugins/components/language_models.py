"""A language model as LIT's prompt-debugging modules want it: three models around one.

The client finds them by name: `NAME` generates, `_NAME_tokenizer` shows the tokens and
`_NAME_salience` scores them. It hard-codes the fields `tokens` and `target_mask`.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution import methods
from lit_plugins.attribution.methods import UNASKED
from lit_plugins.backends import keras_backend
from lit_plugins.components.shared import (
    Answer,
    Asked,
    Loaded,
    Member,
    Reading,
    Said,
    Shared,
    Wanted,
)
from lit_plugins.errors import InputError, SourceError
from lit_plugins.models.language_model import LanguageModel, Text
from lit_plugins.sources import ModelSpec, locate

if TYPE_CHECKING:
    from lit_plugins.attribution.explanation import Explanation
    from lit_plugins.attribution.text_case import Question
    from lit_plugins.models.kinds import Profile

_TITLES = {"hf": "Hugging Face", "keras": "Keras"}

# What their extras bring at least.
_PACKAGES = {"hf": ("torch", "transformers"), "keras": ("torch", "keras", "keras_hub")}


def open_model(spec: ModelSpec) -> LanguageModel:
    """Fetches and loads the model that a specification names. Raises LitPluginsError."""
    loader = _loader(spec.framework)
    return loader.load(locate(spec).path, spec.options, f"{spec.framework}:{spec.source}")


def _loader(framework: str) -> Any:
    """The module that loads models of a framework. Raises SourceError if it is not installed."""
    if framework == "keras":
        keras_backend()  # before keras is imported
    try:
        return importlib.import_module(f"lit_plugins.models.{framework}_text")
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("lit_plugins"):
            raise
        raise _missing(framework, str(error.name)) from None


def require(framework: str) -> None:
    """Raises SourceError if a framework is not installed; imports nothing, so it costs nothing."""
    for name in _PACKAGES[framework]:
        if name not in sys.modules and importlib.util.find_spec(name) is None:
            raise _missing(framework, name)


def _missing(framework: str, package: str) -> SourceError:
    return SourceError(
        f"{_TITLES[framework]} models need {package}, which is not installed: "
        f"pip install 'lit-plugins[{framework}]'"
    )


def lit_models(
    name: str, loaded: Loaded[LanguageModel], profile: Profile, description: str
) -> dict[str, lit_model.Model]:
    """See `lit_plugins.models.kinds.Kind`."""
    return lm_group(name, loaded, description)


def lm_group(
    name: str, model: Loaded[LanguageModel], description: str = ""
) -> dict[str, lit_model.Model]:
    """The three LIT models of a language model, by the names that LIT's client expects."""
    shared = Shared(model, "explainer:Explainer")
    return {
        name: GenerationModel(shared, description),
        f"_{name}_salience": SalienceModel(shared, description),
        f"_{name}_tokenizer": TokenizerModel(shared, description),
    }


class _Member(Member[LanguageModel]):
    """What the members of a group share: one model, with its own lock, and its inputs."""

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {
            "prompt": lit_types.TextSegment(),
            "target": lit_types.TextSegment(required=False),
        }


class GenerationModel(_Member):
    """Completes prompts."""

    summary = "Completes a prompt."
    task = "text-generation"
    further_options = ()

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {
            "response": lit_types.GeneratedText(parent="target"),
            "prompt_embeddings": lit_types.Embeddings(required=False),
            "response_embeddings": lit_types.Embeddings(required=False),
        }

    def _predict(self, model: LanguageModel, examples: list) -> list[dict[str, Any]]:
        generations = model.generate([field_of(example, "prompt") for example in examples])
        outputs: list[dict[str, Any]] = [{"response": made.response} for made in generations]
        if model.options.embeddings:
            means = model.mean_embeddings([made.text for made in generations])
            for output, (prompt, response) in zip(outputs, means, strict=True):
                output |= {"prompt_embeddings": prompt, "response_embeddings": response}
        return outputs

    def explanations(
        self,
        examples: Sequence[Mapping[str, Any]],
        outputs: Sequence[Mapping[str, Any]] | None,
        wanted: Wanted,
    ) -> list[Explanation]:
        """See Explainable: the target's, or the answer's if there is none; a part is text of it."""
        from lit_plugins.attribution.explainer import Request

        requests = []
        for place, example in enumerate(examples):
            target = example.get("target") or None
            if target is None and outputs is not None:
                target = outputs[place].get("response") or None
            requests.append(Request(field_of(example, "prompt"), target, wanted.part))
        return self.shared.explainer().explain_all(requests, method=wanted.method, **wanted.options)

    def special_tokens(self) -> frozenset[str]:
        """See Explainable."""
        return frozenset()

    def in_words(self, output: Mapping[str, Any]) -> str:
        """See Explainable."""
        return repr(output["response"])

    def reading(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> Reading:
        """See Askable. A target that is asked for needs no answer of the model's."""
        output = answer.known() if asked.target else answer.get()
        sequences = _sequences(example, output)
        target = asked.target or (sequences[0].text if sequences else None)
        question = self._question(example, target)
        text = question.text
        return Reading(
            question,
            sequences,
            target,
            text.target_start,
            text.dropped,
            text.content.start if text.dropped else None,
        )

    def questions(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Question]:
        """See Askable."""
        return self._asked(example, asked, None if asked.target else answer.get())

    def sketches(self, example: Mapping[str, Any], answer: Answer, asked: Asked) -> list[Question]:
        """See Askable."""
        return self._asked(example, asked, answer.known())

    def _asked(
        self, example: Mapping[str, Any], asked: Asked, output: Mapping[str, Any] | None
    ) -> list[Question]:
        if asked.label is not None or asked.span is not None:
            raise InputError(
                "choice is for classifiers, taggers and question answerers. Give target and spans."
            )
        sequences = _sequences(example, output)
        target = asked.target or (sequences[0].text if sequences else None)
        if target is None:
            raise InputError(
                "There is nothing to explain: the model's answer is empty or not known yet, and "
                "the example has no target. Give a target."
            )
        whole = self._question(example, target)
        if not asked.spans:
            return [whole]
        return [self.engine().part(whole, first, last) for first, last in asked.spans]

    def _question(self, example: Mapping[str, Any], target: str | None) -> Question:
        """About the whole target; about nothing if there is none."""
        return self.engine().of_target(field_of(example, "prompt"), target or "")


class TokenizerModel(_Member):
    """Shows the tokens of prompt and target, as `SalienceModel` scores them."""

    summary = "Shows the tokens that the model sees."

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return {"tokens": lit_types.Tokens(parent="")}

    def _predict(self, model: LanguageModel, examples: list) -> list[dict[str, Any]]:
        return [{"tokens": _Shown(model, _text(model, example)).tokens} for example in examples]


class SalienceModel(_Member):
    """Scores each token for the target tokens that `target_mask` marks.

    Without a mask the whole target is explained. What a method's scores mean, METHODS says. The
    client asks for every field at each click, so only cheap methods are fields; any other is
    computed when the example names it: `salience_method`, one of METHODS.
    """

    summary = "Scores how much each token drove the target."

    def input_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        return super().input_spec() | {
            "target_mask": lit_types.TokenScores(align="", required=False),
            "salience_method": lit_types.String(required=False),
        }

    def output_spec(self) -> lit_types.Spec:
        """See lit_model.Model."""
        spec: lit_types.Spec = {"tokens": lit_types.Tokens(parent="")}
        return spec | {name: lit_types.TokenScores(align="tokens") for name in UNASKED}

    def _predict(self, model: LanguageModel, examples: list) -> list[dict[str, Any]]:
        from lit_plugins.attribution.text_case import Question

        shown = [_Shown(model, _text(model, example)) for example in examples]
        outputs: list[dict[str, Any]] = [{"tokens": display.tokens} for display in shown]
        wanted: dict[str, list[tuple[int, Question]]] = {}
        for place, (display, example) in enumerate(zip(shown, examples, strict=True)):
            question = Question(display.text, display.mask(example.get("target_mask")))
            for method in _methods(example):
                outputs[place][method] = display.scores(np.zeros(len(display.text.ids)))
                if len(question.asked):
                    wanted.setdefault(method, []).append((place, question))
        for method, asked in wanted.items():
            made = self.shared.explainer().answer([question for _, question in asked], method)
            for (place, _), explanation in zip(asked, made, strict=True):
                _check_finite(explanation)
                outputs[place][method] = shown[place].scores(explanation.per_token())
        return outputs


def _check_finite(explanation: Explanation) -> None:
    """Raise InputError where zeros stand for what is no number: here, nobody sees the warnings."""
    if explanation.notes.get("not_finite"):
        raise InputError(
            "The scores are not finite numbers: the model overflows on this text. Load it with "
            "dtype=float32."
        )


def _methods(example: Mapping[str, Any]) -> Sequence[str]:
    """The methods that an example asks for."""
    name = example.get("salience_method")
    if name is None or name == "":
        return UNASKED
    return (methods.find(name).name,)


class _Shown:
    """A text as the client shows it: its tokens, and a marker where some were left out."""

    def __init__(self, model: LanguageModel, text: Text):
        self.text = text
        self.tokens = model.shown_tokens(text)
        self._marker = text.content.start if text.dropped else None
        if self._marker is not None:
            self.tokens.insert(self._marker, f"[… {text.dropped} tokens left out …]")

    def mask(self, given: Sequence[float] | None) -> np.ndarray:
        """The client's mask over the tokens shown, as one over the tokens of the text."""
        if given is None:
            return (np.arange(len(self.text.ids)) >= self.text.target_start).astype(np.float32)
        if not isinstance(given, Sequence | np.ndarray) or len(given) != len(self.tokens):
            got = f"{len(given)} values" if hasattr(given, "__len__") else repr(given)
            raise InputError(
                f"target_mask must have one number for each of the {len(self.tokens)} tokens. "
                f"Got {got:.60}. Select the target again."
            )
        if not all(isinstance(value, int | float | np.number) for value in given):
            raise InputError(f"target_mask must be numbers. Got {list(given)!r:.60}.")
        values = list(given)
        if self._marker is not None:
            del values[self._marker]
        return np.asarray(values, np.float32)

    def scores(self, row: np.ndarray) -> np.ndarray:
        """One score for each token shown."""
        row = row.astype(np.float32)
        return row if self._marker is None else np.insert(row, self._marker, np.float32(0))


def field_of(example: Mapping[str, Any], name: str) -> Any:
    """A field that every example has. Raises InputError."""
    if name not in example:
        got = ", ".join(sorted(key for key in example if not key.startswith("_"))) or "none"
        raise InputError(
            f"The example has no {name!r}. Expected the fields prompt and, optionally, target. "
            f"Got: {got:.200}."
        )
    return example[name]


def _sequences(example: Mapping[str, Any], output: Mapping[str, Any] | None) -> tuple[Said, ...]:
    """What there is to explain: the model's answer, if it is known, and the data's target."""
    found = (
        Said("response", "response", (output or {}).get("response") or ""),
        Said("target", "target", example.get("target") or ""),
    )
    return tuple(one for one in found if one.text)


def _text(model: LanguageModel, example: Mapping[str, Any]) -> Text:
    target = example.get("target")
    return model.text(field_of(example, "prompt"), "" if target is None else target)
