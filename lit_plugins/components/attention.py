"""Attention weights as rows of LIT's Salience Maps: LIT 1.3 has no view of its own for them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from lit_nlp.api import components as lit_components
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import dtypes as lit_dtypes
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.components.encoders import EncoderModel, shown_tokens
from lit_plugins.components.shared import unwrapped
from lit_plugins.errors import InputError

LAYER, HEAD, TOKEN = "layer", "head", "of token"
_LAST, _MEAN = "last", "mean"


class AttentionInterpreter(lit_components.Interpreter):
    """How much a token attends to each token: nothing is computed unless it is asked for."""

    def description(self) -> str:
        """See lit_components.Interpreter."""
        return (
            "Attention weights from one token (the first, unless `of token` says another) to all, "
            "of a layer, as the mean of its heads or of one head. They show where states come "
            "from, not what made the difference (Jain and Wallace 2019, arXiv 1902.10186)."
        )

    def is_compatible(self, model: lit_model.Model, dataset: lit_dataset.Dataset) -> bool:
        """See lit_components.Interpreter."""
        return isinstance(unwrapped(model), EncoderModel)

    def meta_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter."""
        return {"attention": lit_types.TokenSalience(autorun=False, signed=False)}

    def config_spec(self) -> lit_types.Spec:
        """See lit_components.Interpreter. Layers and heads count from 1, `of token` is its text."""
        return {
            LAYER: lit_types.String(default=_LAST, required=False),
            HEAD: lit_types.String(default=_MEAN, required=False),
            TOKEN: lit_types.String(required=False),
        }

    def run(
        self,
        inputs: Iterable[Mapping[str, Any]],
        model: lit_model.Model,
        dataset: lit_dataset.Dataset,
        model_outputs: Sequence[Mapping[str, Any]] | None = None,
        config: Mapping[str, Any] | None = None,
    ) -> list[dict[str, Any]]:
        """See lit_components.Interpreter. Raises LitPluginsError."""
        member = unwrapped(model)
        assert isinstance(member, EncoderModel)
        settings = dict(config or {})
        layer, head, token = (settings.get(name) or "" for name in (LAYER, HEAD, TOKEN))
        rows = []
        for example in inputs:
            text, layers = member.attention_of(example)
            weights = layers[_number(LAYER, layer, _LAST, len(layers))]
            one = head not in ("", _MEAN)
            weights = weights[_number(HEAD, head, _MEAN, len(weights))] if one else weights.mean(0)
            tokens = shown_tokens(text)
            scores = weights[_place(str(token), tokens)]
            rows.append(
                {"attention": lit_dtypes.TokenSalience(tokens, [float(one) for one in scores])}
            )
        return rows


def _number(name: str, text: Any, word: str, count: int) -> int:
    """A layer or head, from 0; the last for nothing. Raises InputError."""
    if text in ("", word):
        return count - 1
    if not str(text).isdecimal() or not 1 <= int(text) <= count:
        raise InputError(f"{name} is {text!r:.60}: expected 1 to {count}, or {word}.")
    return int(text) - 1


def _place(token: str, tokens: Sequence[str]) -> int:
    if not token:
        return 0
    plain = [one.lstrip("▁").lower() for one in tokens]
    if token.lower() not in plain:
        raise InputError(f"{TOKEN} is {token!r:.60}: expected one of {' '.join(plain):.200}.")
    return plain.index(token.lower())
