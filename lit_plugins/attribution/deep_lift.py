"""DeepLift, through Captum's hooks on the model's own modules."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from captum.attr import DeepLift
from captum.attr._core.deep_lift import SUPPORTED_NON_LINEAR

from lit_plugins.attribution.bridge import Scorer, no_memory
from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.options import Options
from lit_plugins.errors import InputError


def deep_lift(case: Case, options: Options) -> Scores:
    """Differences from the baseline, taken apart rule by rule. Torch modules only."""
    module = getattr(case.scorer.model, "model", None)
    if case.scorer.model.backend.name != "torch" or not isinstance(module, torch.nn.Module):
        raise InputError(
            "deep_lift works inside the modules of a torch model, which this model has not. Take "
            "integrated_gradients or gradient_shap."
        )
    fires = sorted({type(part).__name__ for part in module.modules() if type(part) in _RULES})
    case.notes["rules"] = fires
    if not fires:
        case.warnings.append(
            "DeepLift has a rule for none of this model's modules, so these scores are nothing but "
            "gradient times (input - baseline). Take integrated_gradients."
        )
    value = case.scorer.outputs(case.features, case.rows)
    base = case.scorer.outputs(case.start, case.rows)
    rows = []
    for output in range(value.shape[1]):
        # The hooks are on the model that others use. Captum warns that it sets them.
        with case.scorer.model.lock, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            try:
                made = DeepLift(_Module(case.scorer, module, output)).attribute(
                    case.features, baselines=case.start, additional_forward_args=(case.rows,)
                )
            except Exception as error:
                if "more than once" in str(error):  # of Captum's own, from its hooks
                    raise InputError(
                        "deep_lift needs modules that are used once, and here some are used more "
                        "often: by the model, or for the two texts of a contrast. Take "
                        "integrated_gradients."
                    ) from None
                # Input and baseline go through together: there is nothing to split.
                if not case.scorer.model.backend.out_of_memory(error):
                    raise
                raise no_memory() from None
        assert isinstance(made, torch.Tensor)
        passes = 2 * len(made) * len(case.scorer.branches)
        case.scorer.watch.tick(passes, passes)
        rows.append(case.collapse(made.detach(), torch.sum))
    return Scores(torch.stack(rows, dim=1), value, base)


_RULES = frozenset(SUPPORTED_NON_LINEAR)


class _Module(torch.nn.Module):
    """A scorer as a module, so that Captum finds those of the model in it."""

    def __init__(self, scorer: Scorer, module: torch.nn.Module, output: int):
        super().__init__()
        self.inner = module
        self._scorer = scorer
        self._output = output

    def forward(self, points: torch.Tensor, rows: Any) -> torch.Tensor:
        return self._scorer.direct(points, rows)[:, self._output]
