"""LIT interpreters: one for each of METHODS, all made by one adapter, for every model of ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, get_args

import numpy as np
from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution.explanation import Explanation
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import BY_MODEL, COMMON, OF_MODELS, SHOWN, Options
from lit_plugins.components.shared import Explainable, Wanted, unwrapped
from lit_plugins.errors import InputError
from lit_plugins.models.tokens import SPACE

# The settings of the dialog that are no options of the engine. LIT's selector "Class to explain"
# sends the third.
PART, SCALE, TARGET = "explained part", "scale to 1", "target"

_DEFAULT = "default"

_NUMBERS = ("max_steps", "samples", "noise", "window", "stride", "seed")


def interpreters() -> dict[str, lit_components.Interpreter]:
    """All methods as LIT interpreters, by their titles."""
    return {method.title: MethodInterpreter(method) for method in METHODS.values()}


class MethodInterpreter(lit_components.Interpreter):
    """A method of METHODS, for LIT's Salience Maps: what drove the model's answer.

    Explained is, by the model's task: the target of a prompt, or what the model answers; the class
    chosen above the maps, or what is predicted; the first thing that is named; the best answer.
    `explained part` chooses another: see each model's `explanations`.

    Results are rows of chips: `salience`, what was scored; `words`, where tokens are less than
    words and their scores add up; and `about`. Where several labels are explained each by itself,
    there is a row for each instead of the first two.
    """

    def __init__(self, method: Method):
        self._method = method

    def description(self) -> str:
        """See lit_components.Interpreter."""
        sign = (
            "Signed: below zero speaks against what is explained."
            if self._method.signed
            else "Unsigned."
        )
        return f"{self._method.description} {sign}"

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """See lit_components.Interpreter."""
        return isinstance(unwrapped(model), Explainable)

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter."""
        return {
            "salience": lit_types.TokenSalience(
                autorun=self._method.cheap, signed=self._method.signed
            )
        }

    def config_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter."""
        spec: lit_types.Spec = {
            TARGET: lit_types.SalienceTargetInfo(required=False),
            PART: lit_types.String(required=False),
        }
        for name in SHOWN:
            if name in COMMON or name in self._method.defaults or name in OF_MODELS:
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
        member = unwrapped(model)
        assert isinstance(member, Explainable)
        settings = dict(config or {})
        label = _label(settings.pop(TARGET, None))
        part = settings.pop(PART, "") or None
        scale = settings.pop(SCALE, True) not in (False, "false")
        options = _options(settings, self._method.defaults)
        wanted = Wanted(self._method.name, options, label, part)
        made = member.explanations(list(inputs), model_outputs, wanted)
        special = member.special_tokens()
        # LIT writes the names beside the rows.
        return [_rows(one, scale, special) | {"about": _about(one)} for one in made]


def _control(name: str, default: Any) -> lit_types.LitType:
    """What the dialog shows for an option: its first entry, or its default, is what is taken."""
    annotation = Options.model_fields[name].annotation
    kinds = get_args(annotation)
    choices = [one for kind in kinds for one in get_args(kind)] or [
        one for one in kinds if isinstance(one, str)
    ]
    if name == "steps":
        return lit_types.String(default=str(default), required=False)
    if name in BY_MODEL:
        return lit_types.CategoryLabel(vocab=[_DEFAULT, *choices], required=False)
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
        if name not in SHOWN:
            raise InputError(f"Unknown setting {name!r:.60}. Available: {', '.join(SHOWN)}.")
        own = name in BY_MODEL and value == _DEFAULT
        untouched = name not in BY_MODEL and str(value) == str(defaults.get(name))
        if value is None or value == "" or own or untouched:
            continue
        if (isinstance(value, str) and name in _NUMBERS) or (name == "steps" and value != "auto"):
            value = _number(name, value)
        options[name] = value
    return options


def _label(target: Any) -> int | None:
    """The number of the class chosen, in what LIT's client sends: {field, index}."""
    number = target.get("index") if isinstance(target, Mapping) else None
    if number is not None and (not isinstance(number, int) or isinstance(number, bool)):
        raise InputError(f"{TARGET}: index is {number!r:.60}: expected the number of a class.")
    return number


def _number(name: str, value: Any) -> int | float:
    try:
        number = float(value)
        return int(number) if number.is_integer() else number
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{name} is {value!r:.60}: expected a number.") from None


def _about(explanation: Explanation) -> lit_dtypes.TokenSalience:
    """What was explained, how well, and what to beware of: as tokens, which is what LIT draws."""
    names = ", ".join(explanation.names)
    what = f"{explanation.options.output} {float(np.sum(explanation.value)):.4g}"
    if names:
        what += f" of {names:.200}"
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


def _rows(
    explanation: Explanation, scale: bool, special: Collection[str]
) -> dict[str, lit_dtypes.TokenSalience]:
    """Scores as rows of chips, by name; `special` tokens are those of a model that reads texts."""
    by_position = METHODS[explanation.method].by_position
    words = _words(explanation, special) if by_position and special else []
    if explanation.scores.ndim == 2:
        most = float(np.abs(explanation.scores).max(initial=0))
        rows: dict[str, lit_dtypes.TokenSalience] = {}
        for name, scores in zip(explanation.names, explanation.scores, strict=True):
            rows[_free(name, rows)] = _segments(explanation, scores, words, scale, most)
        return rows
    longer = any(one.stop - one.start > 1 for one in explanation.segments)
    if longer and special and not by_position:
        return {"salience": _segments(explanation, explanation.scores, [], scale)}
    rows = {"salience": _row(list(explanation.tokens), explanation.per_token(), scale)}
    if words and not longer and len(words) < len(explanation.segments):
        rows["words"] = _segments(explanation, explanation.scores, words, scale)
    return rows


def _words(explanation: Explanation, special: Collection[str]) -> list[tuple[int, int]]:
    """Segments `[first, last)` that make a word each: neighbours without a space between them."""
    found: list[tuple[int, int]] = []
    stop, was_special = -1, False
    for number, one in enumerate(explanation.segments):
        token = explanation.tokens[one.start]
        is_special = token in special
        apart = one.start != stop or token.startswith((SPACE, "\n")) or is_special or was_special
        if apart:
            found.append((number, number + 1))
        else:
            found[-1] = (found[-1][0], number + 1)
        stop, was_special = one.stop, is_special
    return found


def _segments(
    explanation: Explanation,
    scores: np.ndarray,
    words: Sequence[tuple[int, int]],
    scale: bool,
    most: float | None = None,
) -> lit_dtypes.TokenSalience:
    """A chip a word, with the sum of its segments' scores; without words, a chip a segment."""
    segments = explanation.segments
    groups = words or [(number, number + 1) for number in range(len(segments))]
    texts = [
        "".join(explanation.tokens[segments[first].start : segments[last - 1].stop])
        for first, last in groups
    ]
    sums = np.array([scores[first:last].sum() for first, last in groups])
    return _row([text.lstrip(SPACE) or text for text in texts], sums, scale, most)


def _row(
    texts: list[str], scores: np.ndarray, scale: bool, most: float | None = None
) -> lit_dtypes.TokenSalience:
    """Chips; with `scale` the largest score, or `most`, becomes 1."""
    largest = float(np.abs(scores).max(initial=0)) if most is None else most
    if scale and largest > 0:
        scores = scores / largest
    return lit_dtypes.TokenSalience(texts, [float(one) for one in scores])


def _free(name: str, taken: Collection[str]) -> str:
    """A row's name, for a label that may be any text, and may be there twice."""
    plain = "".join(one for one in name if one.isprintable())[:80] or "label"
    number, free = 1, plain
    while free in taken or free == "about":
        number += 1
        free = f"{plain} ({number})"
    return free
