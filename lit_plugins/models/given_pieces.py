"""Texts whose tokens are given, as LIT's HotFlip writes them: `tokens` beside their joined text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from lit_plugins.models.encoded import Encoded

if TYPE_CHECKING:
    from lit_plugins.models.hf_encoder import HFEncoder


def with_given_pieces(model: HFEncoder, text: Encoded, example: Mapping[str, Any]) -> Encoded:
    """The text with the tokens of the example's `tokens` (`tokens_a`, `tokens_b` for a pair).

    They count where they are tokens of the vocabulary and, joined by spaces, the field's text. A
    text that was edited since is read as text.
    """
    for number, field in enumerate(model.fields):
        tokens = example.get("tokens" + field.removeprefix("text"))
        if (ids := _ids(model, tokens, example[field])) is not None:
            text = _replaced(text, number, tokens or (), ids, model.max_length)
    return text


def _ids(model: HFEncoder, tokens: Any, text: str) -> list[int] | None:
    if not isinstance(tokens, Sequence) or isinstance(tokens, str) or not tokens:
        return None
    if not all(isinstance(one, str) for one in tokens) or " ".join(tokens) != text:
        return None
    ids = model.tokenizer.convert_tokens_to_ids(list(tokens))
    unknown = model.tokenizer.unk_token_id
    known = all(
        one is not None and (one != unknown or token == model.tokenizer.unk_token)
        for token, one in zip(tokens, ids, strict=True)
    )
    return ids if known else None


def _replaced(
    text: Encoded, number: int, tokens: Sequence[str], ids: Sequence[int], max_length: int
) -> Encoded:
    place = text.places(number)
    if place.start == place.stop:  # nothing there to say where it would begin
        return text
    room = max_length - len(text.ids) + (place.stop - place.start)
    kept = min(room, len(ids))
    pieces = [*tokens[:1], *(f" {token}" for token in tokens[1:])][:kept]
    ends = [sum(map(len, pieces[: at + 1])) for at in range(kept)]
    begins = [end - len(piece.lstrip(" ")) for piece, end in zip(pieces, ends, strict=True)]

    def put(values: Sequence[Any], new: Sequence[Any]) -> tuple:
        return (*values[: place.start], *new, *values[place.stop :])

    types = text.types
    return replace(
        text,
        ids=put(text.ids, ids[:kept]),
        types=None if types is None else put(types, [types[place.start]] * kept),
        pieces=put(text.pieces, pieces),
        fields=put(text.fields, [number] * kept),
        spans=put(text.spans, list(zip(begins, ends, strict=True))),
        words=put(text.words, range(kept)),
        dropped=text.dropped + len(ids) - kept,
    )
