"""Gemma 3 270M, real weights: Keras on TensorFlow = Keras on torch = Hugging Face."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

HELPERS = Path(__file__).parent / "helpers"
LOADERS = {
    "hf": ("torch", "hf:packaged:gemma3-270m"),
    "keras_torch": ("torch", "keras:packaged:gemma3-270m"),
    "keras_tensorflow": ("tensorflow", "keras:packaged:gemma3-270m"),
}
PROMPTS = range(5)

pytestmark = pytest.mark.packaged


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parity")
    for name, (backend, spec) in LOADERS.items():
        ran = subprocess.run(
            [sys.executable, str(HELPERS / "parity_probe.py"), spec, str(folder / f"{name}.npz")],
            env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(Path.cwd())},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
    return {name: np.load(folder / f"{name}.npz") for name in LOADERS}


@pytest.fixture(params=["keras_torch", "keras_tensorflow"])
def keras(request, results):
    return results[request.param]


@pytest.fixture
def hf(results):
    return results["hf"]


@pytest.mark.parametrize("row", PROMPTS)
def test_same_tokens(hf, keras, row):
    assert keras[f"ids{row}"].tolist() == hf[f"ids{row}"].tolist()
    assert keras[f"shown{row}"].tolist() == hf[f"shown{row}"].tolist()


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("how", ["batched", "alone"])
def test_same_log_probability(hf, keras, how, row):
    assert hf[f"alone.score{row}"] < -1  # nats: there is something to explain
    assert keras[f"{how}.score{row}"] == pytest.approx(hf[f"alone.score{row}"], abs=1e-3)
    assert hf[f"batched.score{row}"] == pytest.approx(hf[f"alone.score{row}"], abs=1e-3)


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("how", ["batched", "alone"])
def test_same_grad_dot_input(hf, keras, how, row):
    wanted = hf[f"alone.grad_dot_input{row}"]
    for values in (keras[f"{how}.grad_dot_input{row}"], hf[f"batched.grad_dot_input{row}"]):
        np.testing.assert_allclose(values, wanted, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("row", PROMPTS)
@pytest.mark.parametrize("how", ["batched", "alone"])
def test_same_grad_l2_up_to_the_embedding_scale(hf, keras, how, row):
    """Hugging Face's embedding layer multiplies by sqrt(dim) in it, Keras' model behind it."""
    wanted = hf[f"alone.grad_l2{row}"] * 640**0.5
    values = keras[f"{how}.grad_l2{row}"]
    np.testing.assert_allclose(values, wanted, atol=1e-3 * np.abs(wanted).max())


@pytest.mark.parametrize("row", range(2))
def test_same_completion(hf, keras, row):
    assert keras[f"made{row}"].tolist() == hf[f"made{row}"].tolist()


def test_the_lengths_differ(hf):
    lengths = {len(hf[f"ids{row}"]) for row in PROMPTS}
    assert len(lengths) == len(PROMPTS)
    assert max(lengths) > 150
