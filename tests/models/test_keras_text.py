"""Keras models: tiny random ones of each family, on both backends, each in its own process."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from lit_plugins.attribution.methods import METHODS

HELPERS = Path(__file__).parent.parent / "helpers"
FAMILIES = ("gemma", "gemma2", "gemma3", "gpt2", "llama", "mistral")
BACKENDS = ("torch", "tensorflow")


def _probe(backend: str, *arguments: object) -> None:
    ran = subprocess.run(
        [sys.executable, str(HELPERS / "keras_probe.py"), *map(str, arguments)],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": f"{HELPERS}:{Path.cwd()}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What each backend made of the same weights."""
    folder = tmp_path_factory.mktemp("presets")
    out = tmp_path_factory.mktemp("results")
    _probe("torch", "make", folder)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: _probe(name, "run", folder, out / f"{name}.npz"), BACKENDS))
    return {name: np.load(out / f"{name}.npz") for name in BACKENDS}


@pytest.fixture(params=BACKENDS)
def backend(request):
    return request.param


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def result(results, backend, family):
    return lambda name: results[backend][f"{family}.{name}"]


def test_cut_is_the_same_model(result):
    np.testing.assert_array_equal(result("cut"), result("whole"))
    np.testing.assert_allclose(
        result("cut"), result("own"), atol=1e-5 * np.abs(result("own")).max()
    )
    assert np.abs(result("cut") - result("blind")).max() > 0.1


def test_score_is_the_summed_log_probability(result):
    np.testing.assert_allclose(result("scores"), result("expected_scores"), rtol=1e-5)


def test_batch_equals_one_by_one(result):
    assert result("alone_error").max() < 1e-4


@pytest.mark.parametrize("what", ["scores", "gradient", "grad_l2", "grad_dot_input", "embeddings"])
def test_tensorflow_equals_torch(results, family, what):
    torch, tensorflow = (results[name][f"{family}.{what}"] for name in BACKENDS)
    assert np.abs(torch).max() > 1e-2
    np.testing.assert_allclose(tensorflow, torch, atol=1e-4 * np.abs(torch).max())


OTHER = ("each", "foil", "runner_up", "prob", "logit", "mean")


@pytest.mark.parametrize("what", [*METHODS, *OTHER])
def test_every_method_is_the_same_on_both_backends(results, family, what):
    torch, tensorflow = (results[name][f"{family}.method.{what}"] for name in BACKENDS)
    if what == "deep_lift":
        # Keras' layers hold no activation modules that Captum has a rule for.
        assert "deep_lift works inside the modules of a torch model" in str(tensorflow)
        return
    scale = np.abs(torch).max()
    assert scale > 0
    np.testing.assert_allclose(tensorflow, torch, atol=1e-4 * scale)


@pytest.mark.parametrize("what", ["shown", "responses"])
def test_tensorflow_writes_what_torch_writes(results, family, what):
    torch, tensorflow = (results[name][f"{family}.{what}"].tolist() for name in BACKENDS)
    assert tensorflow == torch
    assert any(torch)


def test_tokens_read_well(result, family):
    start = {"gpt2": "<|endoftext|>", "llama": "<s>", "mistral": "<s>"}.get(family, "<bos>")
    assert result("shown").tolist() == [
        start + text
        for text in (
            "the▁cat▁sat▁on▁the▁mat.",
            "What▁is▁the▁capital▁of▁France?▁Paris.",
            "the",
            "the▁dog▁ate▁the▁onion▁soup.\nno▁no",
            "naïve▁👋🏽▁▁<bos>▁x▁y\n\n",
        )
    ]


def test_generation_is_greedy_and_does_not_depend_on_the_batch(result):
    assert result("greedy").all()
    assert result("same_alone").all()


def test_sampling_repeats_by_its_seed(result):
    first, again, *others = result("sampled").tolist()
    assert first == again
    assert any(other != first for other in others)
