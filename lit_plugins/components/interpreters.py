"""LIT interpreters: one for each of METHODS, all made by one adapter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import COMMON, Options
from lit_plugins.components.language_models import GenerationModel, field_of
from lit_plugins.errors import InputError

# The settings of the dialog that are no options of the engine.
SPAN, SCALE = "explained part", "scale to 1"

# Options that a person sets in the dialog, in this order. `each` needs a heat map.
_SHOWN = (
    "foil", "runner_up", "output", "segment", "pattern", "template", "baseline", "baseline_text",
    "perturb", "steps", "max_steps", "rule", "path", "samples", "noise", "window", "stride", "seed",
)  # fmt: skip

_NUMBERS = ("max_steps", "samples", "noise", "window", "stride", "seed")


def interpreters() -> dict[str, lit_components.Interpreter]:
    """All methods as LIT interpreters, by their titles."""
    return {method.title: MethodInterpreter(method) for method in METHODS.values()}


class MethodInterpreter(lit_components.Interpreter):
    """A method of METHODS, for LIT's Salience Maps: what drove the model's answer.

    Explained is the example's target, or, if it has none, what the model answers; a part of it
    with the setting `explained part`.
    """

    def __init__(self, method: Method):
        self._method = method

    def description(self) -> str:
        """See lit_components.Interpreter."""
        sign = "Signed: below zero is against the target." if self._method.signed else "Unsigned."
        return f"{self._method.description} {sign}"

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """See lit_components.Interpreter."""
        return isinstance(_unwrapped(model), GenerationModel)

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter."""
        return {
            "salience": lit_types.TokenSalience(
                autorun=self._method.cheap, signed=self._method.signed
            )
        }

    def config_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter."""
        spec: lit_types.Spec = {SPAN: lit_types.String(required=False)}
        for name in _SHOWN:
            if name in COMMON or name in self._method.defaults:
                spec[name] = _control(name, self._method.defaults.get(name))
        return spec | {SCALE: lit_types.Boolean(default=True, required=False)}

    def run(
        self,
        inputs: Iterable[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Sequence[Mapping[str, Any]] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """See lit_components.Interpreter. Raises LitPluginsError."""
        from lit_plugins.attribution.explainer import Request

        member = _unwrapped(model)
        assert isinstance(member, GenerationModel)
        settings = dict(config or {})
        span = settings.pop(SPAN, "") or None
        scale = settings.pop(SCALE, True) not in (False, "false")
        examples = list(inputs)
        requests = []
        for place, example in enumerate(examples):
            target = example.get("target") or None
            if target is None and model_outputs is not None:
                target = model_outputs[place].get("response") or None
            requests.append(Request(field_of(example, "prompt"), target, span))
        made = member.shared.explainer().explain_all(
            requests, method=self._method.name, **_options(settings, self._method.defaults)
        )
        # LIT writes the names beside the maps if there are two.
        return [{"salience": _salience(one, scale), "about": _about(one)} for one in made]


def _unwrapped(model: Any) -> Any:
    """The model itself, without LIT's cache around it."""
    while isinstance(model, lit_model.ModelWrapper):
        model = model.wrapped
    return model


def _control(name: str, default: Any) -> lit_types.LitType:
    """What the dialog shows for an option: its first entry, or its default, is what is taken."""
    annotation = Options.model_fields[name].annotation
    kinds = get_args(annotation)
    choices = [one for kind in kinds for one in get_args(kind)] or [
        one for one in kinds if isinstance(one, str)
    ]
    if name == "steps":
        return lit_types.String(default=str(default), required=False)
    if choices:
        first = default or Options.model_fields[name].default
        vocab = [first, *(one for one in choices if one != first)] if first else ["", *choices]
        return lit_types.CategoryLabel(vocab=vocab, required=False)
    if annotation is bool:
        return lit_types.Boolean(default=False, required=False)
    return lit_types.String(default="" if default is None else str(default), required=False)


def _options(settings: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """The dialog's settings as options: its text boxes send text, empty for "not given".

    The dialog sends every control, touched or not. A default is no choice of the user's: it must
    not be in the way of what another option implies, as steps=50 does for max_steps.
    """
    options: dict[str, Any] = {}
    for name, value in settings.items():
        if name not in _SHOWN:
            raise InputError(f"Unknown setting {name!r:.60}. Available: {', '.join(_SHOWN)}.")
        if value is None or value == "" or str(value) == str(defaults.get(name)):
            continue
        if (isinstance(value, str) and name in _NUMBERS) or (name == "steps" and value != "auto"):
            value = _number(name, value)
        options[name] = value
    return options


def _number(name: str, value: Any) -> int | float:
    try:
        number = float(value)
        return int(number) if number.is_integer() else number
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {value!r:.60}: expected a number.") from None


def _about(explanation: Explanation) -> lit_dtypes.TokenSalience:
    """What was explained, how well, and what to beware of: as tokens, which is what LIT draws."""
    what = f"{explanation.options.output} {float(np.sum(explanation.value)):.4g}"
    if explanation.foil:
        what += f", rather than {explanation.foil!r:.60}"
    notes = [what, f"scores in {explanation.units}"]
    if explanation.convergence_error is not None:
        notes.append(f"convergence error {explanation.convergence_error:.1%}")
    notes.append(
        f"{explanation.forward} forward and {explanation.backward} backward passes, "
        f"{explanation.seconds:.1f} s"
    )
    notes += [f"⚠ {warning}" for warning in explanation.warnings]
    return lit_dtypes.TokenSalience(notes, [0.0] * len(notes))


def _salience(explanation: Explanation, scale: bool) -> lit_dtypes.TokenSalience:
    scores = explanation.per_token()
    if scores.ndim == 2:
        scores = scores.sum(0)
    largest = float(np.abs(scores).max()) if scores.size else 0.0
    if scale and largest > 0:
        scores = scores / largest
    return lit_dtypes.TokenSalience(list(explanation.tokens), [float(one) for one in scores])
