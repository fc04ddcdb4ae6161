"""Gemma 3 270M through one loader: tokens, log-probabilities and salience of five prompts.

python parity_probe.py SPEC OUT.npz
"""

from __future__ import annotations

import sys

import numpy as np

PAIRS = [
    ("The capital of France is", " Paris."),
    ("Dislikes: onions\nDish: Onion soup\nRecommendation:", " You have to try it."),
    # No <start_of_turn> here: behind it the base model is so ill-conditioned that float32 itself is
    # 2e-3 from float64 (torch).
    ("naïve 👋🏽  two  spaces\n\n\tand a tab", " 12345\n\nOK"),
    ("", "Once upon a time there was a king"),
    (
        "Write a headline.\n\n"
        + "News: The town's only bakery closes after forty years, because the baker retires.\n"
        "Headline: Town's last bakery closes\n\n"
        * 5
        + "News: A dog found its way home over sixty miles.\nHeadline:",
        " Dog walks sixty miles home",
    ),
]


def main(spec: str, out: str) -> None:
    from gradients import SCORES, score_and_gradient

    from lit_plugins.components.language_models import open_model
    from lit_plugins.sources import parse_model
    from lit_plugins.tasks import CausalLM

    model = open_model(parse_model(spec, name="gemma3"))
    texts = [model.text(*pair) for pair in PAIRS]
    masks = [
        [0.0] * text.target_start + [1.0] * (len(text.ids) - text.target_start) for text in texts
    ]
    result: dict[str, np.ndarray] = {}
    for row, text in enumerate(texts):
        result[f"ids{row}"] = np.array([text.target_start, *text.ids])
        result[f"shown{row}"] = np.array(model.shown_tokens(text))

    def record(how: str, rows: list[int]) -> None:
        batch = model.encode([texts[row] for row in rows], [masks[row] for row in rows])
        scores, features, gradient = score_and_gradient(model, CausalLM(), batch)
        for place, row in enumerate(rows):
            length = len(texts[row].ids) - 1
            result[f"{how}.score{row}"] = scores[place]
            for method, scores_of in SCORES.items():
                values = scores_of(features, gradient)[place]
                result[f"{how}.{method}{row}"] = values[:length]

    record("batched", list(range(len(PAIRS))))
    for row in range(len(PAIRS)):
        record("alone", [row])
    made = model.generate([PAIRS[0][0], PAIRS[1][0]], max_new_tokens=6)
    for row, one in enumerate(made):
        result[f"made{row}"] = np.array(one.text.ids)
    np.savez(out, **result)


if __name__ == "__main__":
    main(*sys.argv[1:])
