"""Captum's methods that take segments away and look at the score: no gradients, any model.

They all see the same game: players are the segments, a coalition is what is kept, and its value is
the score of the text without the rest (Lundberg and Lee 2017, arXiv 1705.07874, section 2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import captum.attr
import numpy as np
import torch
from captum._utils.models.linear_model import SkLearnRidge
from captum.attr._core.lime import get_exp_kernel_similarity_function

from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import OCCLUSION_WINDOW, Options
from lit_plugins.attribution.sampling import seeded
from lit_plugins.errors import InputError

# LIME's own: an exponential kernel over the cosine distance of the masks (Ribeiro et al. 2016).
LIME_KERNEL_WIDTH = 0.25
LIME_PENALTY = 1e-3


class Game:
    """The outputs of one example for any coalition of its segments, each computed once."""

    def __init__(self, case: Case, row: int, options: Options):
        self._case = case
        self._row = row
        self._delete = options.perturb == "delete"
        players = case.players[row]
        self._places = torch.as_tensor(players)
        self.players = int(players.max()) + 1 if len(players) else 0
        if self.players == 0:
            raise InputError(
                "There is no segment to take away: everything is scaffolding, or what is explained "
                "comes first. Use template=keep, or explain a later part."
            )
        if self._delete and case.without is None:
            raise InputError("perturb=delete is for texts. Use perturb=replace.")
        self._known: dict[bytes, torch.Tensor] = {}

    def outputs(self, kept: torch.Tensor) -> torch.Tensor:
        """Coalitions (n, players), 1 where a segment is kept -> (n, outputs)."""
        kept = (kept > 0.5).cpu()
        keys = [row.numpy().tobytes() for row in kept]
        new = {key: place for place, key in enumerate(keys) if key not in self._known}
        if new:
            values = self._compute(kept[list(new.values())])
            self._known |= dict(zip(new, values, strict=True))
        return torch.stack([self._known[key] for key in keys])

    def _compute(self, kept: torch.Tensor) -> torch.Tensor:
        if self._delete:
            assert self._case.without is not None
            return self._case.without(self._row, kept)
        scorer, case = self._case.scorer, self._case
        features = case.features[self._row : self._row + 1]
        start = case.start[self._row : self._row + 1]
        made = []
        for few in kept.split(scorer.points_per_pass):
            stays = torch.ones(len(few), len(self._places), dtype=torch.bool)
            inside = self._places >= 0
            stays[:, inside] = few[:, self._places[inside]]
            points = torch.where(case.spread(stays).to(features.device), features, start)
            made.append(scorer.outputs(points, torch.full((len(few),), self._row)))
        return torch.cat(made)


def _explain(case: Case, options: Options, attribute: Callable[..., Any]) -> Scores:
    """Scores (batch, outputs, segments), examples with fewer segments filled up with zeros.

    `attribute(forward, everything, **given)` gives one output's scores of one example: `forward`
    maps coalitions to that output, `everything` is the coalition of all, and `given` is what every
    method of Captum takes.
    """
    scores, values, bases = [], [], []
    for row in range(len(case.features)):
        game = Game(case, row, options)
        # Captum adds up in this dtype.
        everything = torch.ones(1, game.players, dtype=torch.float64)
        both = game.outputs(torch.cat([everything, torch.zeros_like(everything)]))
        values.append(both[0])
        bases.append(both[1])
        outputs = []
        for output in range(both.shape[1]):
            if game.players == 1:
                made = (both[:1, output] - both[1:, output])[None]
            else:
                forward = functools.partial(_one_output, game, output)
                at_once = case.scorer.points_per_pass
                with seeded(options.seed):
                    made = attribute(
                        forward, everything, baselines=0, perturbations_per_eval=at_once
                    )
            outputs.append(made.detach().reshape(-1).to(both))
        scores.append(torch.stack(outputs))
    width = max(one.shape[-1] for one in scores)
    padded = [torch.nn.functional.pad(one, (0, width - one.shape[-1])) for one in scores]
    return Scores(torch.stack(padded), torch.stack(values), torch.stack(bases))


def _one_output(game: Game, output: int, kept: torch.Tensor) -> torch.Tensor:
    return game.outputs(kept)[:, output]


def _finite(forward: Callable) -> Callable:
    """A forward function for a regression, which knows no infinity."""

    def checked(kept: torch.Tensor) -> torch.Tensor:
        made = forward(kept)
        if not torch.isfinite(made).all():
            raise InputError(
                "The score explained is not a finite number with some segments taken away: the "
                "model's weights are damaged, or overflow in its dtype. Load it with dtype=float32."
            )
        return made

    return checked


def ablation(case: Case, options: Options) -> Scores:
    """Each segment taken away alone: f(all) - f(all but it)."""

    def attribute(forward: Callable, everything: torch.Tensor, **given: Any) -> Any:
        return captum.attr.FeatureAblation(forward).attribute(everything, **given)

    return _explain(case, options, attribute)


def occlusion(case: Case, options: Options) -> Scores:
    """A window of segments taken away at a time; a segment's score is its windows' mean."""

    def attribute(forward: Callable, everything: torch.Tensor, **given: Any) -> Any:
        players = everything.shape[1]
        window = options.window or min(OCCLUSION_WINDOW, players)
        if window > players:
            raise InputError(
                f"occlusion: window is {window}, but the text has {players} segments. "
                "Expected a smaller window."
            )
        stride = min(options.stride or 1, window)
        return captum.attr.Occlusion(forward).attribute(
            everything, sliding_window_shapes=(window,), strides=(stride,), **given
        )

    return _explain(case, options, attribute)


def shapley_sampling(case: Case, options: Options) -> Scores:
    """Mean marginal contribution over random orders."""

    def attribute(forward: Callable, everything: torch.Tensor, **given: Any) -> Any:
        method = captum.attr.ShapleyValueSampling(forward)
        return method.attribute(everything, n_samples=options.samples or 1, **given)

    return _explain(case, options, attribute)


def kernel_shap(case: Case, options: Options) -> Scores:
    """Shapley values by weighted least squares over random coalitions."""

    def attribute(forward: Callable, everything: torch.Tensor, **given: Any) -> Any:
        method = captum.attr.KernelShap(_finite(forward))
        return method.attribute(everything, n_samples=options.samples or 1, **given)

    return _explain(case, options, attribute)


def lime(case: Case, options: Options) -> Scores:
    """Coefficients of a ridge regression on random coalitions near the whole."""
    near = get_exp_kernel_similarity_function("cosine", kernel_width=LIME_KERNEL_WIDTH)

    def attribute(forward: Callable, everything: torch.Tensor, **given: Any) -> Any:
        ridge = SkLearnRidge(alpha=LIME_PENALTY)
        method = captum.attr.Lime(_finite(forward), interpretable_model=ridge, similarity_func=near)
        return method.attribute(everything, n_samples=options.samples or 1, **given)

    return _explain(case, options, attribute)


def players_of(segments: Any, positions: int) -> np.ndarray:
    """For each position the number of its segment, -1 for none."""
    players = np.full(positions, -1)
    for number, segment in enumerate(segments):
        players[segment.start : segment.stop] = number
    return players
