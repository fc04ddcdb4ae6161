"""LIT interpreters: one for each of METHODS, all made by one adapter, for every model of ours."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, get_args

import attr
import numpy as np
from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.attribution.explanation import Explanation, Part
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import BY_MODEL, COMMON, OF_MODELS, SHOWN, Options
from lit_plugins.components.shared import Explainable, Wanted, unwrapped
from lit_plugins.display import view, wording
from lit_plugins.errors import InputError

# The settings of the dialog that are no options of the engine. LIT's selector "Class to explain"
# sends the third.
PART, SCALE, TARGET = "explained part", "scale to 1", "target"

_DEFAULT = "default"

_NUMBERS = ("max_steps", "samples", "noise", "window", "stride", "seed")


@attr.s(auto_attribs=True, frozen=True, slots=True)
class About(lit_dtypes.TokenSalience):
    """Chips that say what was explained, and `detail`: what LIT's own client does not read.

    `detail` is all that our client draws: see `_detail`.
    """

    detail: Mapping[str, Any]


def interpreters() -> dict[str, lit_components.Interpreter]:
    """All methods as LIT interpreters, by their titles."""
    return {method.title: MethodInterpreter(method) for method in METHODS.values()}


class MethodInterpreter(lit_components.Interpreter):
    """A method of METHODS, for LIT's Salience Maps: what drove the model's answer.

    Explained is, by the model's task: the target of a prompt, or what the model answers; the class
    chosen above the maps, or what is predicted; the first thing that is named; the best answer.
    `explained part` chooses another: see each model's `explanations`.

    Results are rows of chips, which LIT draws as they are: `salience`, what was scored; `words`,
    where tokens are less than words and their scores add up; and `about`. Where several labels are
    explained each by itself, there is a row for each instead of the first two. Our client draws
    what `about` carries instead: the exact scores, and a card in words.
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
        # A language model has no words of its own among the rows: its texts are long.
        reads_texts = bool(member.special_tokens())
        # LIT writes the names beside the rows.
        return [_rows(one, scale, reads_texts) | {"about": _about(one)} for one in made]


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


def _about(explanation: Explanation) -> About:
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
    return About(notes, [0.0] * len(notes), _detail(explanation))


def _detail(explanation: Explanation) -> dict[str, Any]:
    """What our client draws: the exact scores, and how they came about in words.

    `rows`: one, or one a label with `each`; `views` are the parts of the text by unit.
    """
    names = explanation.names if explanation.scores.ndim == 2 else ("",)
    return {
        "signed": explanation.signed,
        "units": explanation.units,
        "rows": [
            {
                "name": wording.visible(name) if name else "",
                "views": {
                    unit: [vars(part) for part in parts]
                    for unit, parts in _views(explanation, number).items()
                },
            }
            for number, name in enumerate(names)
        ],
        "card": view.card(explanation),
        "forward": explanation.forward,
        "backward": explanation.backward,
        "seconds": explanation.seconds,
        "convergence_error": explanation.convergence_error,
    }


def _views(explanation: Explanation, row: int) -> dict[str, list[Part]]:
    """By unit: what was scored; and words, where that was tokens whose scores add up."""
    parts = [
        part if part.score is None else replace(part, score=float(np.atleast_1d(part.score)[row]))
        for part in explanation.parts()
    ]
    unit = explanation.options.segment or "token"
    views = {unit: parts}
    if unit == "token" and METHODS[explanation.method].by_position:
        views["word"] = [_joined(word) for word in _words(parts)]
    return views


def _words(tokens: Sequence[Part]) -> list[list[Part]]:
    """Neighbours without a space between them. What is not the user's own text is no part of it."""
    words: list[list[Part]] = []
    for token in tokens:
        joins = words and token.own and words[-1][-1].own and not token.text[:1].isspace()
        if joins:
            words[-1].append(token)
        else:
            words.append([token])
    return words


def _joined(parts: Sequence[Part]) -> Part:
    """One part, with the sum of the scores that are there."""
    scores = [part.score for part in parts if part.score is not None]
    return Part(
        "".join(part.text for part in parts),
        float(sum(scores)) if scores else None,
        all(part.own for part in parts),
        any(part.target for part in parts),
        parts[0].start,
        parts[-1].stop,
    )


def _rows(
    explanation: Explanation, scale: bool, reads_texts: bool
) -> dict[str, lit_dtypes.TokenSalience]:
    """Scores as rows of chips, by name."""
    if explanation.scores.ndim == 2:
        most = float(np.abs(explanation.scores).max(initial=0))
        rows: dict[str, lit_dtypes.TokenSalience] = {}
        for number, name in enumerate(explanation.names):
            rows[_free(name, rows)] = _scored(
                [*_views(explanation, number).values()][-1], scale, most
            )
        return rows
    views = _views(explanation, 0)
    if reads_texts and "token" not in views and not METHODS[explanation.method].by_position:
        [parts] = views.values()
        return {"salience": _scored(parts, scale)}
    rows = {"salience": _row(list(explanation.tokens), explanation.per_token(), scale)}
    if reads_texts and "token" in views and "word" in views:
        words = _scored(views["word"], scale)
        if len(words.tokens) < len(explanation.segments):
            rows["words"] = words
    return rows


def _scored(
    parts: Sequence[Part], scale: bool, most: float | None = None
) -> lit_dtypes.TokenSalience:
    """Chips of what has a score."""
    scores = [(part.text, part.score) for part in parts if part.score is not None]
    return _row(
        [text.strip() or text for text, _ in scores],
        np.array([one for _, one in scores]),
        scale,
        most,
    )


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
