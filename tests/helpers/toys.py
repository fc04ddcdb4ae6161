"""Toy models whose explanations are known by hand: every size differs from every other."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import resolve
from lit_plugins.attribution.watch import Watch
from lit_plugins.backends.torch_backend import TorchBackend
from lit_plugins.tasks import SequenceLabel

BATCH, TOKENS, DIM, LABELS, HIDDEN = 3, 5, 8, 4, 7
CHANNELS, HEIGHT, WIDTH = 2, 6, 9


@dataclass(frozen=True)
class ToyBatch:
    """Inputs (batch, *axes), the labels asked of each, and those compared with: (batch, rows)."""

    inputs: torch.Tensor
    targets: np.ndarray
    foils: np.ndarray | None = None

    @property
    def target_mask(self) -> np.ndarray:
        return np.ones(self.targets.shape, np.float32)

    def take(self, rows: Any) -> ToyBatch:
        foils = None if self.foils is None else self.foils[rows]
        return ToyBatch(self.inputs[torch.as_tensor(rows)], self.targets[rows], foils)


class Linear(torch.nn.Module):
    """logits = bias + sum of weight * input. `weight` (labels, *axes)."""

    def __init__(self, axes: Sequence[int]):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(LABELS, *axes))
        self.bias = torch.nn.Parameter(torch.randn(LABELS))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.linear(inputs.flatten(1), self.weight.flatten(1), self.bias)


class TwoLayers(torch.nn.Module):
    """logits = last(relu(first(inputs))), with a ReLU module."""

    def __init__(self, axes: Sequence[int]):
        super().__init__()
        self.first = torch.nn.Linear(int(np.prod(axes)), HIDDEN)
        self.relu = torch.nn.ReLU()
        self.last = torch.nn.Linear(HIDDEN, LABELS)
        # So large that the ReLUs have their kinks in the middle of paths.
        torch.nn.init.normal_(self.first.weight, std=1.0)
        torch.nn.init.normal_(self.first.bias, std=3.0)
        torch.nn.init.normal_(self.last.weight, std=1.0)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.last(self.relu(self.first(inputs.flatten(1))))


class Toy:
    """A model of the engine around a module, which counts its calls.

    `limit`: more points than that at once, and memory runs out. `before`: called with the number
    of the call, from 1 on.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        limit: int | None = None,
        before: Callable[[int], None] | None = None,
    ):
        self.backend = TorchBackend()
        self.lock = threading.RLock()
        self.model = module
        self.limit, self.before = limit, before
        self.sizes: list[int] = []

    def features(self, batch: ToyBatch) -> torch.Tensor:
        return batch.inputs

    def logits(self, features: torch.Tensor, batch: ToyBatch) -> torch.Tensor:
        assert len(features) == len(batch.targets)
        self.sizes.append(len(features))
        if self.before is not None:
            self.before(len(self.sizes))
        if self.limit is not None and len(features) > self.limit:
            raise torch.OutOfMemoryError(f"no memory for {len(features)}")
        return self.model(features)[:, None].expand(-1, batch.targets.shape[1], -1)


@dataclass(frozen=True)
class Problem:
    """Everything a case is made of, so that it can be made again and again."""

    module: torch.nn.Module
    inputs: torch.Tensor
    baseline: torch.Tensor
    labels: np.ndarray
    held: torch.Tensor | None
    players: Sequence[np.ndarray]
    axis: int = 1
    foils: np.ndarray | None = None
    task: SequenceLabel = field(default_factory=lambda: SequenceLabel("logit"))

    def row(self, row: int) -> Problem:
        """One example alone."""
        part = slice(row, row + 1)
        return Problem(
            self.module,
            self.inputs[part],
            self.baseline[part],
            self.labels[part],
            None if self.held is None else self.held[part],
            self.players[part],
            self.axis,
            None if self.foils is None else self.foils[part],
            self.task,
        )

    def moved(self) -> torch.Tensor:
        """True where the baseline takes the input's place: the same axes as the inputs."""
        if self.held is None:
            return torch.ones_like(self.inputs, dtype=torch.bool)
        return ~self.spread(self.held)

    def spread(self, positions: torch.Tensor) -> torch.Tensor:
        """(batch, positions) -> the inputs' axes."""
        if self.axis == 1:
            return positions[:, :, None].expand_as(self.inputs)
        return positions.reshape(-1, 1, *self.inputs.shape[2:]).expand_as(self.inputs)

    def positions(self, values: torch.Tensor) -> torch.Tensor:
        """(…, *axes), summed over the axis that is no position -> (…, positions)."""
        if self.axis == 1:
            return values.sum(-1)
        return values.sum(-3).flatten(-2)

    def without(self, row: int, kept: torch.Tensor) -> torch.Tensor:
        """The outputs (n, outputs) of example `row` with segments put to the baseline, by hand."""
        outputs = []
        for coalition in kept:
            point = self.inputs[row].clone()
            for place, player in enumerate(self.players[row]):
                if player >= 0 and not coalition[player]:
                    index = self.place(place)
                    point[index] = self.baseline[row][index]
            outputs.append(self.value(point[None], row))
        return torch.stack(outputs)

    def place(self, position: int) -> Any:
        """The index of a position in one example."""
        if self.axis == 1:
            return position
        width = self.inputs.shape[-1]
        return (slice(None), position // width, position % width)

    def value(self, point: torch.Tensor, row: int) -> torch.Tensor:
        """Logits of one point, as the task picks them: (outputs,)."""
        with torch.no_grad():
            logits = self.module(point)[0]
        if self.foils is not None:
            logits = logits - logits[self.foils[row]]
        return logits if self.task.each else logits[self.labels[row]][None]

    def case(
        self, points_per_pass: int = 16, watch: Watch | None = None, toy: Toy | None = None
    ) -> Case:
        asked = self.labels[:, None]
        foils = None if self.foils is None else self.foils[:, None]
        if self.task.each:
            asked = np.tile(np.arange(LABELS), (len(self.inputs), 1))
            foils = None if foils is None else np.broadcast_to(foils, asked.shape)
        batch = ToyBatch(self.inputs, asked, foils)
        scorer = Scorer(toy or Toy(self.module), self.task, [Branch(batch)], points_per_pass, watch)
        return Case(
            scorer,
            scorer.features(),
            baseline=self.baseline,
            held=self.held,
            players=self.players,
            axis=self.axis,
            without=self.without,
        )

    def run(self, name: str, options: Mapping[str, Any] | None = None, **how: Any) -> Scores:
        """A method's scores; random ones take one example at a time, as METHODS says."""
        row = METHODS[name]
        chosen = resolve(name, row.defaults, options or {})
        alone = not row.batched and row.by_position
        if not alone and chosen.steps != "auto":
            return row.function()(self.case(**how), chosen)
        made = [row.function()(self.row(n).case(**how), chosen) for n in range(len(self.inputs))]
        base = [one.baseline_value for one in made if one.baseline_value is not None]
        return Scores(
            torch.cat([one.scores for one in made]),
            torch.cat([one.value for one in made]),
            torch.cat(base) if base else None,
        )


def problem(kind: str, **changes: Any) -> Problem:
    """`linear` or `two_layers`, of tokens; `linear_pixels` or `two_layers_pixels`."""
    pixels = kind.endswith("pixels")
    axes = (CHANNELS, HEIGHT, WIDTH) if pixels else (TOKENS, DIM)
    with torch.random.fork_rng():
        torch.manual_seed(7 + pixels)
        module = (Linear if kind.startswith("linear") else TwoLayers)(axes).double().eval()
        inputs = torch.randn(BATCH, *axes, dtype=torch.float64) + 0.5
        baseline = torch.randn(BATCH, *axes, dtype=torch.float64) * 0.5
    module.requires_grad_(False)
    if pixels:
        # Patches of 3 x 3: 2 x 3 of them; in one example some pixels are of no patch.
        rows, columns = np.divmod(np.arange(HEIGHT * WIDTH), WIDTH)
        patches = rows // 3 * 3 + columns // 3
        players = [patches, np.minimum(patches, 3), np.where(patches == 5, -1, patches)]
    else:
        players = [np.array(one) for one in PLAYERS]
    held = torch.as_tensor(np.stack(players) < 0)
    made: dict[str, Any] = {
        "labels": np.array([2, 0, 3]),
        "held": held,
        "players": players,
        "axis": 0 if pixels else 1,
    }
    return Problem(module, inputs, baseline, **(made | changes))


# Different numbers of segments, and positions of none: at the end, in the middle, at the start.
PLAYERS = ([0, 0, 1, 2, -1], [0, 1, -1, 1, 2], [-1, 0, 1, 2, 3])
