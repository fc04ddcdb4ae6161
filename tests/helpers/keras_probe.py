"""Runs tiny Keras models on one backend and writes down what came out: one process a backend.

python keras_probe.py make FOLDER               builds the models and saves them as presets
KERAS_BACKEND=… python keras_probe.py run FOLDER OUT.npz [MODEL…]
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

import numpy as np

TEXTS = [
    ("the cat", " sat on the mat."),
    ("What is the capital of France?", " Paris."),
    ("", "the"),
    ("the dog ate the onion soup.\nno", " no"),
    ("naïve 👋🏽  <bos> x", " y\n\n"),
]
SENTENCES = [text.replace("\n", " ") for pair in TEXTS for text in pair] * 40


def _sentencepiece(bos: str = "<bos>", eos: str = "<eos>") -> bytes:
    import sentencepiece

    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES),
        model_writer=model,
        vocab_size=320,
        model_type="bpe",
        byte_fallback=True,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece=eos,
        bos_piece=bos,
        unk_piece="<unk>",
        user_defined_symbols=["<start_of_turn>", "<end_of_turn>", "\n"],
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        minloglevel=2,
    )
    return model.getvalue()


def _byte_pair() -> dict:
    import tiny

    state = json.loads(tiny.byte_level_tokenizer().backend_tokenizer.to_str())["model"]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in state["merges"]]
    return {"vocabulary": state["vocab"], "merges": merges}


def make(folder: Path) -> None:
    import keras
    import keras_hub.models as hub

    keras.utils.set_random_seed(11)
    proto, pairs = _sentencepiece(), _byte_pair()
    sizes = {"num_layers": 2, "num_query_heads": 4, "hidden_dim": 24, "intermediate_dim": 40}
    heads = sizes | {"num_key_value_heads": 2}
    gemma = heads | {"head_dim": 6}
    llama = _sentencepiece("<s>", "</s>")
    models = {
        "gemma": hub.GemmaCausalLM(
            backbone=hub.GemmaBackbone(vocabulary_size=340, **gemma),
            preprocessor=hub.GemmaCausalLMPreprocessor(hub.GemmaTokenizer(proto)),
        ),
        "gemma2": hub.GemmaCausalLM(
            backbone=hub.GemmaBackbone(
                vocabulary_size=340,
                final_logit_soft_cap=3.0,
                attention_logit_soft_cap=5.0,
                use_post_ffw_norm=True,
                use_post_attention_norm=True,
                use_sliding_window_attention=True,
                sliding_window_size=7,
                **gemma,
            ),
            preprocessor=hub.GemmaCausalLMPreprocessor(hub.GemmaTokenizer(proto)),
        ),
        "gemma3": hub.Gemma3CausalLM(
            backbone=hub.Gemma3Backbone(
                vocabulary_size=340,
                image_size=16,
                use_query_key_norm=True,
                use_post_ffw_norm=True,
                use_post_attention_norm=True,
                use_sliding_window_attention=True,
                sliding_window_size=7,
                vision_encoder=None,
                **gemma,
            ),
            preprocessor=hub.Gemma3CausalLMPreprocessor(
                hub.Gemma3Tokenizer(proto, has_vision_tokens=False), image_converter=None
            ),
        ),
        "llama": hub.LlamaCausalLM(
            backbone=hub.LlamaBackbone(vocabulary_size=340, **heads),
            preprocessor=hub.LlamaCausalLMPreprocessor(hub.LlamaTokenizer(llama)),
        ),
        "mistral": hub.MistralCausalLM(
            backbone=hub.MistralBackbone(vocabulary_size=340, sliding_window=7, **heads),
            preprocessor=hub.MistralCausalLMPreprocessor(hub.MistralTokenizer(llama)),
        ),
        "gpt2": hub.GPT2CausalLM(
            backbone=hub.GPT2Backbone(
                vocabulary_size=len(pairs["vocabulary"]),
                num_layers=2,
                num_heads=4,
                hidden_dim=24,
                intermediate_dim=40,
                max_sequence_length=96,
            ),
            preprocessor=hub.GPT2CausalLMPreprocessor(hub.GPT2Tokenizer(**pairs)),
        ),
    }
    for name, model in models.items():
        # Random models answer alike, whatever the prompt, unless their weights are large.
        random = np.random.default_rng(3)
        for weight in model.weights:
            if name == "gpt2" and len(weight.shape) > 1:
                weight.assign(random.normal(0, 0.4, weight.shape))
            elif len(weight.shape) > 1:
                weight.assign(weight * (2 if name == "gemma" else 4))
        model.save_to_preset(str(folder / name))


# Few passes, for every method.
FEW = {"steps": 5, "samples": 4, "window": 2}


def _explained(model) -> dict[str, np.ndarray]:
    """Scores of every method, and of the other things that can be explained."""
    from lit_plugins.attribution.explainer import Explainer
    from lit_plugins.attribution.methods import METHODS
    from lit_plugins.errors import InputError

    explainer = Explainer(model)
    prompt, target = "the dog ate. the onion soup.", " no cat"
    made: dict[str, np.ndarray] = {}
    for method in METHODS.values():
        few = {key: value for key, value in FEW.items() if key in method.defaults}
        try:
            explained = explainer.explain(prompt, target, method=method.name, **few)
        except InputError as error:
            made[f"method.{method.name}"] = np.array(str(error))
            continue
        made[f"method.{method.name}"] = explained.scores
    for key, options in {
        "each": {"each": True},
        "foil": {"foil": " dog"},
        "runner_up": {"runner_up": True},
        "prob": {"output": "prob"},
        "logit": {"output": "logit"},
        "mean": {"method": "integrated_gradients", "steps": 3, "baseline": "mean"},
    }.items():
        options = {"method": "grad_dot_input"} | options
        made[f"method.{key}"] = explainer.explain(prompt, target, **options).scores
    return made


def run(folder: Path, out: Path, names: list[str]) -> None:
    from gradients import SCORES, score_and_gradient

    from lit_plugins.models.keras_text import load
    from lit_plugins.sources import ModelOptions
    from lit_plugins.tasks import CausalLM

    result: dict[str, np.ndarray] = {}
    for name in names or sorted(path.name for path in folder.iterdir()):
        model = load(str(folder / name), ModelOptions(max_new_tokens=6), name)
        texts = [model.text(*pair) for pair in TEXTS]
        masks = [
            [0.0] * text.target_start + [1.0] * (len(text.ids) - text.target_start)
            for text in texts
        ]
        batch = model.encode(texts, masks)
        numpy = model.backend.to_numpy
        with model.backend.no_grad():
            features = model.features(batch)
            result[f"{name}.whole"] = numpy(model.logits_of_ids(batch))
            result[f"{name}.cut"] = numpy(model.logits(features, batch))
            result[f"{name}.blind"] = numpy(model.logits(features * 0, batch))
            inputs = {"token_ids": batch.token_ids, "padding_mask": batch.padding_mask}
            full = numpy(model.model(inputs))
        result[f"{name}.own"] = np.take_along_axis(full, batch.rows[:, :, None], axis=1)
        scores, features, gradient = score_and_gradient(model, CausalLM(), batch)
        result[f"{name}.scores"], result[f"{name}.gradient"] = scores, gradient
        log_probabilities = result[f"{name}.own"].astype(float)
        log_probabilities -= np.log(np.exp(log_probabilities).sum(-1, keepdims=True))
        picked = np.take_along_axis(log_probabilities, batch.targets[:, :, None], -1)[..., 0]
        result[f"{name}.expected_scores"] = (picked * batch.target_mask).sum(1)
        for method, scores_of in SCORES.items():
            result[f"{name}.{method}"] = scores_of(features, gradient)
        alone = [
            score_and_gradient(model, CausalLM(), model.encode([text], [mask]))[2]
            for text, mask in zip(texts, masks, strict=True)
        ]
        result[f"{name}.alone_error"] = np.array(
            [
                np.abs(one[0] - gradient[row, : one.shape[1]]).max() / np.abs(one).max()
                for row, one in enumerate(alone)
            ]
        )
        result[f"{name}.shown"] = np.array(
            ["".join(model.shown_tokens(text)) for text in texts], dtype=object
        ).astype(str)
        prompts = [prompt for prompt, _ in TEXTS]
        made = model.generate(prompts)
        again = [model.generate([prompt])[0] for prompt in prompts]
        result[f"{name}.same_alone"] = np.array(
            [a.response == b.response for a, b in zip(made, again, strict=True)]
        )
        result[f"{name}.responses"] = np.array([one.response for one in made])
        greedy = []
        for one in made[:2]:
            ids = one.text.ids
            text = one.text
            batch = model.encode([text], [[1.0] * len(ids)])
            with model.backend.no_grad():
                likeliest = numpy(model.logits_of_ids(batch))[0].argmax(-1)
            start = text.target_start
            greedy.append(bool((likeliest[start - 1 :] == np.array(ids[start:])).all()))
        result[f"{name}.greedy"] = np.array(greedy)
        sampled = [
            model.generate(["the"], temperature=4.0, seed=seed)[0].response for seed in (1, 1, 2, 3)
        ]
        result[f"{name}.sampled"] = np.array(sampled)
        result |= {f"{name}.{key}": value for key, value in _explained(model).items()}
        prompt, response = model.mean_embeddings([texts[0]])[0]
        result[f"{name}.embeddings"] = np.stack([prompt, response])
    np.savez(out, **result)


if __name__ == "__main__":
    command, folder, *rest = sys.argv[1:]
    if command == "make":
        make(Path(folder))
    else:
        run(Path(folder), Path(rest[0]), rest[1:])
