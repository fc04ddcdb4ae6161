"""A method: integrated gradients with one point, in the middle of the path."""

from lit_plugins.attribution.case import Case, Scores
from lit_plugins.attribution.cost import Passes
from lit_plugins.attribution.integrated import Path
from lit_plugins.attribution.methods import Method
from lit_plugins.attribution.options import Options


def midpoint(case: Case, options: Options) -> Scores:
    """The gradient halfway between baseline and input, times their difference."""
    path = Path(case, case.start)
    _, scores = path.slopes(*path.everywhere([0.5]))  # (batch, outputs, positions)
    begin, end = path.values(*path.everywhere([0.0, 1.0])).unflatten(0, (-1, 2)).unbind(1)
    return Scores(scores.double(), end, begin)


MIDPOINT = Method(
    "midpoint",
    "Gradient at the midpoint",
    midpoint,
    family="From a baseline to the text",
    signed=True,
    additive=True,
    batched=True,
    units="{}",
    cost=lambda size, options: Passes(3, size.outputs),
    defaults={"baseline": "zero", "baseline_text": None},
    description="Integrated gradients with one step, in the middle of the path.",
)
