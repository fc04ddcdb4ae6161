"""Integrated gradients of a sentiment classifier, beside transformers-interpret, in one process.

    PEERS/bin/python benchmarks/text_classifiers.py --json=benchmarks/text_classifiers.json

PEERS is an environment that sees ours and has transformers-interpret 0.10.0 as well, without its
dependencies, which ask for a transformers of 2023:

    python3.11 -m venv --without-pip peers
    echo "$PWD/.venv/lib/python3.11/site-packages" > peers/lib/python3.11/site-packages/base.pth
    peers/bin/python -m pip install --no-deps transformers-interpret==0.10.0

The texts are review snippets of vaderSentiment's archive, read at run time. Both explain the
predicted class's probability of the same texts on the same model object, from the padding token as
baseline, by 50 Gauss-Legendre points; then ours with `steps="auto"` until the convergence error is
below that of 50 points, or 1 %. In turns, block by block, so that a busy minute falls on both.

transformers-interpret's own delta subtracts another baseline, so its error is computed here: |sum
of its attributions - (p(text) - p(baseline))| / |p(text) - p(baseline)|, with the token types that
it feeds.
"""

from __future__ import annotations

import gc
import json
import statistics
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import reporting
import torch

from lit_plugins.attribution.text_explainer import Ask, TextExplainer
from lit_plugins.models import kinds
from lit_plugins.sources import parse_model

BLOCK = 20
STEPS = 50
LONG = 400  # words of the long text in the memory test; transformers-interpret cuts nothing off


def snippets(count: int) -> list[str]:
    """Review snippets that the model was not trained on."""
    sys.path.insert(0, str(Path(__file__).parent.parent / "training"))
    import sentiment

    _, held_out = sentiment.snippets()
    return [one.text for one in held_out[:count]]


class Peer:
    """transformers-interpret on a loaded model."""

    def __init__(self, model: Any, tokenizer: Any):
        from transformers_interpret import SequenceClassificationExplainer

        self._explainer = SequenceClassificationExplainer(model, tokenizer)
        self._model, self._tokenizer = model, tokenizer

    def explain(self, text: str) -> np.ndarray:
        """Attributions by token, not normalised."""
        self._explainer(text, n_steps=STEPS)
        made = self._explainer.attributions
        return made._attributions.sum(dim=-1).squeeze(0).detach().numpy()

    def error(self, text: str, scores: np.ndarray) -> float:
        """Convergence error of its scores."""
        explainer = self._explainer
        ids, reference, separator = explainer._make_input_reference_pair(text)
        types, _ = explainer._make_input_reference_token_type_pair(ids, separator)
        with torch.no_grad():
            p = [
                self._model(input_ids=one, token_type_ids=types).logits.softmax(-1)[0]
                for one in (ids, reference)
            ]
        label = int(explainer.predicted_class_index)
        difference = float(p[0][label] - p[1][label])
        return abs(float(scores.sum()) - difference) / abs(difference)


def measure(model: Any, texts: list[str], peer: Peer | None) -> dict[str, Any]:
    """Seconds a text and convergence errors, of each that there is."""
    seconds: dict[str, list[float]] = {}
    errors: dict[str, list[float]] = {}
    passes: dict[str, list[int]] = {}
    options = {"output": "prob", "baseline": "pad"}
    ways = {
        "ours, 50 steps": {"steps": STEPS},
        "ours, auto 1 %": {"steps": "auto"},
        "ours, auto 0.1 %": {"steps": "auto", "tolerance": 0.001},
    }
    for first in range(0, len(texts), BLOCK):
        block = texts[first : first + BLOCK]
        for name, way in ways.items():
            explainer = TextExplainer(model)  # remembers nothing
            begin = time.perf_counter()
            made = explainer.explain_all([Ask(text) for text in block], **options, **way)
            seconds.setdefault(name, []).append((time.perf_counter() - begin) / len(block))
            errors.setdefault(name, []).extend(one.convergence_error or 0.0 for one in made)
            passes.setdefault(name, []).extend(one.forward + one.backward for one in made)
        if peer is not None:
            begin = time.perf_counter()
            scores = [peer.explain(text) for text in block]
            name = "transformers-interpret, 50 steps"
            seconds.setdefault(name, []).append((time.perf_counter() - begin) / len(block))
            # Each text once more for its class, outside the time.
            for text, own in zip(block, scores, strict=True):
                peer._explainer(text, n_steps=1)
                errors.setdefault(name, []).append(peer.error(text, own))
        print(f"{first + len(block)} / {len(texts)}", file=sys.stderr)
    return {
        name: {
            "seconds_per_text": round(statistics.median(seconds[name]), 4),
            "error_median": float(f"{statistics.median(errors[name]):.3g}"),
            "error_95_percent": float(f"{np.quantile(errors[name], 0.95):.3g}"),
            "passes_median": statistics.median(passes[name]) if name in passes else None,
        }
        for name in seconds
    }


def peak(work: Any) -> float:
    """Megabytes by which the process grows at most while `work` runs."""
    process = psutil.Process()
    gc.collect()
    before, done, most = process.memory_info().rss, threading.Event(), [0]

    def watch() -> None:
        while not done.wait(0.002):
            most[0] = max(most[0], process.memory_info().rss - before)

    thread = threading.Thread(target=watch, daemon=True)
    thread.start()
    work()
    done.set()
    thread.join()
    return round(most[0] / 2**20, 1)


def memory(model: Any, texts: list[str], peer: Peer | None) -> dict[str, Any]:
    """Peak memory for short texts, and for one many times as long."""
    short, long = texts[0], " ".join(" ".join(texts * LONG).split()[:LONG])
    while len(model.texts_of({"text": long}).ids) >= model.max_length - 8:
        long = long.rpartition(" ")[0]
    explainer = TextExplainer(model)
    explainer.explain(short, steps=STEPS)  # warm
    found = {
        f"ours, {name}": peak(lambda text=text: TextExplainer(model).explain(text, steps=STEPS))
        for name, text in (("short", short), ("long", long))
    }
    found["tokens per pass"] = explainer.tokens_per_pass
    if peer is not None:
        found |= {
            f"transformers-interpret, {name}": peak(lambda text=text: peer.explain(text))
            for name, text in (("short", short), ("long", long))
        }
    found["tokens"] = [len(model.texts_of({"text": text}).ids) for text in (short, long)]
    return found


def main() -> None:
    parser = reporting.parser(__doc__)
    parser.add_argument("--texts", type=int, default=200, help="how many snippets (default: 200)")
    options = parser.parse_args()
    spec = parse_model("hf:packaged:sentiment?max_explanation_seconds=1e6", name="sentiment")
    model = kinds.open_model(spec, kinds.profile_of(spec))
    try:
        peer = Peer(model.model, model.tokenizer)
    except ImportError:
        peer = None
        print("transformers-interpret is not installed: ours alone.", file=sys.stderr)
    texts = snippets(options.texts)
    for text in texts[:3]:  # warm
        TextExplainer(model).explain(text, steps=STEPS)
        if peer is not None:
            peer.explain(text)
    rows = measure(model, texts, peer)
    result = {
        **reporting.machine("torch", "transformers", "captum"),
        "threads": torch.get_num_threads(),
        "dtype": "float32",
        "texts": len(texts),
        "runs": "one, in turns by blocks of 20; medians over blocks",
        "rows": rows,
    }  # fmt: skip
    name = "transformers-interpret, 50 steps"
    if name in rows:
        base = rows[name]["seconds_per_text"]
        result["times faster than transformers-interpret"] = {
            other: round(base / row["seconds_per_text"], 2)
            for other, row in rows.items()
            if other != name
        }
    print(json.dumps(result, indent=2))  # what follows may run out of memory
    result["peak memory, MB"] = memory(model, texts, peer)
    reporting.write(result, options.json)


if __name__ == "__main__":
    main()
