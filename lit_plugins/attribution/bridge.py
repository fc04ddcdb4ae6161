"""The bridge: any backend's model as a function of torch tensors, as Captum wants it.

Axes: `points (n, *axes)` are inputs at the feature level, `rows (n,)` says which example of the
batch each is a version of. Explained are `outputs (n, outputs)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
import torch

from lit_plugins.attribution.watch import Watch
from lit_plugins.backends import Backend, Recording
from lit_plugins.errors import InputError
from lit_plugins.tasks import Task

T = TypeVar("T")

# A vector pulled through a pass takes little memory beside the pass's own activations, and on a CPU
# many together are faster than few (SmolLM2, 268 tokens: 20 together take 0.76 of one by one).
VECTORS_PER_POINT = 8

# What happens to a gradient (vectors, n, *axes) of the points `part`: whatever the method keeps.
Reduce = Callable[[torch.Tensor, slice], torch.Tensor]


class Model(Protocol):
    """What the engine needs of a model, whatever its input is."""

    backend: Backend
    lock: Any  # taken around each pass: a model may be used by one thread at a time

    def features(self, batch: Any) -> Any:
        """What the explanation is about: (batch, tokens, dim) or (batch, channels, *pixels)."""
        ...

    def logits(self, features: Any, batch: Any) -> Any:
        """The model's output for features, differentiable in them."""
        ...


@dataclass(frozen=True)
class Branch:
    """One text of a contrast: what follows the common features, and its sign.

    `batch` has a row per example; `tail` (batch, tokens, dim) is put behind the points.
    """

    batch: Any
    tail: torch.Tensor | None = None
    sign: float = 1.0


class Scorer:
    """The outputs of a batch of examples at any points, and their gradients, in bounded memory.

    At most `points_per_pass` points go through the model together. Where memory runs out, half of
    them are tried, down to one. The model's parameters and modules are left as they are.
    """

    def __init__(
        self,
        model: Model,
        task: Task,
        branches: Sequence[Branch],
        points_per_pass: int = 16,
        watch: Watch | None = None,
    ):
        self.model = model
        self.task = task
        self.branches = branches
        self.points_per_pass = max(1, points_per_pass)
        self.watch = watch or Watch()
        self._features: Any = None

    def features(self) -> torch.Tensor:
        """The features of the examples themselves, of branches without a tail: (batch, *axes)."""
        [branch] = self.branches
        return _at_least_float32(self.model.backend.to_torch(self._like(branch)))

    def _like(self, branch: Branch) -> Any:
        """The features of a branch's own batch, in the framework's own array."""
        if self._features is None:
            self._features = self.model.features(branch.batch)
        return self._features

    def outputs(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs), without gradient."""

        def work(part: slice) -> torch.Tensor:
            with self.model.backend.no_grad():
                return self._sum(
                    self._outputs(branch, points[part], rows[part]) for branch in self.branches
                )

        return torch.cat([made for _, made in self._chunks(len(points), work)])

    def gradients(
        self, points: torch.Tensor, rows: torch.Tensor, reduce: Reduce, output: int | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (n, outputs), and what `reduce` makes of the gradient of each of them.

        One forward pass a point, and one backward pass a point and output; of `output` alone, if
        given. The second value is (outputs, n, …), with the axes that `reduce` keeps.
        """

        def work(part: slice) -> tuple[torch.Tensor, torch.Tensor, int]:
            recordings = [
                self._record(
                    self._points(branch, points[part], rows[part]),
                    branch.batch.take(rows[part].numpy()),
                )
                for branch in self.branches
            ]
            return self._pull(recordings, rows[part], part, points.shape[1:], reduce, output, True)

        made = []
        for _, (outputs, reduced, vectors) in self._chunks(len(points), work):
            made.append((outputs, reduced))
            self.watch.tick(0, len(outputs) * vectors * len(self.branches))
        return torch.cat([one[0] for one in made]), torch.cat([one[1] for one in made], dim=1)

    def runner_up(self) -> np.ndarray:
        """For each target token, the likeliest other token in its place: (batch, rows)."""
        [branch] = self.branches
        model = self.model

        def work(part: slice) -> np.ndarray:
            batch = branch.batch.take(part)
            with model.backend.no_grad():
                logits = model.logits(model.features(batch), batch)
                return model.backend.top_others(logits, batch.targets)

        count = len(branch.batch.targets)
        return np.concatenate([made for _, made in self._chunks(count, work)])

    def record(self) -> Recording:
        """One pass of the examples themselves, to be kept for `gradients_of`."""
        [branch] = self.branches
        features = self._like(branch)

        def work(part: slice) -> Recording:
            return self._record(features, branch.batch)

        batch = int(features.shape[0])
        self.points_per_pass = max(self.points_per_pass, batch)
        [(_, recording)] = self._chunks(batch, work)
        return recording

    def gradients_of(
        self, recording: Recording, reduce: Reduce, shape: torch.Size
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As `gradients`, at the examples themselves, from a recorded pass."""
        rows = torch.arange(recording.parts.shape[0])
        part = slice(0, len(rows))
        outputs, reduced, vectors = self._pull(
            [recording], rows, part, shape, reduce, None, last=False
        )
        self.watch.tick(0, len(rows) * vectors)
        return outputs, reduced

    def captum(self, points: torch.Tensor, rows: torch.Tensor, output: int = 0) -> torch.Tensor:
        """One output (n,) of each point, differentiable for torch: Captum's forward function.

        Captum repeats rows of its inputs, and of `rows` with them.
        """
        return _Bridge.apply(points, rows, self, output)

    def direct(self, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        """Outputs (n, outputs) of a torch model in one graph, for methods that hook its modules."""
        outputs = []
        for branch in self.branches:
            batch = branch.batch.take(rows.numpy())
            parts = self._parts(self._points(branch, points, rows), batch)
            outputs.append(branch.sign * self.task.outputs(parts, batch))
        return self._sum(outputs)

    # One chunk.

    def _points(self, branch: Branch, points: torch.Tensor, rows: torch.Tensor) -> Any:
        if branch.tail is not None:
            points = torch.cat([points, branch.tail[rows].to(points)], dim=1)
        return self.model.backend.from_torch(points, like=self._like(branch))

    def _parts(self, features: Any, batch: Any) -> Any:
        """The task's parts of features, in the framework's own arrays."""
        return self.task.parts(self.model.logits(features, batch), batch, self.model.backend)

    def _outputs(self, branch: Branch, points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        batch = branch.batch.take(rows.numpy())
        parts = self._parts(self._points(branch, points, rows), batch)
        return branch.sign * self.task.outputs(self.model.backend.to_torch(parts), batch)

    def _record(self, features: Any, batch: Any) -> Recording:
        return self.model.backend.record(lambda moved: self._parts(moved, batch), features)

    def _pull(
        self,
        recordings: Sequence[Recording],
        rows: torch.Tensor,
        part: slice,
        shape: torch.Size,
        reduce: Reduce,
        output: int | None,
        last: bool,
    ) -> tuple[torch.Tensor, torch.Tensor, int]:
        """Outputs of recorded passes, reduced gradients, and the number of vectors pulled."""
        combined = [
            self._combine(recording, branch, rows)
            for recording, branch in zip(recordings, self.branches, strict=True)
        ]
        outputs = self._sum(outputs for outputs, _ in combined)
        vectors = range(outputs.shape[1]) if output is None else [output]
        together = max(1, VECTORS_PER_POINT * self.points_per_pass // len(rows))
        reduced: list[torch.Tensor] = []
        first = 0
        while first < len(vectors):
            chosen = list(vectors[first : first + together])
            try:
                total = self._gradient(recordings, combined, chosen, shape, last)
            except Exception as error:
                if together == 1 or not self.model.backend.out_of_memory(error):
                    raise
                together = together // 2
                continue
            reduced.append(reduce(_at_least_float32(total), part))
            first += len(chosen)
        return outputs, torch.cat(reduced), len(vectors)

    def _gradient(
        self,
        recordings: Sequence[Recording],
        combined: Sequence[tuple[torch.Tensor, torch.Tensor]],
        chosen: Sequence[int],
        shape: torch.Size,
        last: bool,
    ) -> torch.Tensor:
        """Gradients (chosen, n, *axes) of some outputs, the branches together."""
        total: Any = 0
        for branch, recording, (_, weights) in zip(
            self.branches, recordings, combined, strict=True
        ):
            pulled = recording.pull(weights[chosen], last and len(weights) == 1)
            # A branch's tail, behind the points, is not explained.
            total = total + (pulled if branch.tail is None else pulled[:, :, : shape[0]])
        return total

    def _combine(
        self, recording: Recording, branch: Branch, rows: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Outputs (n, outputs), and their derivative by the parts: (outputs, n, parts)."""
        batch = branch.batch.take(rows.numpy())
        with torch.enable_grad():
            parts = self.model.backend.to_torch(recording.parts).requires_grad_(True)
            outputs = branch.sign * self.task.outputs(parts, batch)
            weights = torch.stack(
                [
                    torch.autograd.grad(outputs[:, k].sum(), parts, retain_graph=True)[0]
                    for k in range(outputs.shape[1])
                ]
            )
        return outputs.detach(), weights

    @staticmethod
    def _sum(values: Any) -> torch.Tensor:
        return torch.stack(list(values)).sum(0)

    def _chunks(self, count: int, work: Callable[[slice], T]) -> Iterator[tuple[slice, T]]:
        """What `work` makes of each chunk of so many points; smaller ones where memory runs out."""
        done = 0
        while done < count:
            self.watch.check()
            part = slice(done, min(count, done + self.points_per_pass))
            size = part.stop - part.start
            try:
                with self.model.lock:
                    self.watch.check()  # who waited for the lock may not want it any more
                    made = work(part)
            except Exception as error:
                if not self.model.backend.out_of_memory(error):
                    raise
                if size == 1:
                    raise no_memory() from None
                self.points_per_pass = size // 2
                continue
            self.watch.tick(size * len(self.branches))
            yield part, made
            done = part.stop


class _Bridge(torch.autograd.Function):
    """One output of a Scorer, whose gradient the backend computes along with it.

    So memory is that of one chunk, however many points Captum asks for at once.
    """

    @staticmethod
    def forward(ctx: Any, points: torch.Tensor, rows: torch.Tensor, scorer: Scorer, output: int):
        points = points.detach()
        if not ctx.needs_input_grad[0]:
            return scorer.outputs(points, rows)[:, output]
        outputs, gradient = scorer.gradients(points, rows, lambda pulled, _: pulled, output)
        ctx.save_for_backward(gradient[0])
        return outputs[:, output]

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor):
        (gradient,) = ctx.saved_tensors
        weights = grads[0].reshape(-1, *[1] * (gradient.ndim - 1))
        return (gradient * weights).to(gradient), None, None, None


def no_memory() -> InputError:
    """What to say where a single text is too much."""
    return InputError(
        "There is not enough memory for one pass of this text. Shorten it, or load the model with "
        "dtype=bfloat16."
    )


def _at_least_float32(values: torch.Tensor) -> torch.Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))
