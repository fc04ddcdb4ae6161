"""What number is explained: a task turns a model's output into one or more numbers per example.

In two steps, because the first is the model's work and the second is not: `parts` are the
primitive numbers, computed in the model's own framework, and `outputs` combines them. So another
span of the same text, or another weighing of its tokens, needs no second forward pass.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, get_args

if TYPE_CHECKING:
    import numpy as np
    import torch

    from lit_plugins.backends import Backend
    from lit_plugins.models.language_model import Batch

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


@dataclass(frozen=True)
class CausalLM:
    """Target tokens of a language model.

    output:
        `logprob`: log p(token | what is before it), in nats; `logit`: what goes into its softmax;
        `prob`: the probability.
    each:
        Each target token by itself, one number each; else all of them as one number: the sum of
        their log-probabilities (or logits), weighed by `batch.target_mask`, or the probability of
        them all.

    With `batch.foils`, the same of the foils is subtracted: why this token rather than that one
    (Yin and Neubig 2022, arXiv 2202.10419, eq. 2). In a difference of log-probabilities at one
    position, the softmax's denominator cancels. A positive attribution means that the input makes
    the target more likely (than the foil).
    """

    output: Output = "logprob"
    each: bool = False

    def parts(self, logits: Any, batch: Batch, backend: Backend) -> Any:
        """Logits (batch, rows, vocab) -> (batch, rows), or (batch, 2 rows) with foils."""
        values = logits if self.output == "logit" else backend.log_softmax(logits)
        picked = backend.pick(values, batch.targets)
        if batch.foils is None:
            return picked
        return backend.concat([picked, backend.pick(values, batch.foils)], axis=1)

    def outputs(self, parts: torch.Tensor, batch: Batch) -> torch.Tensor:
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


class LabelBatch(Protocol):
    """What a batch of a classifier says about the labels asked for."""

    labels: np.ndarray  # (batch,)
    foils: np.ndarray | None  # (batch,)


@dataclass(frozen=True)
class SequenceLabel:
    """A label of a classifier whose labels exclude each other.

    output: as for CausalLM, over the labels. each: one number a label. With `batch.foils`, the
    same of the label compared with is subtracted. Positive: the input makes the label more likely.
    """

    output: Output = "logprob"
    each: bool = False

    def parts(self, logits: Any, batch: Any, backend: Backend) -> Any:
        """Logits (batch, labels) -> (batch, labels)."""
        return logits if self.output == "logit" else backend.log_softmax(logits)

    def outputs(self, parts: torch.Tensor, batch: LabelBatch) -> torch.Tensor:
        """See Task."""
        import torch

        values = parts.exp() if self.output == "prob" else parts
        foils = batch.foils
        if foils is not None:
            values = values - values.gather(1, torch.as_tensor(foils).long()[:, None])
        if self.each:
            return values
        return values.gather(1, torch.as_tensor(batch.labels).long()[:, None])
