"""Which method finds what a model really used, where that is known by construction.

Classifiers with planted shortcuts (shortcuts.py) and a language model that looks values up
(key_value.py) are trained from scratch, until they can be right only by using the tokens in
question; then every method of METHODS, in its variants, says which tokens mattered, through our own
engine. The score is the share of examples in which it says the right ones.

    python benchmarks/ground_truth.py --json=benchmarks/ground_truth.json
    python benchmarks/ground_truth.py --quick     # a check: few examples, one seed, some methods

The results depend on the seeds alone (and, in the last digits, on the machine). They are for one
thread. Tables are printed in Markdown.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import platform
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import key_value
import numpy as np
import shortcuts
import torch

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.methods import METHODS

EXAMPLES, ONE_BY_ONE = 60, 25  # sentences a model: together, and for methods that take them singly
LOOKUPS = 30  # questions a language model
STEPS = {"steps": 20}
COSTLY = ("shapley_sampling", "kernel_shap", "lime")
OUTPUTS = ("logit", "prob")  # beside the default, logprob
PACKAGES = ("torch", "captum", "transformers", "numpy")
# Found by these in nearly all examples, whatever the seed: what --quick checks.
SURE = (
    "integrated_gradients baseline=mask steps=20",
    "gradient_shap baseline=mask",
    "feature_ablation baseline=mask",
    "leave_one_out",
)


@dataclass(frozen=True)
class Variant:
    """A method with options, and whether it explains the score or what sets it above the foil's."""

    method: str
    options: dict[str, Any] = field(default_factory=dict)
    foil: bool = False

    @property
    def name(self) -> str:
        options = [f"{key}={value}" for key, value in self.options.items()]
        return " ".join([self.method, *options, *(["foil"] if self.foil else [])])

    @property
    def is_default(self) -> bool:
        defaults = METHODS[self.method].defaults
        return not self.foil and all(defaults.get(k) == v for k, v in self.options.items())


def variants(
    name: str, learnt: str, costly: tuple[str, ...] = (), quick: bool = False
) -> Iterator[Variant]:
    """A method's own variants: baseline, output, samples.

    `learnt` is the baseline that training taught the model; `costly` are the others of COSTLY.
    """
    row = METHODS[name]
    best: dict[str, Any] = {"baseline": learnt} if "baseline" in row.defaults else {}
    steps = STEPS if name == "integrated_gradients" else {}
    best |= steps
    if row.defaults.get("perturb") == "delete":
        yield Variant(name)
        return
    yield Variant(name, best)
    if quick:
        return
    if best:
        fillers = costly if name in COSTLY else ("zero", "pad", "mean")
        yield from (Variant(name, {"baseline": filler} | steps) for filler in fillers)
    if name not in COSTLY and name != "occlusion":
        yield from (Variant(name, best | {"output": output}) for output in OUTPUTS)
        yield Variant(name, best, foil=True)
    yield from (Variant(name, options) for options in _own(name, best))


def _own(name: str, best: dict[str, Any]) -> list[dict[str, Any]]:
    """The options that only some methods have."""
    zero = {"baseline": "zero"}
    if name == "integrated_gradients":
        plain = [zero | STEPS | {"output": output} for output in OUTPUTS]
        rule = [zero | STEPS | {"rule": "gauss_legendre"}]
        steps = [one | {"steps": steps} for one in (zero, best) for steps in (50, "auto")]
        return plain + rule + steps
    if name in ("smooth_grad", "var_grad"):
        return [{"noise": 0.5}]
    if name == "gradient_shap":
        return [best | {"noise": 0.15}]
    if name == "occlusion":
        return [best | {"window": 2}]
    return []


def rankings(name: str) -> tuple[str, ...]:
    return ("signed", "absolute") if METHODS[name].signed else ("size",)


def ranked(scores: Any, ranking: str) -> Any:
    return np.abs(scores) if ranking == "absolute" else scores


def classifiers(seeds: range, quick: bool) -> tuple[list[dict], list[dict]]:
    """Results of all variants, and what the models can do."""
    rows, trained = [], []
    for architecture in shortcuts.RATES:
        for shortcut in shortcuts.SHORTCUTS if not quick else ("single",):
            for seed in seeds:
                here = {"architecture": architecture, "shortcut": shortcut, "seed": seed}
                model, steps = timed(shortcuts.train, architecture, shortcut, seed)
                relies = shortcuts.reliance(model, shortcut, seed)
                assert relies["with shortcut"] > 0.99, (here, relies)
                assert relies["shortcut against evidence"] > 0.98, (here, relies)
                trained.append(here | relies | {"seconds": steps})
                made, seconds = timed(_shortcut_rows, model, shortcut, seed, quick)
                rows += [here | row for row in made]
                say(f"{architecture} {shortcut} {seed}: {steps:.0f} s + {seconds:.0f} s")
    return rows, trained


def _shortcut_rows(model: Any, shortcut: str, seed: int, quick: bool) -> list[dict]:
    batch = shortcuts.make_sentences(shortcut, 2 * EXAMPLES, 5000 + seed, planted=1.0)
    batch = batch.take(np.flatnonzero(model.predict(batch) == batch.labels)[:EXAMPLES])
    shortcuts.check_engine(model, batch)
    rows = []
    for name, method in METHODS.items():
        few = batch.take(range(8 if quick else ONE_BY_ONE))
        for one in variants(name, "mask", quick=quick):
            part = batch if method.batched and one.options.get("steps") != "auto" else few
            begin = time.process_time()
            scores = shortcuts.explain(model, part, name, one.options, one.foil)
            for ranking in rankings(name):
                found = shortcuts.found([ranked(row, ranking) for row in scores], part)
                rows.append(
                    {
                        "variant": one.name,
                        "ranking": ranking,
                        "default": one.is_default,
                        "examples": len(part),
                        "precision": found[0],
                        "rank": found[1],
                        "seconds": (time.process_time() - begin) / len(part),
                    }
                )
    return rows


def language_models(seeds: range) -> tuple[list[dict], list[dict]]:
    """Results of all variants, and what the models can do."""
    rows, trained = [], []
    for seed in seeds:
        model, steps = timed(key_value.train, seed)
        held_out = key_value.make_lookups(500, 8000 + seed)
        right = key_value.accuracy(model.model, held_out)
        assert right >= 0.98, (seed, right)
        trained.append({"seed": seed, "accuracy": right, "seconds": steps})
        made, seconds = timed(_lookup_rows, model, seed)
        rows += [{"seed": seed} | row for row in made]
        say(f"language model {seed}: {steps:.0f} s + {seconds:.0f} s")
    return rows, trained


def _lookup_rows(model: Any, seed: int) -> list[dict]:
    explainer = Explainer(model)
    lookups = key_value.make_lookups(LOOKUPS, 9000 + seed, length=2)
    lookups = [one for one in lookups if key_value.accuracy(model.model, [one]) == 1]
    rows = []
    for name in METHODS:
        for one in variants(name, "unk", costly=("zero",)):
            begin = time.process_time()
            asked = key_value.contrasts if one.foil else key_value.sources
            part = lookups[:10] if name in COSTLY else lookups
            for ranking, found in asked(explainer, part, name, one.options).items():
                rows.append(
                    {
                        "variant": one.name,
                        "ranking": ranking,
                        "default": one.is_default,
                        "examples": len(part),
                        **found,
                        "seconds": (time.process_time() - begin) / len(part),
                    }
                )
    return rows


def table(rows: list[dict], columns: list[tuple[str, Any]], order: str) -> str:
    """Markdown: a line a variant and ranking, means over seeds; the best first."""
    groups: dict[tuple, list[dict]] = {}
    for row in rows:
        groups.setdefault((row["variant"], row["ranking"], row["default"]), []).append(row)
    lines = []
    for (variant, ranking, default), group in groups.items():
        cells = {title: value(group) for title, value in columns}
        mark = " (default)" if default else ""
        lines.append((cells[order], [f"{variant}{mark}", ranking, *map(shown, cells.values())]))
    lines.sort(key=lambda line: -line[0])
    titles = ["Method", "Ranked by", *(title for title, _ in columns)]
    text = [titles, ["---"] * len(titles), *(cells for _, cells in lines)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in text)


def shortcut_table(rows: list[dict]) -> str:
    def where(architecture: str, shortcut: str) -> Any:
        return lambda group: mean(
            row["precision"]
            for row in group
            if (row["architecture"], row["shortcut"]) == (architecture, shortcut)
        )

    places = sorted({(row["architecture"], row["shortcut"]) for row in rows}, reverse=True)
    columns = [(" ".join(place), where(*place)) for place in places]
    columns.append(("mean", lambda group: mean(row["precision"] for row in group)))
    columns.append(("mean rank", lambda group: mean(row["rank"] for row in group)))
    columns.append(("ms", lambda group: 1000 * mean(row["seconds"] for row in group)))
    return table(rows, columns, "mean")


def lookup_table(rows: list[dict], titles: tuple[str, ...]) -> str:
    def column(title: str) -> Any:
        return lambda group: mean(row[title] for row in group)

    rows = [row for row in rows if titles[0] in row]
    columns = [(title, column(title)) for title in titles]
    columns.append(("ms", lambda group: 1000 * mean(row["seconds"] for row in group)))
    return table(rows, columns, titles[0])


def mean(values: Any) -> float:
    return float(np.mean(list(values)))


def shown(value: float) -> str:
    return "–" if np.isnan(value) else f"{value:.2f}" if value < 10 else f"{value:.0f}"


def timed(function: Any, *arguments: Any) -> tuple[Any, float]:
    begin = time.process_time()
    return function(*arguments), time.process_time() - begin


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def check(rows: list[dict]) -> None:
    """What must be so: a single token that decides everything is found."""
    for name in SURE:
        found = [
            row["precision"]
            for row in rows
            if (row["variant"], row["shortcut"]) == (name, "single")
            and row["ranking"] in ("signed", "size")
        ]
        assert found, name
        assert mean(found) >= 0.9, (name, found)


def machine() -> dict[str, Any]:
    return {
        "machine": platform.platform(),
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in PACKAGES},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="where the results go")
    parser.add_argument("--part", choices=("shortcuts", "lookups"), help="this part alone")
    parser.add_argument("--quick", action="store_true", help="a check that ends within a minute")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    begin = time.time()
    seeds = range(1 if arguments.quick else 2)
    results: dict[str, Any] = machine() | {"seeds": len(seeds)}
    if arguments.part != "lookups":
        rows, trained = classifiers(seeds, arguments.quick)
        print("Planted shortcuts: precision@k\n\n" + shortcut_table(rows))
        results |= {"classifiers": trained, "shortcuts": rows}
        check(rows)
    if arguments.part != "shortcuts" and not arguments.quick:
        rows, trained = language_models(seeds)
        print("\nValues looked up: precision@1\n\n" + lookup_table(rows, key_value.SOURCES))
        print("\nContrast with a foil\n\n" + lookup_table(rows, key_value.CONTRASTS))
        results |= {"language_models": trained, "lookups": rows}
    results["seconds"] = time.time() - begin
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
