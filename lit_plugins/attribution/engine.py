"""The engine: questions about a model's inputs and a method in, Explanations out.

What a question is, and how it becomes a Case, its subclasses know: one for language models
(`explainer`), one for models that read a text as a whole (`text_explainer`).
"""

from __future__ import annotations

import abc
import contextlib
import functools
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
import torch

from lit_plugins.attribution import findings, methods
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.cost import Calibration, Estimate, Passes, Size, in_words
from lit_plugins.attribution.explanation import Explanation, Segment, versions_of
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import Options, resolve
from lit_plugins.attribution.watch import Watch
from lit_plugins.backends import Recording
from lit_plugins.errors import InputError
from lit_plugins.models import kinds
from lit_plugins.tasks import UNITS

CACHED = 256  # explanations
# A request of so few passes is never worth a calibration.
FREE_PASSES = 4


class Question(Protocol):
    """What is asked about one input."""

    @property
    def choices(self) -> tuple[Any, ...]:
        """What each number explained is known by, in ascending order."""
        ...

    @property
    def weights(self) -> tuple[float, ...]:
        """How much each counts in their sum."""
        ...


Q = TypeVar("Q", bound=Question)


@dataclass(frozen=True)
class Built:
    """The Case of some questions, and for each its segments and its foil as shown, if any."""

    case: Case
    segments: list[list[Segment]]
    foils: list[str | None]


@dataclass(frozen=True)
class Shown:
    """What an Explanation shows of a question: see there.

    `pieces`: the tokens with spaces for spaces; `own` (tokens,): False for what stands around the
    user's own text. `places`: of the tokens explained, if it is tokens; `inputs`: what was given,
    by field.
    """

    tokens: tuple[str, ...]
    pieces: tuple[str, ...]
    targets: tuple[int, ...]
    names: tuple[str, ...]
    own: np.ndarray
    places: tuple[int, ...] = ()
    inputs: Mapping[str, Any] = field(default_factory=dict)


class Engine(abc.ABC, Generic[Q]):
    """Explains a model's answers by any of METHODS.

    It remembers what it has computed, in bounded memory, for as long as it lives: hold one for a
    model. All methods may be called from several threads.

    Args:
        model: A loaded model, whose options `max_explanation_seconds` and `tokens_per_pass` say
            what is refused, and how much goes through it together.

    """

    def __init__(self, model: Any):
        self.model = model
        self.limit_seconds = model.options.max_explanation_seconds
        self._tokens_per_pass = model.options.tokens_per_pass
        self._calibration = _calibration(model, type(self).calibrating_pass)
        self._explanations = _Cache(CACHED)
        self._one_pass = threading.Lock()
        self._gradients = _Cache(4)  # at the input, (batch, tokens, dim): several methods want one
        self._passes = _Cache(1)  # recordings hold a pass's activations: one is enough

    # What an input is.

    @abc.abstractmethod
    def build(
        self,
        questions: Sequence[Q],
        options: Options,
        watch: Watch,
        also: Sequence[Sequence[Any]] | None = None,
    ) -> Built:
        """The Case of questions; `also`: choices scored in the same pass, for later questions.

        Raises InputError.
        """

    @abc.abstractmethod
    def identity(self, question: Q) -> str:
        """The same for the same input, whatever is asked about it."""

    @abc.abstractmethod
    def size(self, row: Method, options: Options, question: Q) -> tuple[Size, int]:
        """What the cost depends on, and the tokens that a pass takes."""

    @abc.abstractmethod
    def in_batches(self, questions: Sequence[Q]) -> Iterable[list[int]]:
        """Numbers of questions that go through the model together."""

    @abc.abstractmethod
    def likely_next(self, question: Q) -> tuple[Any, ...]:
        """Choices that cost no pass of their own with this question's, itself included."""

    @abc.abstractmethod
    def show(self, question: Q, options: Options) -> Shown:
        """What is shown of a question."""

    @abc.abstractmethod
    def segments(self, question: Q, options: Options) -> list[Segment]:
        """The parts of the whole text by `options.segment`, what is explained included.

        Where a pattern matches nothing there are none. Raises InputError for what is no pattern.
        """

    @staticmethod
    @abc.abstractmethod
    def calibrating_pass(model: Any, tokens: int, backward: bool) -> None:
        """One pass over a text of so many tokens, to see what it takes."""

    # Questions.

    def answer(
        self,
        questions: Sequence[Q],
        method: str,
        options: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
        limit_seconds: float | None = None,
    ) -> list[Explanation]:
        """Explanations in the order of the questions, in batches where that is faster.

        What is expected to take longer than the limit (default: the model's) is refused.
        """
        row, chosen = self._method(method, options or {})
        watch = watch or Watch()
        keys = [self._key(row.name, chosen, question) for question in questions]
        known = {
            key: self._explanations.get(key) or self._from_matrix(row, chosen, question)
            for key, question in zip(keys, questions, strict=True)
        }
        new = {key: place for place, key in enumerate(keys) if known[key] is None}
        places = list(new.values())
        limit = self.limit_seconds if limit_seconds is None else limit_seconds
        self._check_cost(row, chosen, [questions[place] for place in places], watch, limit)
        for group in self._groups(row, chosen, [questions[place] for place in places]):
            together = [places[number] for number in group]
            explained = self._explain(row, chosen, [questions[place] for place in together], watch)
            for place, made in zip(together, explained, strict=True):
                known[keys[place]] = made
                self._explanations.put(keys[place], made)
        watch.finish()
        return [made for key in keys if (made := known[key]) is not None]

    def _method(self, name: str, given: Mapping[str, Any]) -> tuple[Method, Options]:
        row = methods.find(name)
        return row, resolve(name, self.model.option_defaults(row.defaults), given)

    def check(self, method: str, **options: Any) -> None:
        """Raise InputError for a method or option that there is not, whatever the question."""
        self._method(method, options)

    def forget(self) -> None:
        """Forget what was computed, so that nothing depends on what was asked before."""
        for kept in (self._explanations, self._gradients, self._passes):
            kept.clear()

    # Cost.

    @property
    def tokens_per_pass(self) -> int:
        """How many tokens go through the model together."""
        if self._tokens_per_pass is None:
            self._tokens_per_pass = 1024 if self.model.on_cpu else 16384
        return self._tokens_per_pass

    def cost(
        self, question: Q, method: str, options: Mapping[str, Any] | None = None
    ) -> tuple[Passes, float | None]:
        """The passes that a question takes, and the seconds if a pass was ever timed.

        The model is not run. Raises InputError.
        """
        row, chosen = self._method(method, options or {})
        passes, tokens = self._passes_of(row, chosen, question)
        if not self._calibration.measured:
            return passes, None
        return passes, self._calibration.estimate(passes, tokens, self.tokens_per_pass).seconds

    def _estimate(self, row: Method, options: Options, question: Q) -> Estimate:
        passes, tokens = self._passes_of(row, options, question)
        return self._calibration.estimate(passes, tokens, self.tokens_per_pass)

    def _passes_of(self, row: Method, options: Options, question: Q) -> tuple[Passes, int]:
        """The passes that a question takes, and the tokens of each."""
        size, tokens = self.size(row, options, question)
        passes = row.cost(size, options)
        # Which token is the runner-up is a pass of its own.
        forward = passes.forward * size.branches + int(options.runner_up)
        return Passes(forward, passes.backward * size.branches), tokens

    def _check_cost(
        self,
        row: Method,
        options: Options,
        questions: Sequence[Q],
        watch: Watch,
        limit: float,
    ) -> None:
        """Raise InputError if the questions together would take more than `limit` seconds."""
        seconds = 0.0
        for question in questions:
            watch.check()  # a user's own pattern may take a second
            passes, tokens = self._passes_of(row, options, question)
            watch.expected += int(passes.forward + passes.backward)
            if passes.forward + passes.backward <= FREE_PASSES:
                continue
            estimate = self._calibration.estimate(passes, tokens, self.tokens_per_pass)
            seconds += estimate.seconds
            if seconds > limit:
                raise InputError(
                    f"{row.name} would take {estimate}"
                    + (f", for each of {len(questions)} texts" if len(questions) > 1 else "")
                    + f"; the limit is {in_words(limit)}. "
                    + self._alternative(row, options, question)
                )

    def _alternative(self, row: Method, options: Options, question: Q) -> str:
        """What answers a similar question within the limit."""
        changes: list[dict[str, Any]] = []
        given = options.model_dump(exclude_defaults=True)
        for option in ("steps", "samples"):
            value = given.get(option)
            if isinstance(value, int) and value > 8:
                changes += [{option: fewer} for fewer in (value // 4, 20, 8) if fewer < value]
        if not row.by_position:
            changes += [{"segment": unit} for unit in ("sentence", "paragraph")
                        if given.get("segment") not in (unit, "paragraph", "regex")]  # fmt: skip
        for change in changes:
            fewer = self._estimate(row, options.model_copy(update=change), question)
            if fewer.seconds <= self.limit_seconds:
                [(key, value)] = change.items()
                return f"Try {key}={value} ({fewer})."
        cheap = METHODS["grad_dot_input" if row.signed else "grad_l2"]
        plain = resolve(cheap.name, cheap.defaults, {})
        return f"Try {cheap.name} ({self._estimate(cheap, plain, question)})."

    # Computation.

    def _groups(self, row: Method, options: Options, questions: Sequence[Q]) -> Iterable[list[int]]:
        """Numbers of questions that are computed together."""
        alone = options.foil is not None or options.each
        if not row.batched or alone:
            return [[number] for number in range(len(questions))]
        return self.in_batches(questions)

    def _explain(
        self, row: Method, options: Options, questions: Sequence[Q], watch: Watch
    ) -> list[Explanation]:
        before = watch.seconds, watch.forward, watch.backward
        # One at a time, so that who asks for several methods at once pays for one pass.
        with self._one_pass if row.kept_pass else contextlib.nullcontext():
            built = self._built(row, options, questions, watch)
            case = built.case
            same = self._same_pass(options, questions)
            if row.kept_pass and not options.each:
                case.keep_gradient = True
                case.gradient = _fitting(self._gradients.get(same), case.features.shape[1])
            made: Scores = row.function()(case, options)
            if case.gradient is not None:
                self._gradients.put(same, case.gradient)
        spent = (
            (watch.seconds - before[0]) / len(questions),
            (watch.forward - before[1]) // len(questions),
            (watch.backward - before[2]) // len(questions),
        )
        return [
            self._answer(row, options, question, built, place, _row(made, place), spent)
            for place, question in enumerate(questions)
        ]

    def _built(self, row: Method, options: Options, questions: Sequence[Q], watch: Watch) -> Built:
        """The case; with a pass that was, or from now on is, kept, where one is enough."""
        if len(questions) > 1 or not row.kept_pass or options.foil is not None:
            return self.build(questions, options, watch)
        [question] = questions
        kind = (self.identity(question), options.output == "logit", options.runner_up)
        kept: tuple[tuple[Any, ...], Recording] | None = self._passes.get(kind)
        if kept is not None and set(question.choices) <= set(kept[0]):
            also = kept[0]
        elif self._gradients.get(self._same_pass(options, questions)) is not None:
            return self.build(questions, options, watch)
        else:
            kept, also = None, self.likely_next(question)
        built = self.build(questions, options, watch, [also])
        if kept is None:
            self._passes.clear()  # before the next pass needs its memory
            built.case.recording = built.case.scorer.record()
            self._passes.put(kind, (also, built.case.recording))
        else:
            built.case.recording = kept[1]
        return built

    def _answer(
        self,
        row: Method,
        options: Options,
        question: Q,
        built: Built,
        place: int,
        made: Scores,
        spent: tuple[float, int, int],
    ) -> Explanation:
        """One question's Explanation; `made` has its outputs first: (outputs, …)."""
        case, found = built.case, built.segments[place]
        value, base = _numpy(made.value), _numpy(made.baseline_value)
        scores = _numpy(made.scores)
        assert value is not None
        assert scores is not None
        if options.each and len(value) != len(question.choices):
            columns = np.flatnonzero(case.scorer.branches[0].batch.target_mask[0] != 0)
            value, scores = value[columns], scores[columns]
            base = None if base is None else base[columns]
        if not np.isfinite(value).all():
            raise InputError(
                f"The score explained is not a finite number ({float(value.flat[0])}): the model's "
                "weights are damaged, or overflow in its dtype. Load it with dtype=float32."
            )
        error = findings.convergence_error(row, scores, value, base)
        scores = _sum_segments(scores, found) if row.by_position else scores[:, : len(found)]
        warned = [
            *case.warnings,
            *case.row_warnings[place],
            *findings.warnings(row, options, scores, value, base, error),
        ]
        if error is not None and not np.isfinite(error):
            error = None
        notes = case.notes | case.row_notes[place]
        if not np.isfinite(scores).all():
            notes["not_finite"] = int((~np.isfinite(scores)).sum())
            scores = np.where(np.isfinite(scores), scores, 0.0)
        shown = self.show(question, options)
        if options.template == "drop":
            scores = _without_scaffolding(scores, found, shown.own)
        if not options.each:
            scores, value = scores[0], value[0]
            base = None if base is None else base[0]
        return Explanation(
            method=row.name,
            options=options,
            tokens=shown.tokens,
            segments=tuple(found),
            scores=scores.astype(np.float32),
            targets=shown.targets,
            names=shown.names,
            foil=built.foils[place],
            signed=row.signed,
            units=row.units.format(UNITS[options.output]),
            value=value,
            baseline_value=base,
            convergence_error=error,
            warnings=tuple(warned),
            seconds=spent[0],
            forward=spent[1],
            backward=spent[2],
            notes=notes,
            own=tuple(map(bool, shown.own)),
            places=shown.places,
            inputs=shown.inputs,
            model=str(getattr(self.model, "description", "")),
            task=kinds.task_of(self.model),
            versions=versions_of(*getattr(self.model, "packages", ())),
        )

    def _from_matrix(self, row: Method, options: Options, question: Q) -> Explanation | None:
        """Some choices as their weighed sum, if all of them were explained one by one."""
        if not row.linear or options.each or options.output == "prob" or options.steps == "auto":
            return None
        if options.foil is not None or options.runner_up or options.template == "drop":
            return None
        single = self._key(row.name, options.model_copy(update={"each": True}), question)[:3]
        found = self._explanations.find(
            lambda key: key[:3] == single and set(question.choices) <= set(key[3])
        )
        if found is None:
            return None
        (_, _, _, known, _), matrix = found
        places = [known.index(one) for one in question.choices]
        weights = np.asarray(question.weights)
        scores = weights @ matrix.scores[places].astype(float)
        value = weights @ matrix.value[places]
        base = None if matrix.baseline_value is None else weights @ matrix.baseline_value[places]
        values, bases = np.array([value]), None if base is None else np.array([base])
        error = findings.convergence_error(row, scores[None], values, bases)
        shown = self.show(question, options)
        return replace(
            matrix,
            options=options,
            scores=scores.astype(np.float32),
            targets=shown.targets,
            names=shown.names,
            places=shown.places,
            value=value,
            baseline_value=base,
            convergence_error=error,
            warnings=tuple(findings.warnings(row, options, scores[None], values, bases, error)),
            forward=0,
            backward=0,
            seconds=0.0,
        )

    def _key(self, method: str, options: Options, question: Q) -> tuple:
        """By content: what was asked of what, how."""
        identity = self.identity(question)
        return method, options, identity, question.choices, question.weights

    def _same_pass(self, options: Options, questions: Sequence[Q]) -> tuple:
        """What a gradient at the input depends on."""
        plain = Options(output=options.output, runner_up=options.runner_up, foil=options.foil)
        return tuple(self._key("", plain, question) for question in questions)


# Each model is measured once, whoever explains it.
_CALIBRATIONS: weakref.WeakKeyDictionary[Any, Calibration] = weakref.WeakKeyDictionary()


def _calibration(model: Any, one_pass: Callable[[Any, int, bool], None]) -> Calibration:
    if model not in _CALIBRATIONS:
        run = functools.partial(one_pass, weakref.proxy(model))
        _CALIBRATIONS[model] = Calibration(run, model.max_length - 1)
    return _CALIBRATIONS[model]


class _Cache:
    """The values used last, at most `size` of them; for any number of threads."""

    def __init__(self, size: int):
        self._size = size
        self._lock = threading.Lock()
        self._values: OrderedDict[Any, Any] = OrderedDict()

    def get(self, key: Any) -> Any:
        with self._lock:
            if key in self._values:
                self._values.move_to_end(key)
            return self._values.get(key)

    def put(self, key: Any, value: Any) -> None:
        with self._lock:
            self._values[key] = value
            self._values.move_to_end(key)
            while len(self._values) > self._size:
                self._values.popitem(last=False)

    def find(self, matches: Callable[[Any], bool]) -> Any:
        with self._lock:
            return next((item for item in self._values.items() if matches(item[0])), None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


def _fitting(
    kept: tuple[torch.Tensor, torch.Tensor] | None, tokens: int
) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Kept outputs and gradient (1, batch, tokens, dim), of a pass that may have been longer.

    Behind the last token explained, a gradient is zero.
    """
    if kept is None:
        return None
    outputs, gradient = kept
    more = tokens - gradient.shape[2]
    return outputs, torch.nn.functional.pad(gradient, (0, 0, 0, more))


def _row(made: Scores, place: int) -> Scores:
    base = None if made.baseline_value is None else made.baseline_value[place]
    return Scores(made.scores[place], made.value[place], base)


def _numpy(values: torch.Tensor | None) -> np.ndarray | None:
    return None if values is None else values.detach().double().cpu().numpy()


def _sum_segments(scores: np.ndarray, found: Sequence[Segment]) -> np.ndarray:
    """(outputs, positions) -> (outputs, segments). Positions behind the last one have no score."""
    return (
        np.stack([scores[:, segment.start : segment.stop].sum(1) for segment in found], axis=1)
        if found
        else np.zeros((len(scores), 0))
    )


def _without_scaffolding(
    scores: np.ndarray, found: Sequence[Segment], own: np.ndarray
) -> np.ndarray:
    """The user's own text alone, scaled so that the absolute sum of each output stays."""
    counts = np.array([own[one.start] for one in found], bool)
    kept = np.where(counts, scores, 0.0)
    before, after = np.abs(scores).sum(-1, keepdims=True), np.abs(kept).sum(-1, keepdims=True)
    return kept * np.divide(before, after, out=np.ones_like(before), where=after > 0)
