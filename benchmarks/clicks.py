"""From a click to colours in Chromium, beside the engine alone, in turns in one process.

python benchmarks/clicks.py --json=benchmarks/clicks.json
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

import reporting
from lit_nlp import notebook as lit_notebook
from playwright import sync_api

import lit_plugins
from lit_plugins import notebook
from lit_plugins.components.shared import unwrapped

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "helpers"))

import chromium  # noqa: E402

MODEL = "hf:packaged:smollm2-135m-instruct"
METHOD = "grad_l2"
# Clicks a part of the answer; the seconds until what is asked is answered and drawn.
CLICK = """(module, last) => new Promise((resolve) => {
  const parts = [...module.shadowRoot.querySelectorAll('.piece.can')];
  const part = last ? parts.at(-1) : parts[0];
  const place = part.dataset.start;
  const began = performance.now();
  part.click();
  const look = () => {
    const target = module.shadowRoot.querySelector('.piece.target');
    const done = target?.dataset.start === place && module.shadowRoot.querySelector('.heading') &&
        !module.shadowRoot.querySelector('progress');
    const seconds = (performance.now() - began) / 1000;
    if (done) resolve([seconds, Number(place), Number(target.dataset.stop)]);
    else requestAnimationFrame(look);
  };
  look();
})"""


def main() -> None:
    parser = reporting.parser(__doc__)
    parser.add_argument("--examples", type=int, default=5, help="how many, of 6 (default: 5)")
    options = parser.parse_args()
    lit_notebook.display.display = lambda shown: None
    explainer = lit_plugins.load(MODEL, max_new_tokens=24)
    widget = notebook.widget({"smollm2": explainer.model}, ["menu_advice"])
    seconds: dict[str, list[float]] = {"first click": [], "second click": [], "engine, first": [],
                                       "engine, second": []}  # fmt: skip
    path = next(path for path in chromium.PATHS if Path(path).exists())
    with (
        sync_api.sync_playwright() as playwright,
        playwright.chromium.launch(executable_path=path, args=list(chromium.FLAGS)) as browser,
    ):
        page = browser.new_page(viewport={"width": 1400, "height": 900})
        page.set_default_timeout(120_000)
        page.goto(widget.url)
        module = page.locator("signed-sequence-salience-module")
        rows = page.locator("lit-data-table tbody tr:has(lit-table-text-cell)")
        member = unwrapped(widget._server.app._models["smollm2"])
        # The last one warms up.
        for place, number in enumerate([options.examples, *range(options.examples)]):
            rows.nth(number).click()
            module.locator(".piece.can").first.wait_for()
            example = member_example(widget, number)
            [answer] = explainer.predict([example["prompt"]])
            engine = member.shared.explainer()
            engine.forget()
            spans = []
            for name, last in (("first click", False), ("second click", True)):
                taken, start, stop = module.evaluate(CLICK, last)
                spans.append((start, stop))
                if place:
                    seconds[name].append(taken)
            engine.forget()
            for name, span in zip(("engine, first", "engine, second"), spans, strict=True):
                begin = time.perf_counter()
                engine.explain(example["prompt"], answer["response"], span, method=METHOD)
                if place:
                    seconds[name].append(time.perf_counter() - begin)
    widget.stop()
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    result = {
        **reporting.machine("torch", "transformers", "lit-nlp", "playwright"),
        "model": MODEL,
        "dtype": "float32",
        "method": METHOD,
        "examples": options.examples,
        "seconds": {name: [round(one, 3) for one in values] for name, values in seconds.items()},
        "median seconds": {name: round(value, 3) for name, value in medians.items()},
        "second click / first click": round(medians["second click"] / medians["first click"], 2),
        "first click / engine": round(medians["first click"] / medians["engine, first"], 2),
        "second click / engine": round(medians["second click"] / medians["engine, second"], 2),
    }
    reporting.write(result, options.json)


def member_example(widget: notebook.LitWidget, number: int) -> dict:
    """The example that is in a row of the page's table."""
    [data] = widget._data.values()
    return dict(data.examples[number])


if __name__ == "__main__":
    main()
