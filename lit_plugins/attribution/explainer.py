"""The engine for language models: a prompt, a target and a method in, an Explanation out."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.cost import Estimate, Size
from lit_plugins.attribution.engine import Built, Engine, Shown
from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.methods import Method
from lit_plugins.attribution.options import Options
from lit_plugins.attribution.text_case import (
    Question,
    all_segments,
    build,
    contrast,
    find_segments,
)
from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import InputError
from lit_plugins.models.language_model import LanguageModel, Text
from lit_plugins.models.tokens import SPACE
from lit_plugins.tasks import CausalLM

# What finds planted causes best: docs/which-method.md.
DEFAULT_METHOD = "leave_one_out"
# Target tokens whose rows are computed along with those asked for, so that another span of the
# same answer needs no forward pass.
ROWS_KEPT = 64


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


class Explainer(Engine[Question]):
    """Explains a language model's answers by any of METHODS: see Engine.

    Args:
        model: A loaded language model.

    """

    model: LanguageModel
    default_method = DEFAULT_METHOD

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
        limit_seconds: float | None = None,
        **options: Any,
    ) -> list[Explanation]:
        """Explanations in the order of the requests, computed in batches where that is faster."""
        questions = [self.question(request) for request in requests]
        return self.answer(questions, method, options, Watch(progress, cancel), limit_seconds)

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
        return self._estimate(row, chosen, self.question(Request(prompt, target, span)))

    # What an input is.

    def build(
        self,
        questions: Sequence[Question],
        options: Options,
        watch: Watch,
        also: Sequence[Sequence[Any]] | None = None,
    ) -> Built:
        """See Engine."""
        return build(self.model, questions, options, watch, self.tokens_per_pass, also)

    def identity(self, question: Question) -> str:
        """See Engine."""
        text = question.text
        content = repr((text.ids, text.target_start, text.content))
        return hashlib.sha256(content.encode()).hexdigest()

    def size(self, row: Method, options: Options, question: Question) -> tuple[Size, int]:
        """See Engine."""
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

    def in_batches(self, questions: Sequence[Question]) -> Iterable[list[int]]:
        """See Engine."""
        return self.model.in_batches([one.text for one in questions], self.tokens_per_pass)

    def likely_next(self, question: Question) -> tuple[int, ...]:
        """See Engine: the whole answer, unless it is long."""
        text, asked = question.text, set(question.choices)
        whole = range(max(1, text.target_start), len(text.ids))
        return tuple(sorted(asked | set(whole) if len(whole) <= ROWS_KEPT else asked))

    def show(self, question: Question, options: Options) -> Shown:
        """See Engine."""
        text = question.text
        tokens = tuple(self.model.shown_tokens(text))
        pieces = tuple(token.replace(SPACE, " ") for token in tokens)
        places = np.arange(len(tokens))
        content = (text.content.start <= places) & (places < text.content.stop)
        own = content | (places >= text.target_start)
        names = tuple(tokens[place] for place in question.choices)
        places = question.choices
        return Shown(tokens, pieces, places, names, own, places, question.inputs)

    def segments(self, question: Question, options: Options) -> list[Segment]:
        """See Engine."""
        return all_segments(self.model, question.text, options, len(question.text.ids))

    @staticmethod
    def calibrating_pass(model: LanguageModel, tokens: int, backward: bool) -> None:
        """See Engine."""
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

    # Requests.

    def question(self, request: Request) -> Question:
        """What a request asks. Raises InputError."""
        if request.target is None:
            [made] = self.model.generate([request.prompt])
            text, target = made.text, made.response
        else:
            text, target = self.model.text(request.prompt, request.target), request.target
        inputs = {"prompt": request.prompt, "target": target}
        return Question(text, self._mask(text, request.span), inputs)

    def of_target(self, prompt: str, target: str) -> Question:
        """About a whole target; about nothing if it is empty. Raises InputError."""
        if target:
            return self.question(Request(prompt, target))
        text = self.model.text(prompt)
        return Question(text, np.zeros(len(text.ids), np.float32), {"prompt": prompt})

    def part(self, question: Question, first: int, last: int) -> Question:
        """The same of the target's tokens `[first, last)` alone. Raises InputError."""
        text = question.text
        if not text.target_start <= first < last <= len(text.ids):
            raise InputError(
                f"span ({first}, {last}) is outside the target. Expected places of its tokens, "
                f"{text.target_start} <= first < last <= {len(text.ids)}."
            )
        return replace(question, mask=self._mask(text, (first, last)))

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


def _check_places(count: int, first: Any, last: Any) -> None:
    whole = all(isinstance(one, int | np.integer) for one in (first, last))
    if not whole or not 0 <= first < last <= count:
        raise InputError(
            f"span ({first}, {last}) is outside the text. Expected places of tokens, 0 <= first < "
            f"last <= {count}."
        )
