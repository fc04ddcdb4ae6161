"""Hugging Face tokenizers; needs transformers, but no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lit_plugins.models.tokens import Piece, byte_level_piece, sentencepiece_piece


class HFTokenizer:
    """See `lit_plugins.models.language_model.Tokenizer`."""

    def __init__(self, tokenizer: Any, stops: frozenset[int]):
        self._tokenizer = tokenizer
        start = list(tokenizer("")["input_ids"])
        while start and start[-1] == tokenizer.eos_token_id != tokenizer.bos_token_id:
            start.pop()
        self.start = tuple(start)
        separators = (tokenizer.bos_token_id, tokenizer.eos_token_id)
        self.nothing = tuple(token for token in separators if token is not None)[:1]
        self.stops = stops
        self.template = (
            tokenizer.chat_template if isinstance(tokenizer.chat_template, str) else None
        )
        self.template_variables: Mapping[str, str] = {
            key: str(value) for key, value in tokenizer.special_tokens_map.items()
        }
        fillers = {name: getattr(tokenizer, f"{name}_token_id") for name in ("pad", "mask", "unk")}
        self.fillers: Mapping[str, int] = {
            name: token for name, token in fillers.items() if token is not None
        }
        self._special = frozenset(tokenizer.all_special_ids)
        self._added = tokenizer.get_added_vocab()
        decoder = str(getattr(getattr(tokenizer, "backend_tokenizer", None), "decoder", ""))
        vocabulary = tokenizer.get_vocab()
        self._byte_level = "ByteLevel" in decoder or (not decoder and "Ġthe" in vocabulary)

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        return list(self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])

    def pieces(self, ids: Sequence[int]) -> list[Piece]:
        """See Tokenizer."""
        pieces = []
        for token_id, token in zip(
            ids, self._tokenizer.convert_ids_to_tokens(list(ids)), strict=True
        ):
            if token is None:
                pieces.append(Piece(b""))
            elif token_id in self._special:
                pieces.append(Piece(token.encode(), special=True))
            elif self._byte_level and token not in self._added:
                pieces.append(byte_level_piece(token))
            else:
                pieces.append(sentencepiece_piece(token))
        return pieces
