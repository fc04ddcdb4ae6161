"""The engine for language models: a prompt, a target and a method in, an Explanation out."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution import findings, methods
from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.cost import Calibration, Estimate, Passes, Size, in_words
from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.methods import METHODS, Method
from lit_plugins.attribution.options import Options, resolve
from lit_plugins.attribution.text_case import Question, build, contrast, find_segments
from lit_plugins.attribution.watch import Watch
from lit_plugins.backends import Recording
from lit_plugins.errors import InputError
from lit_plugins.models.language_model import LanguageModel, Text
from lit_plugins.tasks import UNITS, CausalLM

# What finds planted causes best: docs/which-method.md.
DEFAULT_METHOD = "leave_one_out"
CACHED = 256  # explanations
# Target tokens whose rows are computed along with those asked for, so that another span of the
# same answer needs no forward pass.
ROWS_KEPT = 64
# A request of so few passes is never worth a calibration.
FREE_PASSES = 4


@dataclass(frozen=True)
class Request:
    """One explanation asked for.

    Attributes:
        prompt: The user's text.
        target: What follows it; None for what the model itself answers.
        span: Which part of the target is explained: a text in it, the place of one token in the
            tokens of prompt and target, a pair of them (first, behind the last), or a weight for
            each of those tokens; None for the whole target.

    """

    prompt: str
    target: str | None = None
    span: str | int | tuple[int, int] | Sequence[float] | np.ndarray | None = None


class Explainer:
    """Explains a language model's answers by any of METHODS.

    It remembers what it has computed, in bounded memory, for as long as it lives: hold one for a
    model. All methods may be called from several threads.

    Args:
        model: A loaded language model, whose options `max_explanation_seconds` and
            `tokens_per_pass` say what is refused, and how much goes through it together.

    """

    def __init__(self, model: LanguageModel):
        self.model = model
        self.limit_seconds = model.options.max_explanation_seconds
        self._tokens_per_pass = model.options.tokens_per_pass
        self._calibration = _calibration(model)
        self._explanations = _Cache(CACHED)
        self._one_pass = threading.Lock()
        self._gradients = _Cache(4)  # at the input, (batch, tokens, dim): several methods want one
        self._passes = _Cache(1)  # recordings hold a pass's activations: one is enough

    def explain(
        self,
        prompt: str,
        target: str | None = None,
        span: Any = None,
        *,
        method: str = DEFAULT_METHOD,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> Explanation:
        """Why this target: see Request for what is asked, Options for how.

        Raises InputError for what cannot be explained, Cancelled once `cancel` is set.
        """
        request = Request(prompt, target, span)
        [made] = self.explain_all(
            [request], method=method, progress=progress, cancel=cancel, **options
        )
        return made

    def explain_all(
        self,
        requests: Sequence[Request],
        *,
        method: str = DEFAULT_METHOD,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> list[Explanation]:
        """Explanations in the order of the requests, computed in batches where that is faster."""
        questions = [self._question(request) for request in requests]
        return self.answer(questions, method, options, Watch(progress, cancel))

    def answer(
        self,
        questions: Sequence[Question],
        method: str = DEFAULT_METHOD,
        options: Mapping[str, Any] | None = None,
        watch: Watch | None = None,
    ) -> list[Explanation]:
        """As `explain_all`, of texts that are tokens already."""
        row, chosen = self._method(method, options or {})
        watch = watch or Watch()
        keys = [_key(row.name, chosen, question) for question in questions]
        known = {
            key: self._explanations.get(key) or self._from_matrix(row, chosen, question)
            for key, question in zip(keys, questions, strict=True)
        }
        new = {key: place for place, key in enumerate(keys) if known[key] is None}
        places = list(new.values())
        self._check_cost(row, chosen, [questions[place] for place in places], watch)
        for group in self._groups(row, chosen, [questions[place] for place in places]):
            together = [places[number] for number in group]
            explained = self._explain(row, chosen, [questions[place] for place in together], watch)
            for place, made in zip(together, explained, strict=True):
                known[keys[place]] = made
                self._explanations.put(keys[place], made)
        watch.finish()
        return [made for key in keys if (made := known[key]) is not None]

    def estimate(
        self,
        prompt: str,
        target: str | None = None,
        span: Any = None,
        *,
        method: str = DEFAULT_METHOD,
        **options: Any,
    ) -> Estimate:
        """What the same arguments would cost `explain`; nothing is explained.

        The first call calibrates: some passes over texts of 16 and 64 tokens.
        """
        row, chosen = self._method(method, options)
        return self._estimate(row, chosen, self._question(Request(prompt, target, span)))

    # Requests.

    def _method(self, name: str, given: Mapping[str, Any]) -> tuple[Method, Options]:
        row = methods.find(name)
        return row, resolve(name, row.defaults, given)

    def _question(self, request: Request) -> Question:
        if request.target is None:
            [made] = self.model.generate([request.prompt])
            text = made.text
        else:
            text = self.model.text(request.prompt, request.target)
        return Question(text, self._mask(text, request.span))

    def _mask(self, text: Text, span: Any) -> np.ndarray:
        """Weights (tokens,) of what is explained. Raises InputError."""
        count, start = len(text.ids), text.target_start
        mask = np.zeros(count, np.float32)
        if span is None:
            mask[start:] = 1
        elif isinstance(span, str):
            mask[self._find(text, span)] = 1
        elif isinstance(span, int | np.integer) and not isinstance(span, bool):
            _check_places(count, int(span), int(span) + 1)
            mask[int(span)] = 1
        elif isinstance(span, tuple) and len(span) == 2:
            _check_places(count, *span)
            mask[span[0] : span[1]] = 1
        else:
            try:
                weights = np.asarray(span)
            except ValueError:  # rows of different lengths
                weights = np.zeros(())
            if weights.shape != (count,) or weights.dtype.kind not in "biuf":
                size: Any = span
                got = f"{len(size)} values" if hasattr(span, "__len__") else f"{span!r:.60}"
                raise InputError(
                    f"A mask must have one number for each of the {count} tokens of prompt and "
                    f"target. Got {got}."
                )
            if not np.isfinite(weights).all():
                raise InputError("A mask must be finite numbers, one a token.")
            mask = weights.astype(np.float32)
        if not mask[1:].any():
            raise InputError(
                "Nothing is selected to be explained: the target is empty, or the mask is zero "
                "everywhere but on the first token, which is never predicted. Give a target, or "
                "None for the model's own answer."
            )
        return mask

    def _find(self, text: Text, span: str) -> slice:
        """The target's tokens that a text in it covers."""
        shown = self.model.plain_tokens(text)
        target = "".join(shown[text.target_start :])
        begin = target.find(span) if span else -1
        if begin < 0:
            raise InputError(
                f"span {span!r:.80} is not in the target {target!r:.120}. Expected a part of it, "
                "written the same."
            )
        begin += len(span) - len(span.lstrip())
        end = max(begin + 1, begin + len(span.strip()))
        ends = np.cumsum([len(piece) for piece in shown[text.target_start :]])
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(ends, end, side="left"))
        return slice(text.target_start + first, text.target_start + last + 1)

    # Cost.

    @property
    def tokens_per_pass(self) -> int:
        """How many tokens go through the model together."""
        if self._tokens_per_pass is None:
            self._tokens_per_pass = 1024 if self.model.on_cpu else 16384
        return self._tokens_per_pass

    def _size(self, row: Method, options: Options, question: Question) -> tuple[Size, int]:
        """What the cost depends on, and the tokens of the text."""
        asked = question.asked
        tokens, branches = int(asked[-1]), 1
        if options.foil is not None:
            against = contrast(self.model, question, options.foil)
            branches = 1 if against.one_token else 2
            stop = against.place
        else:
            stop = int(asked[0]) if options.perturb == "delete" else tokens
        count = 0 if row.by_position else len(find_segments(self.model, question, options, stop))
        return Size(len(asked) if options.each else 1, count, branches), tokens

    def _estimate(self, row: Method, options: Options, question: Question) -> Estimate:
        passes, tokens = self._passes_of(row, options, question)
        return self._calibration.estimate(passes, tokens, self.tokens_per_pass)

    def _passes_of(self, row: Method, options: Options, question: Question) -> tuple[Passes, int]:
        """The passes that a question takes, and the tokens of each."""
        size, tokens = self._size(row, options, question)
        passes = row.cost(size, options)
        # Which token is the runner-up is a pass of its own.
        forward = passes.forward * size.branches + int(options.runner_up)
        return Passes(forward, passes.backward * size.branches), tokens

    def _check_cost(
        self, row: Method, options: Options, questions: Sequence[Question], watch: Watch
    ) -> None:
        """Raise InputError if the questions together would take too long."""
        seconds = 0.0
        for question in questions:
            passes, tokens = self._passes_of(row, options, question)
            watch.expected += int(passes.forward + passes.backward)
            if passes.forward + passes.backward <= FREE_PASSES:
                continue
            estimate = self._calibration.estimate(passes, tokens, self.tokens_per_pass)
            seconds += estimate.seconds
            if seconds > self.limit_seconds:
                raise InputError(
                    f"{row.name} would take {estimate}"
                    + (f", for each of {len(questions)} texts" if len(questions) > 1 else "")
                    + f"; the limit is {in_words(self.limit_seconds)}. "
                    + self._alternative(row, options, question)
                )

    def _alternative(self, row: Method, options: Options, question: Question) -> str:
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

    def _groups(
        self, row: Method, options: Options, questions: Sequence[Question]
    ) -> list[list[int]]:
        """Numbers of questions that are computed together."""
        alone = options.foil is not None or options.each or options.steps == "auto"
        if not row.batched or alone:
            return [[number] for number in range(len(questions))]
        texts = [question.text for question in questions]
        return list(self.model.in_batches(texts, self.tokens_per_pass))

    def _explain(
        self, row: Method, options: Options, questions: Sequence[Question], watch: Watch
    ) -> list[Explanation]:
        before = watch.seconds, watch.forward, watch.backward
        # One at a time, so that who asks for several methods at once pays for one pass.
        with self._one_pass if row.kept_pass else contextlib.nullcontext():
            case, found, foils = self._case(row, options, questions, watch)
            same = _same_pass(options, questions)
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
            self._answer(
                row, options, question, case, _row(made, place), found[place], foils[place], spent
            )
            for place, question in enumerate(questions)
        ]

    def _case(
        self, row: Method, options: Options, questions: Sequence[Question], watch: Watch
    ) -> tuple[Case, list[list[Segment]], list[str | None]]:
        """The case; with a pass that was, or from now on is, kept, where one is enough."""
        if len(questions) > 1 or not row.kept_pass or options.foil is not None:
            return build(self.model, questions, options, watch, self.tokens_per_pass)
        [question] = questions
        kind = (question.text.ids, options.output == "logit", options.runner_up)
        kept: tuple[tuple[int, ...], Recording] | None = self._passes.get(kind)
        asked = {int(place) for place in question.asked}
        if kept is not None and asked <= set(kept[0]):
            also: Sequence[int] = kept[0]
        elif self._gradients.get(_same_pass(options, questions)) is not None:
            return build(self.model, questions, options, watch, self.tokens_per_pass)
        else:
            kept = None
            whole = range(max(1, question.text.target_start), len(question.text.ids))
            also = sorted(asked | set(whole)) if len(whole) <= ROWS_KEPT else sorted(asked)
        case, found, foils = build(
            self.model, questions, options, watch, self.tokens_per_pass, [also]
        )
        if kept is None:
            self._passes.clear()  # before the next pass needs its memory
            case.recording = case.scorer.record()
            self._passes.put(kind, (tuple(also), case.recording))
        else:
            case.recording = kept[1]
        return case, found, foils

    def _answer(
        self,
        row: Method,
        options: Options,
        question: Question,
        case: Case,
        made: Scores,
        found: Sequence[Segment],
        foil: str | None,
        spent: tuple[float, int, int],
    ) -> Explanation:
        """One question's Explanation; `made` has its outputs first: (outputs, …)."""
        value, base = _numpy(made.value), _numpy(made.baseline_value)
        scores = _numpy(made.scores)
        assert value is not None
        assert scores is not None
        if options.each and len(value) != len(question.asked):
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
            *findings.warnings(row, options, scores, value, base, error),
        ]
        if error is not None and not np.isfinite(error):
            error = None
        notes = dict(case.notes)
        if not np.isfinite(scores).all():
            notes["not_finite"] = int((~np.isfinite(scores)).sum())
            scores = np.where(np.isfinite(scores), scores, 0.0)
        text = question.text
        if options.template == "drop":
            scores = _without_scaffolding(scores, found, text)
        if not options.each:
            scores, value = scores[0], value[0]
            base = None if base is None else base[0]
        units = UNITS[options.output]
        return Explanation(
            method=row.name,
            options=options,
            tokens=tuple(self.model.shown_tokens(text)),
            segments=tuple(found),
            scores=scores.astype(np.float32),
            targets=tuple(int(place) for place in question.asked),
            foil=foil,
            signed=row.signed,
            units=row.units.format(units),
            value=value,
            baseline_value=base,
            convergence_error=error,
            warnings=tuple(warned),
            seconds=spent[0],
            forward=spent[1],
            backward=spent[2],
            notes=notes,
        )

    def _from_matrix(self, row: Method, options: Options, question: Question) -> Explanation | None:
        """A span as the weighed sum of its tokens, if all of them were explained one by one."""
        if not row.linear or options.each or options.output == "prob" or options.steps == "auto":
            return None
        if options.foil is not None or options.runner_up or options.template == "drop":
            return None
        single = options.model_copy(update={"each": True})
        matrix = self._explanations.find(
            lambda key: (
                key[:3] == _key(row.name, single, question)[:3]
                and set(question.asked.tolist()) <= set(key[3])
            )
        )
        if matrix is None:
            return None
        places = [matrix.targets.index(int(place)) for place in question.asked]
        weights = question.mask[question.asked].astype(float)
        scores = weights @ matrix.scores[places].astype(float)
        value = weights @ matrix.value[places]
        base = None if matrix.baseline_value is None else weights @ matrix.baseline_value[places]
        values, bases = np.array([value]), None if base is None else np.array([base])
        error = findings.convergence_error(row, scores[None], values, bases)
        return replace(
            matrix,
            options=options,
            scores=scores.astype(np.float32),
            targets=tuple(int(place) for place in question.asked),
            value=value,
            baseline_value=base,
            convergence_error=error,
            warnings=tuple(findings.warnings(row, options, scores[None], values, bases, error)),
            forward=0,
            backward=0,
            seconds=0.0,
        )


# Each model is measured once, whoever explains it.
_CALIBRATIONS: weakref.WeakKeyDictionary[LanguageModel, Calibration] = weakref.WeakKeyDictionary()


def _calibration(model: LanguageModel) -> Calibration:
    if model not in _CALIBRATIONS:
        one_pass = functools.partial(_calibrating_pass, weakref.proxy(model))
        _CALIBRATIONS[model] = Calibration(one_pass, model.max_length - 1)
    return _CALIBRATIONS[model]


def _calibrating_pass(model: LanguageModel, tokens: int, backward: bool) -> None:
    """One pass over a text of so many tokens, to see what it takes."""
    ids = tuple(place % min(model.vocabulary, 97) for place in range(tokens))
    mask = np.zeros(tokens)
    mask[-1] = 1
    batch = model.encode([Text(ids, 0, slice(0, 0))], [mask])
    scorer = Scorer(model, CausalLM(), [Branch(batch)])
    features, rows = scorer.features(), torch.arange(1)
    if backward:
        scorer.gradients(features, rows, lambda gradient, _: gradient[..., 0])
    else:
        scorer.outputs(features, rows)


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
            return next((value for key, value in self._values.items() if matches(key)), None)

    def clear(self) -> None:
        with self._lock:
            self._values.clear()


def _key(method: str, options: Options, question: Question) -> tuple:
    """By content: what was asked of what, how; the places asked, and their weights."""
    text = question.text
    ids = hashlib.sha256(repr((text.ids, text.target_start, text.content)).encode()).hexdigest()
    asked = question.asked
    weights = tuple(float(one) for one in question.mask[asked])
    return method, options, ids, tuple(asked.tolist()), weights


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


def _same_pass(options: Options, questions: Sequence[Question]) -> tuple:
    """What a gradient at the input depends on."""
    plain = Options(output=options.output, runner_up=options.runner_up, foil=options.foil)
    return tuple(_key("", plain, question) for question in questions)


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


def _without_scaffolding(scores: np.ndarray, found: Sequence[Segment], text: Text) -> np.ndarray:
    """The user's own text alone, scaled so that the absolute sum of each output stays."""
    own = np.array(
        [
            text.content.start <= one.start < text.content.stop or one.start >= text.target_start
            for one in found
        ],
        bool,
    )
    kept = np.where(own, scores, 0.0)
    before, after = np.abs(scores).sum(-1, keepdims=True), np.abs(kept).sum(-1, keepdims=True)
    return kept * np.divide(before, after, out=np.ones_like(before), where=after > 0)


def _check_places(count: int, first: Any, last: Any) -> None:
    whole = all(isinstance(one, int | np.integer) for one in (first, last))
    if not whole or not 0 <= first < last <= count:
        raise InputError(
            f"span ({first}, {last}) is outside the text. Expected places of tokens, 0 <= first < "
            f"last <= {count}."
        )
