"""What number is explained: a task turns a model's output into one or more numbers per example.

In two steps, because the first is the model's work and the second is not: `parts` are the
primitive numbers, computed in the model's own framework, and `outputs` combines them. So another
span of the same text, or another weighing of its tokens, needs no second forward pass.

All tasks are one thing: at some rows of the output (tokens, labels, the two ends of an answer) the
model chooses among some choices (the vocabulary, tags, yes and no, positions), and what is
explained is how much it is for one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, get_args

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lit_plugins.backends import Backend

Output = Literal["logprob", "logit", "prob"]
OUTPUTS = get_args(Output)

# What a score is a part of, if it is a part of anything.
UNITS: dict[str, str] = {"logprob": "nats", "logit": "logits", "prob": "probability"}


class Task(Protocol):
    """The numbers explained, per example."""

    @property
    def output(self) -> Output:
        """Which number of a token or label is meant."""
        ...

    def parts(self, logits: Any, batch: Any, backend: Backend) -> Any:
        """Primitive numbers (batch, parts), differentiable in the features."""
        ...

    def outputs(self, parts: torch.Tensor, batch: Any) -> torch.Tensor:
        """The numbers explained (batch, outputs), differentiable in the parts."""
        ...


class Asked(Protocol):
    """What a batch says about the choices asked for, each (batch, rows)."""

    @property
    def targets(self) -> np.ndarray:
        """The choice at each row."""
        ...

    @property
    def target_mask(self) -> np.ndarray:
        """Its weight; 0 for what is not asked for."""
        ...

    @property
    def foils(self) -> np.ndarray | None:
        """The choice that it is compared with, if any."""
        ...


@dataclass(frozen=True)
class Choices:
    """Choices that exclude each other: what is explained is a softmax's.

    output:
        `logprob`: log of the choice's probability, in nats; `logit`: what goes into the softmax;
        `prob`: the probability.
    each:
        Each row by itself, one number each; else all of them as one number: the sum of their
        log-probabilities (or logits), weighed by `batch.target_mask`, or the probability of them
        all.

    With `batch.foils`, the same of the foils is subtracted: why this rather than that one (Yin and
    Neubig 2022, arXiv 2202.10419, eq. 2). In a difference of log-probabilities at one row, the
    softmax's denominator cancels. A positive attribution means that the input makes the target
    more likely (than the foil).
    """

    of_tokens: ClassVar[bool] = False  # whether what is explained stands in the text

    output: Output = "logprob"
    each: bool = False

    def log_probabilities(self, logits: Any, backend: Backend) -> Any:
        """Logits (batch, rows, choices) -> the same, in nats."""
        return backend.log_softmax(logits)

    def parts(self, logits: Any, batch: Asked, backend: Backend) -> Any:
        """Logits (batch, rows, choices) -> (batch, rows), or (batch, 2 rows) with foils."""
        values = logits if self.output == "logit" else self.log_probabilities(logits, backend)
        picked = backend.pick(values, batch.targets)
        if batch.foils is None:
            return picked
        return backend.concat([picked, backend.pick(values, batch.foils)], axis=1)

    def outputs(self, parts: torch.Tensor, batch: Asked) -> torch.Tensor:
        """See Task."""
        import torch

        weights = torch.as_tensor(batch.target_mask).to(parts)
        asked = weights != 0
        rows = weights.shape[1]
        sides = [
            # A masked-out value may be infinite (log 0), and 0 * inf is not a number.
            torch.where(asked, side, 0)
            for side in (parts[:, :rows], parts[:, rows:])
            if side.shape[1]
        ]
        if self.each:
            sides = [torch.where(asked, self._own(side), 0) for side in sides]
        else:
            sides = [self._own((weights * side).sum(1, keepdim=True)) for side in sides]
        return sides[0] if len(sides) == 1 else sides[0] - sides[1]

    def _own(self, values: torch.Tensor) -> torch.Tensor:
        return values.exp() if self.output == "prob" else values


@dataclass(frozen=True)
class CausalLM(Choices):
    """Target tokens of a language model: rows are positions, choices its vocabulary."""

    of_tokens = True


@dataclass(frozen=True)
class SequenceLabel(Choices):
    """A label of a classifier whose labels exclude each other: one row, choices are labels.

    With `each`, a row for each label asked for.
    """


@dataclass(frozen=True)
class YesOrNo(Choices):
    """Labels that do not exclude each other, or the one label of a one-logit head.

    Rows are labels, and the choices at each are no (0) and yes (1). A label's logit x counts -x
    for no and x for yes, so that p(yes) = sigmoid(x) = softmax(-x/2, x/2)[1].
    """

    def log_probabilities(self, logits: Any, backend: Backend) -> Any:
        """See Choices."""
        return backend.log_softmax(logits / 2)


@dataclass(frozen=True)
class TokenLabel(Choices):
    """Tags of tokens: rows are tokens, choices are tags."""

    of_tokens = True


@dataclass(frozen=True)
class SpanQA(Choices):
    """An answer's first and last token: rows are start (0) and end (1), choices are positions."""

    of_tokens = True
