"""Captum's methods that average gradients over random copies of the input."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import numpy as np
import torch
from captum.attr import GradientShap, NoiseTunnel, Saliency

from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import Options

_RANDOM = threading.RLock()  # the generators are the process's own


@contextlib.contextmanager
def seeded(seed: int | None) -> Iterator[None]:
    """Within the context, torch's and NumPy's random numbers come from `seed`.

    Captum draws from both. Afterwards they go on as if nothing had been.
    """
    with _RANDOM, torch.random.fork_rng():
        numpy_state = np.random.get_state()
        torch.manual_seed(seed or 0)
        np.random.seed(seed or 0)
        try:
            yield
        finally:
            np.random.set_state(numpy_state)


def noise_tunnel(kind: str):
    """SmoothGrad or VarGrad of the plain gradient, as one number a position."""

    def scores(case: Case, options: Options) -> Scores:
        rows = []
        value = case.scorer.outputs(case.features, case.rows)
        spread = float(case.features.std()) * (options.noise or 0.0)
        for output in range(value.shape[1]):
            method = NoiseTunnel(Saliency(_forward(case, output)))
            with seeded(options.seed):
                made = method.attribute(
                    case.features,
                    nt_type=kind,
                    nt_samples=options.samples or 1,
                    nt_samples_batch_size=min(options.samples or 1, 16),
                    stdevs=spread,
                    abs=False,
                    additional_forward_args=(case.rows,),
                )
            assert isinstance(made, torch.Tensor)
            how = torch.linalg.vector_norm if kind == "smoothgrad" else torch.sum
            rows.append(case.collapse(made.detach(), how))
        return Scores(torch.stack(rows, dim=1), value)

    return scores


def gradient_shap(case: Case, options: Options) -> Scores:
    """Expected gradients: random points between baseline and (noisy) input."""
    rows = []
    value = case.scorer.outputs(case.features, case.rows)
    base = case.scorer.outputs(case.start, case.rows)
    for output in range(value.shape[1]):
        with seeded(options.seed):
            made = GradientShap(_forward(case, output)).attribute(
                case.features,
                baselines=case.start,
                n_samples=options.samples or 1,
                stdevs=float(case.features.std()) * (options.noise or 0.0),
                additional_forward_args=(case.rows,),
            )
        assert isinstance(made, torch.Tensor)
        rows.append(case.collapse(made.detach(), torch.sum))
    return Scores(torch.stack(rows, dim=1), value, base)


def _forward(case: Case, output: int):
    def forward(points: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
        if case.held is not None:  # no noise there
            held = case.spread(case.held[rows])
            points = torch.where(held, case.features[rows], points)
        return case.scorer.captum(points, rows, output)

    return forward


smooth_grad, var_grad = noise_tunnel("smoothgrad"), noise_tunnel("vargrad")
