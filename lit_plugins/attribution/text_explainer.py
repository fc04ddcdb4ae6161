"""The engine for models that read a text as a whole: labels, tags and answers."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.cost import Estimate, Size
from lit_plugins.attribution.encoder_case import (
    all_segments,
    build,
    find_segments,
    fixed_places,
)
from lit_plugins.attribution.engine import Built, Engine, Shown
from lit_plugins.attribution.explanation import Explanation, Segment
from lit_plugins.attribution.methods import Method
from lit_plugins.attribution.options import Options
from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import InputError
from lit_plugins.models.encoded import Encoded, Inquiry
from lit_plugins.models.hf_encoder import HFEncoder
from lit_plugins.models.tokens import with_space_marks

DEFAULT_METHOD = "integrated_gradients"


@dataclass(frozen=True)
class Ask:
    """One explanation asked for.

    Attributes:
        example: The texts by the names of the model's fields, or the text alone, or a pair.
        target: A label, a tag or an answer; None for what the model itself says.
        span: Of taggers: a word or entity, as text or `word 3`. Of question answering: `start` or
            `end`. None for the first entity, or for both ends.

    """

    example: str | Sequence[str] | Mapping[str, Any]
    target: str | None = None
    span: str | None = None


class TextExplainer(Engine[Inquiry]):
    """Explains labels, tags and answers by any of METHODS: see Engine.

    Args:
        model: A loaded classifier, tagger or question answerer.

    """

    model: HFEncoder
    default_method = DEFAULT_METHOD

    def explain(
        self,
        example: str | Sequence[str] | Mapping[str, Any],
        target: str | None = None,
        span: str | None = None,
        *,
        method: str = DEFAULT_METHOD,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
        **options: Any,
    ) -> Explanation:
        """Why this label, tag or answer: see Ask for what is asked, Options for how.

        With `each=True`, every label asked for gets scores of its own; without a target, all do.

        Raises InputError for what cannot be explained, Cancelled once `cancel` is set.
        """
        ask = Ask(example, target, span)
        [made] = self.explain_all([ask], method=method, progress=progress, cancel=cancel, **options)
        return made

    def explain_all(
        self,
        asks: Sequence[Ask],
        *,
        method: str = DEFAULT_METHOD,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
        limit_seconds: float | None = None,
        **options: Any,
    ) -> list[Explanation]:
        """Explanations in the order asked, computed in batches where that is faster."""
        _, chosen = self._method(method, options)
        inquiries = self.inquiries(asks, chosen.each) if asks else []
        return self.answer(inquiries, method, options, Watch(progress, cancel), limit_seconds)

    def estimate(
        self,
        example: str | Sequence[str] | Mapping[str, Any],
        target: str | None = None,
        span: str | None = None,
        *,
        method: str = DEFAULT_METHOD,
        **options: Any,
    ) -> Estimate:
        """What the same arguments would cost `explain`; nothing is explained.

        The first call calibrates: some passes over texts of 16 and 64 tokens.
        """
        row, chosen = self._method(method, options)
        [inquiry] = self.inquiries([Ask(example, target, span)], chosen.each)
        return self._estimate(row, chosen, inquiry)

    def inquiries(self, asks: Sequence[Ask], each: bool = False) -> list[Inquiry]:
        """What is asked, which may take a pass of the model. Raises InputError."""
        examples = [self._example(ask.example) for ask in asks]
        found = self.model.inquiries(
            examples, [ask.target for ask in asks], [ask.span for ask in asks], each
        )
        return [
            replace(one, inputs=self._inputs(example))
            for one, example in zip(found, examples, strict=True)
        ]

    def _inputs(self, example: Mapping[str, Any]) -> dict[str, Any]:
        names = (*self.model.example_fields, *self.model.optional_fields)
        return {name: example[name] for name in names if example.get(name)}

    def _example(self, example: str | Sequence[str] | Mapping[str, Any]) -> Mapping[str, Any]:
        if isinstance(example, Mapping):
            return example
        texts = [example] if isinstance(example, str) else list(example)
        fields = self.model.example_fields
        if len(texts) != len(fields):
            raise InputError(
                f"This model reads {' and '.join(fields)}. Got {len(texts)} "
                f"{'text' if len(texts) == 1 else 'texts'}."
            )
        return dict(zip(fields, texts, strict=True))

    # What an input is.

    def build(
        self,
        questions: Sequence[Inquiry],
        options: Options,
        watch: Watch,
        also: Sequence[Sequence[Any]] | None = None,
    ) -> Built:
        """See Engine."""
        return build(self.model, questions, options, watch, self.tokens_per_pass, also)

    def identity(self, question: Inquiry) -> str:
        """See Engine."""
        text = question.text
        allowed = None if question.allowed is None else question.allowed.tolist()
        content = repr((text, question.fixed, allowed))
        return hashlib.sha256(content.encode(errors="surrogatepass")).hexdigest()

    def size(self, row: Method, options: Options, question: Inquiry) -> tuple[Size, int]:
        """See Engine."""
        count = 0 if row.by_position else len(find_segments(question, options))
        outputs = len(question.rows) if options.each else 1
        foil = None if options.foil is None else question.foil(options.foil)
        branches = 2 if isinstance(foil, Encoded) else 1
        return Size(outputs, count, branches), len(question.text.ids)

    def in_batches(self, questions: Sequence[Inquiry]) -> Iterable[list[int]]:
        """See Engine."""
        lengths = [len(one.text.ids) for one in questions]
        return self.model.in_batches(lengths, self.tokens_per_pass)

    def likely_next(self, question: Inquiry) -> tuple[tuple[int, int], ...]:
        """See Engine."""
        return tuple(sorted({*question.choices, *question.also}))

    def show(self, question: Inquiry, options: Options) -> Shown:
        """See Engine."""
        pieces = question.text.pieces
        tokens = tuple(map(with_space_marks, pieces))
        plain = options.model_copy(update={"over": None})
        own = ~fixed_places(question, plain)
        places = question.numbers if self.model.task.of_tokens else ()
        numbers, names = question.numbers, question.names
        return Shown(tokens, pieces, numbers, names, np.asarray(own), places, question.inputs)

    def segments(self, question: Inquiry, options: Options) -> list[Segment]:
        """See Engine."""
        return all_segments(question, options)

    @staticmethod
    def calibrating_pass(model: HFEncoder, tokens: int, backward: bool) -> None:
        """See Engine."""
        ids = tuple(place % min(model.vocabulary, 97) for place in range(tokens))
        [sample] = model.encode(model.sample)
        types = None if sample.types is None else (0,) * tokens
        nothing = ("",) * tokens
        text = Encoded(ids, types, nothing, (0,) * tokens, ((0, 0),) * tokens, (0,) * tokens)
        allowed = np.ones(tokens, bool)
        batch = model.batch([Inquiry(text, (0,), (0,), ("",), (0,), allowed=allowed)])
        scorer = Scorer(model, model.task(model.outputs[0]), [Branch(batch)])
        features, rows = scorer.features(), torch.arange(1)
        if backward:
            scorer.gradients(features, rows, lambda gradient, _: gradient[..., 0])
        else:
            scorer.outputs(features, rows)
