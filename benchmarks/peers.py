"""Other attribution libraries on a causal language model that is already loaded, each at its best.

Captum 0.9.0 comes with `lit-plugins[hf]`. Inseq 0.7.1 and Interpreto 0.5.2 ask for libraries that
attribution does not use (aiohttp, bitsandbytes, ...), so they are installed without their
dependencies, and then those that they import, one by one. A second environment sees the first
through a .pth file, so that the first stays as it is:

    python3.11 -m venv --without-pip peers
    echo "$PWD/.venv/lib/python3.11/site-packages" > peers/lib/python3.11/site-packages/base.pth
    pip() { peers/bin/python -m pip "$@"; }
    pip install --no-deps inseq==0.7.1 jaxtyping==0.2.36 typeguard==2.13.3 treescope==0.1.10
    pip install --no-deps interpreto==0.5.2 beartype==0.23.1 einops==0.8.2 nnsight==0.7.0
    pip install --no-deps python-socketio==5.18.1 python-engineio==4.15.1 bidict==0.24.1
    pip install --no-deps simple-websocket==1.1.0 wsproto==1.3.2
    pip install --no-deps astor==0.8.1 toml==0.10.2 zstandard==0.25.0

The first line of installs is Inseq's; the others are Interpreto's, whose `import interpreto`
loads nnsight. `pip check` then misses aiohttp, authlib and marshmallow (Inseq), bitsandbytes and
pymdown-extensions (Interpreto); neither library imports them for what is done here. Importing
Interpreto replaces `sys.excepthook` (nnsight does); both add filters to `warnings`.

Every function takes the model, its tokenizer, a prompt and a target, and returns a float array
(target tokens, sources), the library's own normalisation left out or undone. The score explained
is always log p(target token | everything before it) in nats; where that is not the library's
default, the docstring says what is. The target's tokens are those of prompt + target tokenised
together. What a library changes in the model or the tokenizer is put back.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch

LOG_PROBABILITY = {"attributed_fn": "probability", "logprob": True}  # for Inseq
QUIET = {"show_progress": False, "pretty_progress": False}  # for Inseq


def token_ids(tokenizer: Any, prompt: str, target: str) -> tuple[list[int], list[int]]:
    """The tokens of the prompt, special ones included, and of the target behind it.

    Inseq and Interpreto tokenise prompt + target anew and count the prompt's tokens: ValueError
    where the two texts share a token, because their results would be about other tokens.
    """
    source = list(tokenizer(prompt)["input_ids"])
    joint = list(tokenizer(prompt + target)["input_ids"])
    if joint[: len(source)] != source or len(joint) == len(source):
        raise ValueError(f"{prompt[-20:]!r} and {target[:20]!r} do not meet between two tokens.")
    return source, joint[len(source) :]


@contextlib.contextmanager
def left_as_found(model: Any, tokenizer: Any) -> Iterator[None]:
    """Puts back what the libraries change, and switches the key-value cache off meanwhile.

    Changed were: `model.config.pad_token_id` and `tokenizer.pad_token` (Inseq if they are None,
    Interpreto always, and `generation_config` with them), `tokenizer.unk_token` (Inseq if None),
    `tokenizer.padding_side` (Inseq: left), evaluation mode (both). None of them needs the
    key-value cache here, and all would fill it.
    """
    kept = [(config, "pad_token_id") for config in (model.config, model.generation_config)]
    kept += [(model.config, "use_cache")]
    kept += [(tokenizer, key) for key in ("pad_token", "unk_token", "padding_side")]
    found = [getattr(owner, key) for owner, key in kept]
    training = model.training
    model.config.use_cache = False
    model.eval()  # Captum leaves dropout as it finds it
    try:
        yield
    finally:
        for (owner, key), value in zip(kept, found, strict=True):
            setattr(owner, key, value)
        model.train(training)


def captum_llm_gradient(
    model: Any,
    tokenizer: Any,
    prompt: str,
    target: str,
    method: str = "grad_dot_input",
    n_steps: int = 50,
    baseline_id: int = 0,
    internal_batch_size: int | None = None,
) -> np.ndarray:
    """Captum's LLMGradientAttribution at the embedding layer: (target tokens, prompt tokens).

    Score: log-probability (Captum allows no other). Signed, summed over the embedding's
    dimensions, not normalised. Sources: the prompt's tokens, BOS among them; scores of preceding
    target tokens are computed and cut off. One forward and backward pass a target token, over the
    prompt and the target tokens before it, with logits at every position.

    `method`: "grad_dot_input" is LayerGradientXActivation. "integrated_gradients" is
    LayerIntegratedGradients: Gauss-Legendre with `n_steps` points on a straight line from the
    embedding of token `baseline_id` (Captum's default: token 0, which is `<|endoftext|>` for
    SmolLM2 and `<pad>` for Gemma 3) in the place of every prompt token, BOS among them, to the
    prompt's embeddings. Target tokens before the explained one stay as they are on the whole path.
    The baseline is a token: zero embeddings cannot be asked for. `internal_batch_size` is how many
    points go through the model at once; None, Captum's default, is all of them, with
    n_steps x tokens x vocabulary logits in memory.
    """
    from captum.attr import (
        LayerGradientXActivation,
        LayerIntegratedGradients,
        LLMGradientAttribution,
        TextTokenInput,
    )

    _, wanted = token_ids(tokenizer, prompt, target)
    layer, options = model.get_input_embeddings(), {}
    if method == "grad_dot_input":
        inner: Any = LayerGradientXActivation(model, layer)
    elif method == "integrated_gradients":
        inner = LayerIntegratedGradients(model, layer)
        options = {"n_steps": n_steps, "internal_batch_size": internal_batch_size}
    else:
        raise ValueError(f"method is {method!r}. Expected grad_dot_input, integrated_gradients.")
    source = TextTokenInput(prompt, tokenizer, baselines=baseline_id)
    with left_as_found(model, tokenizer):
        explained = LLMGradientAttribution(inner, tokenizer).attribute(
            source, target=torch.tensor(wanted), **options
        )
    return explained.token_attr.cpu().numpy()


def captum_llm_perturbation(
    model: Any, tokenizer: Any, segments: Sequence[str], target: str
) -> np.ndarray:
    """Captum's LLMAttribution over FeatureAblation: (target tokens, segments).

    `segments` put together are the prompt; each in turn is replaced by the empty string, and what
    remains is tokenised anew. Score: log-probability of the target token with the whole prompt
    minus that without the segment, in nats: signed, positive supports the target, not
    normalised. One forward pass for the prompt and one a segment, one text a pass.

    `forward_in_tokens=False` is one pass over prompt and target. Captum's default
    (`forward_in_tokens=True, use_cached_outputs=True`) is wrong on transformers 5, where
    `prepare_inputs_for_generation` no longer cuts the tokens that the cache holds: from the second
    target token on, the whole prompt is read again behind the cached one. `forward_in_tokens=True,
    use_cached_outputs=False` is right, and takes one pass a target token.

    If the only segment is the whole prompt, and the tokenizer puts nothing in front, nothing is
    left to predict from, and Captum fails.
    """
    from captum.attr import FeatureAblation, LLMAttribution

    _, wanted = token_ids(tokenizer, "".join(segments), target)
    with left_as_found(model, tokenizer):
        explained = LLMAttribution(FeatureAblation(model), tokenizer).attribute(
            _segments(segments), target=torch.tensor(wanted), forward_in_tokens=False
        )
    return explained.token_attr.cpu().numpy()


def captum_llm_log_probability(
    model: Any, tokenizer: Any, segments: Sequence[str], target: str, **settings: Any
) -> np.ndarray:
    """Log-probabilities as LLMAttribution sees them: the sum, then one a target token.

    `settings`: `use_cached_outputs` (False) and `forward_in_tokens` (False).
    """
    from captum.attr import FeatureAblation, LLMAttribution

    _, wanted = token_ids(tokenizer, "".join(segments), target)
    settings = {"use_cached_outputs": False, "forward_in_tokens": False} | settings
    source = _segments(segments)
    with left_as_found(model, tokenizer), torch.no_grad():
        llm = LLMAttribution(FeatureAblation(model), tokenizer)
        values = llm._forward_func(source.to_tensor(), source, torch.tensor(wanted), **settings)
    return values[0].cpu().numpy()


def _segments(segments: Sequence[str]) -> Any:
    from captum.attr import TextTemplateInput

    # A function, not a format string: prompts may hold braces.
    return TextTemplateInput(lambda *parts: "".join(parts), list(segments))


def inseq_gradient(
    model: Any,
    tokenizer: Any,
    prompt: str,
    target: str,
    method: str = "input_x_gradient",
    n_steps: int = 50,
    internal_batch_size: int | None = None,
) -> np.ndarray:
    """Inseq's gradient methods: (target tokens, prompt tokens + target tokens - 1).

    Score here: log-probability (`attributed_fn="probability", logprob=True`). Inseq's default is
    the probability, whose gradient is that of the log-probability times p. Sources: the prompt's
    tokens, BOS among them, and the target tokens before the explained one; the others are NaN in
    Inseq, and 0 here. Inseq keeps one number a dimension; its own `aggregate()` and `show()` take
    the Euclidean norm over dimensions, which loses the sign, and divide each target token's
    column by its sum, which loses the size. Both are left out here. One forward and backward
    pass a target token, over the tokens before it, with logits at every position; target tokens
    cannot be batched.

    `method`: "input_x_gradient" and "integrated_gradients" are summed over dimensions: signed.
    "saliency" is the absolute gradient, and its Euclidean norm is returned: unsigned.
    Integrated gradients is Captum's: Gauss-Legendre with `n_steps` points (default 50) on a
    straight line that moves every token before the explained one, prompt, BOS and target, from
    the embedding of the tokenizer's unknown token (of its padding token if it has none), tokens
    that are `model.config.eos_token_id` excepted, which stay. `internal_batch_size` is how many
    points go through the model at once; None, the default, is all of them.
    """
    options: dict[str, Any] = {}
    if method == "integrated_gradients":
        options = {"n_steps": n_steps, "internal_batch_size": internal_batch_size}
    raw = _inseq(model, tokenizer, prompt, target, method, options)
    return np.linalg.norm(raw, axis=-1) if method == "saliency" else raw.sum(-1)


def inseq_occlusion(
    model: Any, tokenizer: Any, prompt: str, target: str, perturbations_per_eval: int = 1
) -> np.ndarray:
    """Inseq's occlusion: (target tokens, prompt tokens + target tokens - 1).

    Score here: the absolute difference of the target token's log-probability (Inseq's default: of
    its probability) with and without one token, in nats. Unsigned: Inseq drops the sign before
    anyone can see it. Sources as in `inseq_gradient`. A token without which is judged gets the
    embedding of the tokenizer's unknown token; nothing is deleted, positions stay. Inseq's
    `show()` divides nothing here: occlusion is not aggregated. One forward pass a target token and
    source, `perturbations_per_eval` of them at once (default 1).
    """
    options = {"perturbations_per_eval": perturbations_per_eval}
    return _inseq(model, tokenizer, prompt, target, "occlusion", options)


def _inseq(
    model: Any, tokenizer: Any, prompt: str, target: str, method: str, options: dict[str, Any]
) -> np.ndarray:
    """Raw scores: (target tokens, sources) or (target tokens, sources, dim)."""
    import inseq

    source, wanted = token_ids(tokenizer, prompt, target)
    with left_as_found(model, tokenizer):
        # Without a device, Inseq moves the model to the first GPU there is.
        wrapped = inseq.load_model(model, method, tokenizer=tokenizer, device=str(model.device))
        explained = wrapped.attribute(
            prompt, prompt + target, **LOG_PROBABILITY, **QUIET, **options
        )
    sequence = explained.sequence_attributions[0]
    tokens = [token.id for token in sequence.target]
    if tokens != source + wanted:
        raise ValueError(f"Inseq explained other tokens: {tokens}. Expected {source + wanted}.")
    raw = sequence.target_attributions.transpose(0, 1)[:, : len(tokens) - 1]
    return np.nan_to_num(raw.detach().cpu().numpy(), nan=0.0)


def interpreto_gradient(
    model: Any,
    tokenizer: Any,
    prompt: str,
    target: str,
    method: str = "saliency",
    n_steps: int = 10,
    batch_size: int = 4,
) -> np.ndarray:
    """Interpreto's gradient methods: (target tokens, prompt tokens + target tokens - 1).

    Score here: log-probability (`InferenceModes.LOG_SOFTMAX`); Interpreto's default is the logit.
    Each source's score is the mean over dimensions of |gradient x embedding|: unsigned, not
    normalised, and no signed score can be had. Here it is multiplied by the number of dimensions,
    which gives the sum of |gradient x embedding|. Sources: the prompt's tokens, BOS among them
    (`Granularity.ALL_TOKENS`; the default is words), and the target tokens before the explained
    one; the others are NaN in Interpreto, and 0 here. One forward pass over prompt and target for
    all target tokens, then one backward pass for each.

    `method`: "saliency" as above. "integrated_gradients" is the same number, averaged with the
    trapezoidal rule over `n_steps` points (default 10) on a straight line from all embeddings (of
    prompt, BOS and target) to 1e-6 in each dimension. It takes absolute values at each point, and
    multiplies by the embedding at that point, not by its distance from the baseline: it is not
    integrated gradients, and does not add up to a difference of scores.

    A target must begin with a space, or Interpreto puts one there. It goes in as token ids: given
    as text, Interpreto puts BOS before it where the tokenizer does that, and explains it, too.
    """
    from interpreto import Granularity, IntegratedGradients, Saliency
    from interpreto.attributions import InferenceModes

    source, wanted = token_ids(tokenizer, prompt, target)
    if not target.startswith(" "):
        raise ValueError(f"target is {target[:20]!r}. Interpreto needs one that begins with ' '.")
    options: dict[str, Any] = {
        "granularity": Granularity.ALL_TOKENS,
        "inference_mode": InferenceModes.LOG_SOFTMAX,
        "batch_size": batch_size,
        "device": model.device,
    }
    with left_as_found(model, tokenizer):
        if method == "integrated_gradients":
            explainer = IntegratedGradients(model, tokenizer, n_perturbations=n_steps, **options)
        elif method == "saliency":
            explainer = Saliency(model, tokenizer, **options)
        else:
            raise ValueError(f"method is {method!r}. Expected saliency, integrated_gradients.")
        # As tokens, because Interpreto strips blanks from the end of a text.
        inputs = tokenizer(prompt, return_tensors="pt", return_offsets_mapping=True)
        explained = explainer.explain(inputs, targets=torch.tensor([wanted]))[0]
    tokens = explained.model_inputs_to_explain["input_ids"][0].tolist()
    if tokens != source + wanted:
        raise ValueError(f"Interpreto explained other tokens: {tokens}.")
    scores = explained.attributions[:, : len(tokens) - 1].cpu().numpy()
    return np.nan_to_num(scores, nan=0.0) * model.get_input_embeddings().weight.shape[1]
