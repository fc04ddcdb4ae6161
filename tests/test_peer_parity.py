"""Real SmolLM2: the same scores as Captum's LLMGradientAttribution and Inseq's, token by token.

How each defines its score, `benchmarks/peers.py` says; what is different is undone there. Inseq is
not installed with us: its scores are in tests/data/inseq_smollm2.json, written by

    PEERS/bin/python tests/test_peer_parity.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data" / "inseq_smollm2.json"
SPEC = "hf:packaged:smollm2-135m-instruct?chat=off"
PROMPT, TARGET = "I am so happy for you! This makes me feel", " very good today"
STEPS = 8


def open_it():
    from lit_plugins.components.language_models import open_model
    from lit_plugins.sources import parse_model

    return open_model(parse_model(SPEC, name="smollm2"))


@pytest.fixture(scope="module")
def model():
    return open_it()


@pytest.fixture(scope="module")
def peers():
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        import peers

        return peers
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))


def ours(model, method, **options) -> np.ndarray:
    from lit_plugins.attribution.explainer import Explainer

    made = Explainer(model).explain(PROMPT, TARGET, method=method, each=True, **options)
    return made.scores


def same(ours: np.ndarray, theirs: np.ndarray) -> None:
    scale = np.abs(theirs).max()
    assert scale > 0.1
    np.testing.assert_allclose(ours, theirs, atol=1e-4 * scale)


# The straight path from the unknown token's embedding, at the points that both take.
PATH = {
    "baseline": "unk", "path": "straight", "template": "keep", "rule": "gauss_legendre",
    "steps": STEPS,
}  # fmt: skip


@pytest.mark.packaged
def test_gradient_times_input_is_captums(model, peers):
    theirs = peers.captum_llm_gradient(model.model, model.tokenizer._tokenizer, PROMPT, TARGET)
    same(ours(model, "grad_dot_input")[:, : theirs.shape[1]], theirs)


@pytest.mark.packaged
def test_integrated_gradients_are_captums_for_the_first_token(model, peers):
    """Captum holds the target's own tokens on the path; the first target token has none."""
    theirs = peers.captum_llm_gradient(
        model.model, model.tokenizer._tokenizer, PROMPT, TARGET, "integrated_gradients", STEPS,
        internal_batch_size=4,
    )  # fmt: skip
    mine = ours(model, "integrated_gradients", **PATH)[:, : theirs.shape[1]]
    same(mine[:1], theirs[:1])
    # What makes the others differ is the path, not the noise: they are far apart.
    assert np.abs(mine[1:] - theirs[1:]).max() > 1e-2 * np.abs(theirs).max()


@pytest.mark.packaged
@pytest.mark.parametrize("method", ["grad_dot_input", "grad_l2", "integrated_gradients"])
def test_inseqs(model, method):
    recorded = json.loads(DATA.read_text("utf-8"))
    theirs = np.array(recorded["scores"][method])
    assert recorded["tokens"] == list(model.text(PROMPT, TARGET).ids)
    options = PATH if method == "integrated_gradients" else {}
    mine = ours(model, method, **options)
    width = min(mine.shape[1], theirs.shape[1])
    assert width >= len(recorded["tokens"]) - 1
    same(mine[:, :width], theirs[:, :width])


def record() -> None:
    """Writes what Inseq makes of it."""
    import importlib.metadata

    sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT)]
    import peers

    model = open_it()
    given = (model.model, model.tokenizer._tokenizer, PROMPT, TARGET)
    scores = {
        "grad_dot_input": peers.inseq_gradient(*given),
        "grad_l2": peers.inseq_gradient(*given, "saliency"),
        "integrated_gradients": peers.inseq_gradient(*given, "integrated_gradients", STEPS),
    }
    DATA.parent.mkdir(exist_ok=True)
    versions = {name: importlib.metadata.version(name) for name in ("inseq", "captum", "torch")}
    rounded = {key: np.round(value.astype(float), 6).tolist() for key, value in scores.items()}
    text = {"prompt": PROMPT, "target": TARGET, "tokens": list(model.text(PROMPT, TARGET).ids)}
    DATA.write_text(json.dumps(text | {"versions": versions, "scores": rounded}, indent=1) + "\n")


if __name__ == "__main__":
    record()
