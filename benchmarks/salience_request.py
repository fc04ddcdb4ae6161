"""One salience request: ours, LIT's own prompt-debugging models, and a bare hand-written pass.

    make benchmark
    .venv/bin/python benchmarks/salience_request.py --runs=5 --json=benchmarks/results.json

All implementations answer the same request (`_NAME_salience`: both gradient methods for a target
of 20 tokens behind the sample set's longest menu prompt) in one process, in turns; the ratios of
the medians are what counts. Peak memory is measured in a process of its own for each, as the growth
of the resident set over the loaded model. Keras runs one backend a process, so its other backend is
measured in a process of its own, beside a bare pass on that backend.

LIT's `transformers_lms.HFSalienceModel` does not run on transformers 5. `RepairedLIT` mends what
stops it, and nothing else: the attribute `model.framework`, which is gone, and the request's mask,
which must have the length of LIT's own tokenisation. LIT has no salience for Gemma 3 in Keras at
all (`CausalLM.score` does not exist there), so Keras is compared with the bare pass only.
"""

from __future__ import annotations

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from lit_plugins import datasets
from lit_plugins.components.language_models import lm_group, open_model
from lit_plugins.models.language_model import LanguageModel
from lit_plugins.sources import parse_model

MODELS = {
    "gemma3-hf": "hf:packaged:gemma3-270m",
    "smollm2-hf": "hf:packaged:smollm2-135m-instruct?chat=off",
    "gemma3-keras": "keras:packaged:gemma3-270m",
}
TARGET_TOKENS = 20


class _Ready:
    def __init__(self, model: LanguageModel):
        self._model = model

    def get(self) -> LanguageModel:
        return self._model


def request(model: LanguageModel) -> dict[str, Any]:
    """The longest menu prompt, a target of 20 tokens, and a mask over the target."""
    menu = datasets.load(datasets.samples()["menu_advice"])
    example = max(menu.examples, key=lambda example: len(example["prompt"]))
    text = model.text(example["prompt"], example["target"])
    words = example["target"].split(" ")
    while len(text.ids) - text.target_start > TARGET_TOKENS:
        words.pop()
        text = model.text(example["prompt"], " ".join(words))
    mask = [0.0] * text.target_start + [1.0] * (len(text.ids) - text.target_start)
    return {"prompt": example["prompt"], "target": " ".join(words), "target_mask": mask, "_id": ""}


def ours(model: LanguageModel) -> Callable:
    def run(example: dict[str, Any]) -> Any:
        # A new group each time: it remembers what it has computed.
        salience: Any = lm_group("model", _Ready(model))["_model_salience"]
        return salience.predict([example])[0]

    return run


def lit(model: Any) -> Callable:
    from lit_nlp.examples.prompt_debugging import transformers_lms

    class RepairedLIT(transformers_lms.HFSalienceModel):
        def __init__(self, module: Any, tokenizer: Any):
            module.framework = "pt"
            super().__init__(model=module, tokenizer=tokenizer, batch_size=1)

    salience = RepairedLIT(model.model, model.tokenizer._tokenizer)

    def run(example: dict[str, Any]) -> Any:
        # LIT leaves the parameters as they are loaded: open for gradients, which it needs.
        model.model.requires_grad_(True)
        try:
            return next(iter(salience.predict([example])))
        finally:
            model.model.requires_grad_(False)

    return run


def bare(model: Any) -> Callable:
    """One forward and one backward pass for the target's tokens, by hand; torch."""
    import torch

    module, embed = model.model, model.model.get_input_embeddings()

    def run(example: dict[str, Any]) -> Any:
        text = model.text(example["prompt"], example["target"])
        start = text.target_start
        ids = torch.tensor([text.ids])
        features = embed(ids[:, :-1]).detach().requires_grad_(True)
        logits = module(
            inputs_embeds=features, use_cache=False, logits_to_keep=len(text.ids) - start
        ).logits
        score = logits.log_softmax(-1).gather(-1, ids[:, start:, None]).sum()
        (gradient,) = torch.autograd.grad(score, features)
        return {
            "grad_l2": gradient[0].norm(dim=-1).numpy(),
            "grad_dot_input": (gradient * features.detach())[0].sum(-1).numpy(),
        }

    return run


def bare_keras(model: Any) -> Callable:
    """The same for a Keras model, with the layers of keras-hub's own forward pass."""
    import keras

    backbone = model.model.backbone
    tensorflow = keras.backend.backend() == "tensorflow"
    # What keras-hub's own functional model does behind the embedding.
    body, head = model._body, model._head

    def score(features: Any, ids: np.ndarray, start: int) -> Any:
        mask = keras.ops.ones((1, features.shape[1]), "bool")
        states = body([features, mask])[:, start - 1 :]
        logs = keras.ops.log_softmax(head(states))
        wanted = keras.ops.convert_to_tensor(ids[None, start:, None])
        return keras.ops.sum(keras.ops.take_along_axis(logs, wanted, axis=-1))

    def run(example: dict[str, Any]) -> Any:
        text = model.text(example["prompt"], example["target"])
        ids = np.array(text.ids, np.int32)
        if tensorflow:
            import tensorflow as tf

            features = backbone.token_embedding(tf.constant(ids[None, :-1]))
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(features)
                value = score(features, ids, text.target_start)
            gradient, inputs = tape.gradient(value, features).numpy(), features.numpy()
        else:
            import torch

            with torch.no_grad():
                features = backbone.token_embedding(torch.tensor(ids[None, :-1]))
            features.requires_grad_(True)
            value = score(features, ids, text.target_start)
            gradient = torch.autograd.grad(value, features)[0].numpy()
            inputs = features.detach().numpy()
        return {
            "grad_l2": np.linalg.norm(gradient[0], axis=-1),
            "grad_dot_input": (gradient * inputs)[0].sum(-1),
        }

    return run


def implementations(name: str) -> dict[str, Callable]:
    if name.endswith("keras"):
        return {"ours": ours, "bare": bare_keras}
    return {"ours": ours, "lit": lit, "bare": bare}


def check(results: dict[str, Any]) -> None:
    """What is compared must be the same: LIT's loss gradient has the other sign."""
    wanted = results["ours"]["grad_l2"]
    for name, result in results.items():
        kept = min(len(wanted), len(result["grad_l2"]))
        error = np.abs(np.asarray(result["grad_l2"])[:kept] - wanted[:kept]).max() / wanted.max()
        assert error < 1e-2, f"{name} computes something else: {error:.3f}"


def measure(name: str, runs: int) -> dict[str, Any]:
    model = open_model(parse_model(MODELS[name], name="model"))
    example = request(model)
    functions = {key: make(model) for key, make in implementations(name).items()}
    check({key: function(example) for key, function in functions.items()})  # warms up, too
    seconds: dict[str, list[float]] = {key: [] for key in functions}
    for _ in range(runs):
        for key, function in functions.items():
            gc.collect()
            begin = time.perf_counter()
            function(example)
            seconds[key].append(time.perf_counter() - begin)
    return {
        "prompt_tokens": int(len(example["target_mask"]) - sum(example["target_mask"])),
        "target_tokens": int(sum(example["target_mask"])),
        "dtype": "float32",
        "seconds": {key: statistics.median(values) for key, values in seconds.items()},
        "spread": {key: [min(values), max(values)] for key, values in seconds.items()},
        "runs": runs,
    }


def peak_memory(name: str, implementation: str) -> float:
    """Growth of the resident set in MB while one request is answered for the first time."""
    model = open_model(parse_model(MODELS[name], name="model"))
    example = request(model)
    function = implementations(name)[implementation](model)
    return growth(lambda: function(example))


def growth(function: Callable[[], Any]) -> float:
    """Growth of the resident set in MB while a function runs, at the most."""
    page = resource.getpagesize()
    status = Path("/proc/self/statm")
    peak = before = int(status.read_text().split()[1]) * page
    done = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.wait(0.005):
            peak = max(peak, int(status.read_text().split()[1]) * page)

    watcher = threading.Thread(target=watch)
    watcher.start()
    function()
    done.set()
    watcher.join()
    return (peak - before) / 2**20


def child(*arguments: str, backend: str = "torch", script: str = __file__) -> Any:
    ran = subprocess.run(
        [sys.executable, script, *arguments],
        env=os.environ | {"KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(ran.stdout.splitlines()[-1])


def start_up(runs: int) -> dict[str, float]:
    """Seconds from `launch.py` to the first page, and of the bare imports, in turns."""
    import urllib.request

    def page() -> float:
        begin = time.perf_counter()
        root = Path(__file__).resolve().parent.parent
        server = subprocess.Popen(
            [sys.executable, str(root / "launch.py"), "--port=6123"], stderr=subprocess.DEVNULL
        )
        try:
            while True:
                try:
                    urllib.request.urlopen("http://127.0.0.1:6123/", timeout=5).read()
                    urllib.request.urlopen("http://127.0.0.1:6123/get_info", data=b"{}").read()
                    return time.perf_counter() - begin
                except OSError:
                    time.sleep(0.05)
        finally:
            server.terminate()
            server.wait()

    def imports() -> float:
        begin = time.perf_counter()
        code = "import lit_nlp.dev_server, torch, transformers, keras"
        subprocess.run([sys.executable, "-c", code], stderr=subprocess.DEVNULL, check=True)
        return time.perf_counter() - begin

    times: dict[str, list[float]] = {"page": [], "imports": []}
    for function in (page, imports):
        function()
    for _ in range(runs):
        times["page"].append(page())
        times["imports"].append(imports())
    return {key: statistics.median(values) for key, values in times.items()}


def machine() -> dict[str, Any]:
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    packages = ("lit-nlp", "torch", "transformers", "tensorflow", "keras", "keras-hub")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {name: importlib.metadata.version(name) for name in packages},
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=5, help="timed runs of each (default: 5)")
    parser.add_argument("--json", type=Path, help="file for the results")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.runs)))
        return
    if options.memory:
        print(json.dumps(peak_memory(*options.memory.split(","))))
        return
    results: dict[str, Any] = {"machine": machine()}
    for name in MODELS:
        for backend in ("torch", "tensorflow") if name.endswith("keras") else ("torch",):
            row = f"{name}-{backend}" if name.endswith("keras") else name
            result = child(f"--one={name}", f"--runs={options.runs}", backend=backend)
            result["memory"] = {
                key: child(f"--memory={name},{key}", backend=backend)
                for key in implementations(name)
            }
            results[row] = result
            seconds, memory = result["seconds"], result["memory"]
            for other in [key for key in seconds if key != "ours"]:
                print(
                    f"{row}: ours / {other}: time {seconds['ours'] / seconds[other]:.2f} "
                    f"({seconds['ours']:.2f} s / {seconds[other]:.2f} s), "
                    f"memory {memory['ours'] / memory[other]:.2f} "
                    f"({memory['ours']:.0f} MB / {memory[other]:.0f} MB)",
                    flush=True,
                )
    results["start_up"] = start_up(options.runs)
    page, imports = results["start_up"]["page"], results["start_up"]["imports"]
    print(f"launch.py to first page / bare imports: {page / imports:.2f} ({page:.1f} s)")
    if options.json:
        options.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
