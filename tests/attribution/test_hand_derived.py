"""Every row of METHODS against answers derived by hand, on models small enough to derive them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch
import toys

from lit_plugins.attribution.methods import METHODS
from lit_plugins.errors import InputError
from lit_plugins.tasks import SequenceLabel

ADDITIVE = [name for name, method in METHODS.items() if method.additive]
MOVES = ["integrated_gradients", "gradient_shap", "deep_lift"]  # positions from the baseline on
LINEAR = ["linear", "linear_pixels"]
TWO_LAYERS = ["two_layers", "two_layers_pixels"]

# Enough samples for the tolerances below.
LINEAR_OPTIONS = {
    "integrated_gradients": {"steps": 3, "rule": "riemann_left"},
    "smooth_grad": {"samples": 5},
    "var_grad": {"samples": 5},
    "gradient_shap": {"samples": 3},
    "occlusion": {"window": 2, "stride": 1},
    "leave_one_out": {"perturb": "replace"},
    "shapley_sampling": {"samples": 2},
    "kernel_shap": {"samples": 60},
    "lime": {"samples": 200},
}
TWO_LAYER_OPTIONS = LINEAR_OPTIONS | {
    "integrated_gradients": {"steps": 3000, "rule": "riemann_middle"},
    "smooth_grad": {"samples": 2000, "noise": 1.0},
    "var_grad": {"samples": 1500, "noise": 1.0},
    "gradient_shap": {"samples": 6000},
    "shapley_sampling": {"samples": 200},
    "kernel_shap": {"samples": 700},
    "lime": {"samples": 400},
}
LINEAR_TOLERANCE = {"kernel_shap": 1e-4, "lime": 2e-3}
TWO_LAYER_TOLERANCE = {
    "integrated_gradients": 2e-3,
    "smooth_grad": 0.03,
    "var_grad": 0.1,
    "gradient_shap": 0.03,
    "shapley_sampling": 0.06,
    "kernel_shap": 0.06,
    "lime": 0.06,
}


def _pick(problem, values):
    """(labels, …) -> (batch, outputs, …), as the task picks labels."""
    rows = []
    for row, label in enumerate(problem.labels):
        own = values if problem.foils is None else values - values[problem.foils[row]]
        rows.append(own if problem.task.each else own[label][None])
    return torch.stack(rows)


def _segments(problem, value_of):
    """Fills up (batch, outputs, segments) with `value_of(row, players)` of each example."""
    made = [value_of(row, int(players.max()) + 1) for row, players in enumerate(problem.players)]
    width = max(one.shape[-1] for one in made)
    return torch.stack([torch.nn.functional.pad(one, (0, width - one.shape[-1])) for one in made])


def _windows(players, window, stride):
    """The windows that cover all players: the last may reach over the end."""
    count = math.ceil((players - window) / stride) + 1
    return [range(n * stride, min(players, n * stride + window)) for n in range(count)]


def _mean_of_windows(players, windows, worth):
    """Each player's mean over the windows that it is in: `worth(window)` (outputs,)."""
    values = [worth(window) for window in windows]
    return torch.stack(
        [
            torch.stack([v for w, v in zip(windows, values, strict=True) if player in w]).mean(0)
            for player in range(players)
        ],
        dim=-1,
    )


class Linear:
    """Closed formulas: f(x) = b + w·x."""

    def __init__(self, problem, options):
        self.p, self.options = problem, options
        self.w = _pick(problem, problem.module.weight)
        self.moves = torch.where(problem.moved(), problem.inputs - problem.baseline, 0)[:, None]

    def _norm(self, order):
        last = -1 if self.p.axis == 1 else -3
        made = (self.w.abs() ** order).sum(last) ** (1 / order)
        return made if self.p.axis == 1 else made.flatten(-2)

    def _contribution(self):
        return self.p.positions(self.w * self.moves)

    def _segments(self):
        by_position = self._contribution()
        return _segments(
            self.p,
            lambda row, count: torch.stack(
                [by_position[row][:, self.p.players[row] == k].sum(-1) for k in range(count)], -1
            ),
        )

    def grad_l2(self):
        return self._norm(2)

    def grad_l1(self):
        return self._norm(1)

    def var_grad(self):
        return torch.zeros_like(self._norm(1))

    def grad_dot_input(self):
        return self.p.positions(self.w * self.p.inputs[:, None])

    def smooth_grad(self):
        return _moving(self.p, self.grad_l2())

    integrated_gradients = gradient_shap = deep_lift = _contribution
    feature_ablation = leave_one_out = shapley_sampling = kernel_shap = lime = _segments

    def occlusion(self):
        by_segment = self._segments()

        def own(row, count):
            windows = _windows(count, self.options["window"], self.options["stride"])
            return _mean_of_windows(
                count, windows, lambda window: by_segment[row][:, list(window)].sum(-1)
            )

        return _segments(self.p, own)


class TwoLayers:
    """f(x) = c + V relu(U x + b): sums over the hidden units, and over coalitions."""

    def __init__(self, problem, options):
        self.p, self.options = problem, options
        module = problem.module
        self.axes = problem.inputs.shape[1:]
        self.u, self.b = module.first.weight, module.first.bias  # (hidden, inputs), (hidden,)
        self.v = _pick(problem, module.last.weight)  # (batch, outputs, hidden)
        self.x = problem.inputs.flatten(1)
        self.start = torch.where(problem.moved(), problem.baseline, problem.inputs).flatten(1)
        self.z, self.z0 = self.x @ self.u.T + self.b, self.start @ self.u.T + self.b

    def _gradient(self, active):
        """The gradient where the hidden units are active, or to which share: (batch, hidden)."""
        return torch.einsum("boh,bh,hi->boi", self.v, active.to(self.u), self.u).unflatten(
            -1, self.axes
        )

    def _norm(self, gradient, order):
        last = -1 if self.p.axis == 1 else -3
        made = (gradient.abs() ** order).sum(last) ** (1 / order)
        return made if self.p.axis == 1 else made.flatten(-2)

    def grad_l2(self):
        return self._norm(self._gradient(self.z > 0), 2)

    def grad_l1(self):
        return self._norm(self._gradient(self.z > 0), 1)

    def grad_dot_input(self):
        return self.p.positions(self._gradient(self.z > 0) * self.p.inputs[:, None])

    def deep_lift(self):
        """Rescale: a ReLU's multiplier is the change of its output by that of its input."""
        multiplier = (self.z.relu() - self.z0.relu()) / (self.z - self.z0)
        return self._moved(multiplier)

    def integrated_gradients(self):
        """Each unit is active on a part of the path, from its kink on or up to it."""
        kink = -self.z0 / (self.z - self.z0)
        share = torch.where(self.z > self.z0, 1 - kink.clamp(0, 1), kink.clamp(0, 1))
        return self._moved(share)

    gradient_shap = integrated_gradients

    def _moved(self, share):
        difference = (self.x - self.start).unflatten(-1, self.axes)[:, None]
        return self.p.positions(self._gradient(share) * difference)

    def _spread(self):
        own = self.p.inputs.flatten(1).std(1, keepdim=True)
        return own * self.options["noise"]

    def smooth_grad(self):
        """With noise of deviation s, z is normal with deviation s |u|."""
        normal = torch.distributions.Normal(0.0, 1.0)
        length = (self.u * self._noisy()[:, None]).norm(dim=2)
        active = normal.cdf(self.z / (self._spread() * length))
        return _moving(self.p, self._norm(self._gradient(active), 2))

    def _noisy(self):
        """1 where noise is put, (batch, inputs): not on what is held."""
        return self.p.moved().expand(len(self.x), *self.axes).flatten(1).to(self.x)

    def var_grad(self):
        """By the covariance of which units are active, from samples of our own."""
        generator = torch.Generator().manual_seed(1)
        rows = []
        for row in range(len(self.x)):
            noise = torch.randn(8_000, self.x.shape[1], generator=generator).to(self.x)
            moved = self.x[row] + noise * self._spread()[row] * self._noisy()[row]
            covariance = torch.cov((moved @ self.u.T + self.b > 0).to(self.x).T)
            both = torch.einsum("oh,hi->ohi", self.v[row], self.u)
            rows.append(torch.einsum("ohi,hk,oki->oi", both, covariance, both))
        return _moving(self.p, self.p.positions(torch.stack(rows).unflatten(-1, self.axes)))

    def _worth(self, row, count, kept):
        """The outputs of an example with some players at the baseline."""
        return self.p.without(row, torch.tensor([[n in kept for n in range(count)]]))[0]

    def _each(self, row, count):
        everybody = set(range(count))
        whole = self._worth(row, count, everybody)
        return torch.stack(
            [whole - self._worth(row, count, everybody - {n}) for n in range(count)], dim=-1
        )

    def feature_ablation(self):
        return _segments(self.p, self._each)

    leave_one_out = feature_ablation

    def occlusion(self):
        def own(row, count):
            everybody = set(range(count))
            whole = self._worth(row, count, everybody)
            windows = _windows(count, self.options["window"], self.options["stride"])
            return _mean_of_windows(
                count,
                windows,
                lambda window: whole - self._worth(row, count, everybody - set(window)),
            )

        return _segments(self.p, own)

    def shapley_sampling(self):
        """The mean over all orders."""

        def own(row, count):
            worth = {
                kept: self._worth(row, count, kept)
                for size in range(count + 1)
                for kept in map(frozenset, itertools.combinations(range(count), size))
            }
            total = torch.zeros(len(worth[frozenset()]), count, dtype=torch.float64)
            for order in itertools.permutations(range(count)):
                for place, player in enumerate(order):
                    before = frozenset(order[:place])
                    total[:, player] += worth[before | {player}] - worth[before]
            return total / math.factorial(count)

        return _segments(self.p, own)

    kernel_shap = shapley_sampling

    def lime(self):
        """Least squares over all coalitions, weighed by exp(-(1 - cos)² / (2 · 0.25²))."""

        def own(row, count):
            kept = list(itertools.product([0, 1], repeat=count))
            masks = np.array(kept, float)
            near = np.sqrt(masks.sum(1) / count)  # the cosine of a mask and the whole
            weights = np.exp(-((1 - near) ** 2) / (2 * 0.25**2))
            worth = self.p.without(row, torch.tensor(kept)).numpy()
            design = np.column_stack([np.ones(len(kept)), masks])
            normal = design.T @ (weights[:, None] * design)
            solved = np.linalg.solve(normal, design.T @ (weights[:, None] * worth))
            return torch.as_tensor(solved[1:].T)

        return _segments(self.p, own)


def _moving(problem, scores):
    """Scores (batch, outputs, positions), zero where the input is held."""
    if problem.held is None:
        return scores
    return torch.where(problem.held[:, None], torch.zeros_like(scores), scores)


def _check(made, expected, tolerance):
    assert made.shape == expected.shape
    scale = expected.abs().max().item()
    np.testing.assert_allclose(made.numpy(), expected.numpy(), atol=tolerance * max(scale, 1e-3))


@pytest.mark.parametrize("kind", LINEAR)
@pytest.mark.parametrize("name", METHODS)
def test_linear_model(name, kind):
    problem = toys.problem(kind)
    options = LINEAR_OPTIONS.get(name, {})
    made = problem.run(name, options)
    _check(made.scores, getattr(Linear(problem, options), name)(), LINEAR_TOLERANCE.get(name, 1e-6))
    logits = problem.module(problem.inputs)
    for row, label in enumerate(problem.labels):
        assert made.value[row].item() == pytest.approx(logits[row, label].item(), rel=1e-9)
        if METHODS[name].additive:
            moved = torch.where(problem.moved(), problem.baseline, problem.inputs)
            base = problem.module(moved)[row, label].item()
            assert made.baseline_value[row].item() == pytest.approx(base, rel=1e-6)


@pytest.mark.parametrize("kind", TWO_LAYERS)
@pytest.mark.parametrize("name", METHODS)
def test_two_layers(name, kind):
    problem = toys.problem(kind)
    options = TWO_LAYER_OPTIONS.get(name, {})
    made = problem.run(name, options, points_per_pass=512)
    expected = getattr(TwoLayers(problem, options), name)()
    _check(made.scores, expected, TWO_LAYER_TOLERANCE.get(name, 1e-6))


def test_the_two_layers_are_not_linear():
    """Else the tests above could not tell one method from another."""
    for kind in TWO_LAYERS:
        by_hand = TwoLayers(toys.problem(kind), TWO_LAYER_OPTIONS["smooth_grad"])
        crossed = (by_hand.z > 0) != (by_hand.z0 > 0)
        assert crossed.any(1).all()
        shapley, ablation = by_hand.shapley_sampling(), by_hand.feature_ablation()
        assert (shapley - ablation).abs().max() > 0.2 * shapley.abs().max()
        path, dot = by_hand.integrated_gradients(), by_hand._moved(by_hand.z > 0)
        assert (path - dot).abs().max() > 0.2 * path.abs().max()
        smooth, plain = by_hand.smooth_grad(), by_hand.grad_l2()
        assert (smooth - plain).abs().max() > 0.2 * plain.abs().max()


@pytest.mark.parametrize("rule", ["gauss_legendre", "left", "right", "middle", "trapezoid"])
@pytest.mark.parametrize("steps", [2, 6])
def test_integrated_gradients_is_the_weighted_sum_over_the_nodes(rule, steps):
    """Few steps, so that the closed form is far: the nodes and weights written down again."""
    problem = toys.problem("two_layers")
    name = rule if rule == "gauss_legendre" else f"riemann_{rule}"
    made = problem.run("integrated_gradients", {"steps": steps, "rule": name}).scores
    if rule == "gauss_legendre":
        nodes, weights = np.polynomial.legendre.leggauss(steps)
        nodes, weights = (nodes + 1) / 2, weights / 2
    elif rule == "trapezoid":
        nodes = [n / (steps - 1) for n in range(steps)]
        weights = [(0.5 if n in (0, steps - 1) else 1) / (steps - 1) for n in range(steps)]
    else:
        offset = {"left": 0.0, "middle": 0.5, "right": 1.0}[rule]
        nodes, weights = [(n + offset) / steps for n in range(steps)], [1 / steps] * steps
    by_hand = TwoLayers(problem, {})
    share = sum(
        weight * (by_hand.z0 + node * (by_hand.z - by_hand.z0) > 0)
        for node, weight in zip(nodes, weights, strict=True)
    )
    _check(made, by_hand._moved(share), 1e-9)


@pytest.mark.parametrize("kind", TWO_LAYERS)
def test_integrated_gradients_with_as_many_steps_as_it_takes(kind):
    problem = toys.problem(kind)
    options = {"steps": "auto", "max_steps": 2000, "tolerance": 0.002}
    made = problem.run("integrated_gradients", options)
    _check(made.scores, TwoLayers(problem, {}).integrated_gradients(), 0.01)
    difference = made.value - made.baseline_value
    assert ((made.scores.sum(-1) - difference).abs() <= 0.002 * difference.abs()).all()


def test_integrated_gradients_on_two_legs():
    """The first position's share is a difference of two scores; the rest is a straight path."""
    problem = toys.problem("two_layers")
    options = {"steps": 3000, "rule": "riemann_middle", "path": "two_legs"}
    made = problem.run("integrated_gradients", options, points_per_pass=512)
    baseline = torch.where(problem.moved(), problem.baseline, problem.inputs)
    there = baseline.clone()
    there[:, 0] = problem.inputs[:, 0]
    second = toys.Problem(
        problem.module, problem.inputs, there, problem.labels, problem.held, problem.players
    )
    expected = TwoLayers(second, {}).integrated_gradients()
    for row, label in enumerate(problem.labels):
        both = problem.module(torch.stack([there[row], baseline[row]]))[:, label]
        expected[row, 0, 0] = both[0] - both[1]
    assert (expected[:2, 0, 0] != 0).all()
    assert expected[2, 0, 0].abs() < 1e-12  # held there
    _check(made.scores, expected, 2e-3)
    difference = made.value - made.baseline_value
    assert (made.scores.sum(-1) - difference).abs().max() < 2e-3 * difference.abs().max()


def test_two_legs_of_pixels_move_one_position_first():
    """Or they are refused: a channel is no position."""
    problem = toys.problem("two_layers_pixels")
    options = {"steps": 3000, "rule": "riemann_middle", "path": "two_legs"}
    try:
        made = problem.run("integrated_gradients", options, points_per_pass=512)
    except InputError:
        return
    difference = made.value - made.baseline_value
    assert (made.scores.sum(-1) - difference).abs().max() < 5e-3 * difference.abs().max()
    there = torch.where(problem.moved(), problem.baseline, problem.inputs)
    base = problem.module(there)
    there[:, :, 0, 0] = problem.inputs[:, :, 0, 0]
    rows = torch.arange(toys.BATCH), torch.as_tensor(problem.labels)
    expected = problem.module(there)[rows] - base[rows]
    torch.testing.assert_close(made.scores[:, 0, 0], expected)


@pytest.mark.parametrize("kind", TWO_LAYERS)
@pytest.mark.parametrize("name", ADDITIVE)
def test_completeness(name, kind):
    problem = toys.problem(kind)
    few = {"shapley_sampling": {"samples": 3}, "kernel_shap": {"samples": 90}}
    made = problem.run(name, (TWO_LAYER_OPTIONS | few).get(name, {}), points_per_pass=512)
    difference = made.value - made.baseline_value
    assert difference.abs().min() > 0.1
    tolerance = {"integrated_gradients": 2e-3, "gradient_shap": 0.04, "kernel_shap": 1e-4}
    missed = (made.scores.sum(-1) - difference).abs()
    assert (missed <= tolerance.get(name, 1e-6) * difference.abs().max()).all()


@pytest.mark.parametrize("kind", ["two_layers", "two_layers_pixels"])
@pytest.mark.parametrize("name", [name for name in MOVES if METHODS[name].by_position])
def test_what_is_held_gets_zero(name, kind):
    problem = toys.problem(kind)
    made = problem.run(name, {"samples": 4} if name == "gradient_shap" else {}).scores
    assert problem.held.any()
    for row in range(toys.BATCH):
        assert (made[row][:, problem.held[row]] == 0).all()
        assert (made[row][:, ~problem.held[row]] != 0).any()


FEW = {
    "integrated_gradients": {"steps": 40},
    "smooth_grad": {"samples": 4},
    "var_grad": {"samples": 4},
    "gradient_shap": {"samples": 4},
    "shapley_sampling": {"samples": 3},
    "kernel_shap": {"samples": 30},
    "lime": {"samples": 30},
    "occlusion": {"window": 3, "stride": 2},
    "leave_one_out": {"perturb": "delete"},
}


@pytest.mark.parametrize("name", METHODS)
def test_each_label_and_contrast(name):
    """`each` is every label by itself; a foil's scores are the difference."""
    options = FEW.get(name, {})
    alone = [
        toys.problem("two_layers", labels=np.full(toys.BATCH, label)).run(name, options)
        for label in range(toys.LABELS)
    ]
    every = toys.problem("two_layers", task=SequenceLabel("logit", each=True)).run(name, options)
    assert every.scores.shape[:2] == (toys.BATCH, toys.LABELS)
    for label, one in enumerate(alone):
        torch.testing.assert_close(every.scores[:, label], one.scores[:, 0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(every.value[:, label], one.value[:, 0])
    if not METHODS[name].signed:
        return
    foils = np.array([0, 3, 1])
    against = toys.problem("two_layers", foils=foils).run(name, options)
    for row, (label, foil) in enumerate(zip([2, 0, 3], foils, strict=True)):
        expected = alone[label].scores[row, 0] - alone[foil].scores[row, 0]
        # Captum returns what a regression finds as float32.
        torch.testing.assert_close(against.scores[row, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_occlusion_windows_and_strides(stride):
    for kind, by_hand in (("linear_pixels", Linear), ("two_layers", TwoLayers)):
        problem = toys.problem(kind)
        options = {"window": 3, "stride": stride}
        _check(
            problem.run("occlusion", options).scores, by_hand(problem, options).occlusion(), 1e-6
        )


@pytest.mark.parametrize("output", ["logprob", "prob"])
@pytest.mark.parametrize("kind", ["linear", "linear_pixels"])
def test_softmax_outputs(kind, output):
    """d log p_c = w_c - sum of p_k w_k; d p_c is p_c times that."""
    problem = toys.problem(kind, task=SequenceLabel(output))
    weight = problem.module.weight
    p = problem.module(problem.inputs).softmax(-1)
    expected = weight[problem.labels] - torch.einsum("bl,l...->b...", p, weight)
    own = p[torch.arange(toys.BATCH), torch.as_tensor(problem.labels)]
    if output == "prob":
        expected = expected * own.reshape(-1, *[1] * (expected.ndim - 1))
    made = problem.run("grad_dot_input")
    torch.testing.assert_close(made.value[:, 0], own if output == "prob" else own.log())
    torch.testing.assert_close(made.scores[:, 0], problem.positions(expected * problem.inputs))


def test_sampled_scores_repeat_by_their_seed():
    problem = toys.problem("two_layers")
    for name, method in METHODS.items():
        if "seed" not in method.defaults:
            continue
        options = {"samples": 6, "seed": 1} | ({"noise": 0.5} if "noise" in method.defaults else {})
        first, again = (problem.run(name, options).scores for _ in range(2))
        other = problem.run(name, options | {"seed": 2}).scores
        assert torch.equal(first, again)
        assert not torch.equal(first, other)
