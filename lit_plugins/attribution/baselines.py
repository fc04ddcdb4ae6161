"""What stands for "nothing there": one function a baseline, from tokens to features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch

from lit_plugins.attribution.options import Options
from lit_plugins.backends import Backend
from lit_plugins.errors import InputError
from lit_plugins.models.language_model import LanguageModel, Text

TOKENS_AT_ONCE = 4096


def baseline(
    model: LanguageModel, texts: Sequence[Text], features: torch.Tensor, options: Options
) -> torch.Tensor:
    """Features (batch, tokens, dim) of "nothing there". Raises InputError."""
    if options.baseline in (None, "zero"):
        return torch.zeros_like(features)
    if options.baseline == "mean":
        return mean_embedding(model).to(features).expand_as(features)
    if options.baseline == "text":
        return torch.stack(
            [
                _text(model, text, own, options.baseline_text or "")
                for text, own in zip(texts, features, strict=True)
            ]
        )
    assert options.baseline is not None
    token = model.tokenizer.fillers.get(options.baseline)
    if token is None:
        has = ", ".join(["zero", *model.tokenizer.fillers, "mean", "text"])
        raise InputError(
            f"baseline={options.baseline}: this model's tokenizer has no such token. Available: "
            f"{has}."
        )
    return embeddings(model, [token]).to(features).expand_as(features)


class Embedding(Protocol):
    """A model with token embeddings."""

    backend: Backend
    lock: Any
    vocabulary: int

    def features_of(self, ids: Sequence[int]) -> Any:
        """Token embeddings of single tokens, (1, tokens, dim)."""
        ...


def embeddings(model: Embedding, ids: Sequence[int]) -> torch.Tensor:
    """The features of tokens: (1, tokens, dim), float32 at least."""
    with model.lock:
        made = model.backend.to_torch(model.features_of(ids))
    return made.to(torch.promote_types(made.dtype, torch.float32))


def mean_embedding(model: Embedding) -> torch.Tensor:
    """The mean over the vocabulary, (dim,)."""
    total = torch.zeros(())
    for first in range(0, model.vocabulary, TOKENS_AT_ONCE):
        last = min(first + TOKENS_AT_ONCE, model.vocabulary)
        total = total + embeddings(model, range(first, last)).double().sum((0, 1)).cpu()
    return (total / model.vocabulary).float()


def _text(model: LanguageModel, text: Text, own: torch.Tensor, other: str) -> torch.Tensor:
    """The features of a text in the prompt's place; all else stays."""
    ids = _content_ids(model, other)
    wanted = text.content.stop - text.content.start
    if len(ids) != wanted:
        raise InputError(
            f"baseline_text has {len(ids)} tokens, the prompt has {wanted}. Expected a text of as "
            "many tokens: " + ("add to it." if len(ids) < wanted else "shorten it.")
        )
    made = own.clone()
    made[text.content] = embeddings(model, ids)[0].to(own)
    return made


def _content_ids(model: LanguageModel, text: str) -> list[int]:
    made = model.text(text)
    return list(made.ids[made.content])
