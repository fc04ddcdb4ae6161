"""The attribution engine beside its peers and a bare hand-written pass, on the same model.

    PEERS/bin/python benchmarks/attribution.py --json=benchmarks/attribution.json

PEERS is an environment with the peers in it: `benchmarks/peers.py` says how to make one; those that
are missing are left out. Each model runs in one process, in which all take turns on the same prompt
(the sample set's longest menu prompt, 19 or 20 target tokens); the ratios of the medians are what
counts. Ours starts each time with an Explainer that remembers nothing.

Integrated gradients of peers pay for each target token: 20 steps of 20 tokens would take a quarter
of an hour each, so they are measured on a target of the first PEER_TOKENS tokens or few more, and
the name of the row says so.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import salience_request as request_bench

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.components.language_models import open_model
from lit_plugins.models.language_model import LanguageModel
from lit_plugins.sources import parse_model

MODELS = {
    "smollm2-hf": "hf:packaged:smollm2-135m-instruct?chat=off",
    "gemma3-hf": "hf:packaged:gemma3-270m",
    "gemma3-keras": "keras:packaged:gemma3-270m",
    "smollm2-keras": "keras:packaged:smollm2-135m-instruct?chat=off",
}
PEER_TOKENS = 2
IG_STEPS = 20


def explain(model: LanguageModel, example: dict[str, Any], **options: Any) -> Any:
    """One explanation by an Explainer that remembers nothing."""
    return Explainer(model).explain(example["prompt"], example["target"], **options)


class Bare:
    """A hand-written forward and backward pass; torch."""

    def __init__(self, model: Any, example: dict[str, Any]):
        import torch

        self._torch, self._module = torch, model.model
        text = model.text(example["prompt"], example["target"])
        self._start = text.target_start
        self._ids = torch.tensor([text.ids])

    def forward(self) -> tuple[Any, Any]:
        embed = self._module.get_input_embeddings()
        features = embed(self._ids[:, :-1]).detach().requires_grad_(True)
        logits = self._module(
            inputs_embeds=features,
            use_cache=False,
            logits_to_keep=self._ids.shape[1] - self._start,
        ).logits
        logs = logits.log_softmax(-1).gather(-1, self._ids[:, self._start :, None])[0, :, 0]
        return features, logs

    def span(self) -> Any:
        features, logs = self.forward()
        return self._torch.autograd.grad(logs.sum(), features)[0]

    def matrix(self) -> Any:
        features, logs = self.forward()
        return [self._torch.autograd.grad(one, features, retain_graph=True)[0] for one in logs]


def shorter(model: LanguageModel, example: dict[str, Any], tokens: int) -> dict[str, Any]:
    """The same with so many target tokens."""
    words = example["target"].split(" ")
    while True:
        text = model.text(example["prompt"], " ".join(words))
        if len(text.ids) - text.target_start <= tokens or len(words) <= 2:
            return example | {"target": " ".join(words)}
        words.pop()


def torch_rows(model: Any, example: dict[str, Any]) -> dict[str, dict[str, Callable[[], Any]]]:
    """For each question, the functions that answer it."""
    bare = Bare(model, example)
    module, tokenizer = model.model, model.tokenizer._tokenizer
    prompt, target = example["prompt"], example["target"]
    few = shorter(model, example, PEER_TOKENS)
    text = model.text(prompt, target)
    half = (
        text.target_start,
        text.target_start + len(range(text.target_start, len(text.ids))) // 2,
    )
    rest = (half[1], len(text.ids))
    sentences = [
        one.text
        for one in explain(model, example, method="leave_one_out", segment="sentence").segments
    ]
    kept: dict[str, Any] = {}

    def first_span() -> Any:
        kept["explainer"] = Explainer(model)
        return kept["explainer"].explain(prompt, target, half, method="grad_dot_input")

    rows: dict[str, dict[str, Callable[[], Any]]] = {
        "span gradient": {
            "ours": lambda: explain(model, example, method="grad_dot_input"),
            "bare": bare.span,
        },
        "second span": {
            "first": first_span,
            "ours": lambda: kept["explainer"].explain(
                prompt, target, rest, method="grad_dot_input"
            ),
        },
        "matrix": {
            "ours": lambda: explain(model, example, method="grad_dot_input", each=True),
            "bare": bare.matrix,
        },
        f"integrated gradients, {IG_STEPS} steps": {
            "ours": lambda: explain(model, example, method="integrated_gradients", steps=IG_STEPS),
        },
        "leave one sentence out": {
            "ours": lambda: explain(model, example, method="leave_one_out", segment="sentence"),
        },
    }
    if importlib.util.find_spec("captum"):
        import peers

        rows["matrix"]["captum"] = lambda: peers.captum_llm_gradient(
            module, tokenizer, prompt, target
        )
        rows[f"integrated gradients, {IG_STEPS} steps"][f"captum, {PEER_TOKENS} tokens"] = (
            lambda: peers.captum_llm_gradient(
                module, tokenizer, prompt, few["target"], "integrated_gradients",
                n_steps=IG_STEPS, internal_batch_size=4,
            )
        )  # fmt: skip
        rows["leave one sentence out"]["captum"] = lambda: peers.captum_llm_perturbation(
            module, tokenizer, sentences, target
        )
    if importlib.util.find_spec("inseq"):
        import peers

        rows["matrix"]["inseq"] = lambda: peers.inseq_gradient(module, tokenizer, prompt, target)
        rows[f"integrated gradients, {IG_STEPS} steps"][f"inseq, {PEER_TOKENS} tokens"] = (
            lambda: peers.inseq_gradient(
                module, tokenizer, prompt, few["target"], "integrated_gradients",
                n_steps=IG_STEPS, internal_batch_size=4,
            )
        )  # fmt: skip
    return rows


def keras_rows(model: Any, example: dict[str, Any]) -> dict[str, dict[str, Callable[[], Any]]]:
    bare = request_bench.bare_keras(model)
    return {
        "span gradient": {
            "ours": lambda: explain(model, example, method="grad_dot_input"),
            "bare": lambda: bare(example),
        }
    }


def measure(name: str, runs: int, chosen: tuple[str, ...]) -> dict[str, Any]:
    model = open_model(parse_model(MODELS[name], name="model"))
    example = request_bench.request(model)
    rows = (keras_rows if name.endswith("keras") else torch_rows)(model, example)
    text = model.text(example["prompt"], example["target"])
    results: dict[str, Any] = {
        "prompt_tokens": text.target_start,
        "target_tokens": len(text.ids) - text.target_start,
        "dtype": "float32",
        "rows": {},
    }
    for question, functions in rows.items():
        if not question.startswith(chosen):
            continue
        slow = question.startswith(("matrix", "integrated", "leave"))
        times = 1 if slow else runs
        if not slow:
            for function in functions.values():  # warms up
                function()
        seconds: dict[str, list[float]] = {key: [] for key in functions}
        for _ in range(times):
            for key, function in functions.items():
                gc.collect()
                begin = time.perf_counter()
                function()
                seconds[key].append(time.perf_counter() - begin)
        results["rows"][question] = {
            "seconds": {key: statistics.median(values) for key, values in seconds.items()},
            "spread": {key: [min(values), max(values)] for key, values in seconds.items()},
            "runs": times,
        }
        print(name, question, results["rows"][question]["seconds"], file=sys.stderr, flush=True)
    return results


def memory(name: str, question: str, key: str) -> float:
    """Growth of the resident set in MB while one request is answered for the first time."""
    model = open_model(parse_model(MODELS[name], name="model"))
    example = request_bench.request(model)
    function = torch_rows(model, example)[question][key]
    return request_bench.growth(function)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (default: 5)")
    parser.add_argument("--models", default=",".join(MODELS), help="which of: %(default)s")
    parser.add_argument("--rows", default="", help="which questions, by the beginnings of names")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.runs, tuple(options.rows.split(",")))))
        return
    if options.memory:
        print(json.dumps(memory(*options.memory.split("|"))))
        return
    results: dict[str, Any] = {"machine": request_bench.machine()}
    if options.json and options.json.exists():
        results |= json.loads(options.json.read_text())
    for name in options.models.split(","):
        for backend in ("torch", "tensorflow") if name.endswith("keras") else ("torch",):
            row = f"{name}-{backend}" if name.endswith("keras") else name
            result = child(
                f"--one={name}", f"--runs={options.runs}", f"--rows={options.rows}", backend=backend
            )
            if "matrix" in result["rows"] and not options.rows:
                result["memory"] = {
                    "matrix": {
                        key: child(f"--memory={name}|matrix|{key}")
                        for key in ("ours", "captum", "inseq")
                        if key in result["rows"]["matrix"]["seconds"]
                    }
                }
            results[row] = result
            if options.json:
                options.json.write_text(json.dumps(results, indent=2) + "\n")
            report(row, result)


def child(*arguments: str, backend: str = "torch") -> Any:
    return request_bench.child(*arguments, backend=backend, script=__file__)


def report(row: str, result: dict[str, Any]) -> None:
    for question, one in result["rows"].items():
        own = one["seconds"]["ours"]
        for key, value in one["seconds"].items():
            if key != "ours":
                ratio = f"{own / value:.2f} ({own:.2f} / {value:.2f} s)"
                print(f"{row}: {question}: ours / {key}: {ratio}")
    for question, one in result.get("memory", {}).items():
        print(row, question, {key: round(value) for key, value in one.items()}, "MB")


if __name__ == "__main__":
    main()
