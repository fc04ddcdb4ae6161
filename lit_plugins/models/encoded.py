"""A text, or a pair of them, as an encoder sees it, and what is asked about it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from lit_plugins.errors import InputError

NO_FIELD = -1


def token_offsets(text: str, tokens: Iterable[str]) -> list[tuple[int, int]]:
    """Return where each token stands in the text, as characters `[start, stop)`.

    Each is the first occurrence behind the token before. The list ends before the first token that
    has none.
    """
    offsets: list[tuple[int, int]] = []
    stop = 0
    for token in tokens:
        start = text.find(token, stop)
        if start < 0:
            break
        stop = start + len(token)
        offsets.append((start, stop))
    return offsets


@dataclass(frozen=True)
class Encoded:
    """Tokens of a text or pair, of one window of it where it is longer than the model's context.

    Attributes:
        ids: Token ids, special tokens included.
        types: Token types as the model was trained with them; None where it has none.
        pieces: What each token shows, in the writing of the text itself: put together, those of a
            field are the field's text between its first and last token.
        fields: Which text each token is of: 0, 1, or NO_FIELD for special tokens.
        spans: Characters `[start, stop)` of each token in the text of its field.
        words: The number of each token's word in its field, as the tokenizer divides the text (or
            as the caller did); -1 for special tokens.
        dropped: Tokens of the texts that did not fit and were left out.

    """

    ids: tuple[int, ...]
    types: tuple[int, ...] | None
    pieces: tuple[str, ...]
    fields: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    words: tuple[int, ...]
    dropped: int = 0

    def places(self, number: int) -> slice:
        """The tokens of one field, which stand together; empty if there are none."""
        own = [place for place, one in enumerate(self.fields) if one == number]
        return slice(own[0], own[-1] + 1) if own else slice(0, 0)

    def without(self, stays: np.ndarray) -> Encoded:
        """The same with only the tokens for which `stays` (tokens,) is True."""

        def kept(values: Sequence[Any]) -> tuple:
            return tuple(one for one, stay in zip(values, stays, strict=True) if stay)

        return Encoded(
            kept(self.ids),
            None if self.types is None else kept(self.types),
            kept(self.pieces),
            kept(self.fields),
            kept(self.spans),
            kept(self.words),
            self.dropped,
        )


def _no_foil(name: str) -> tuple[int, ...]:
    raise InputError(f"foil={name!r:.80}: there is no alternative to what is explained here.")


@dataclass(frozen=True)
class Inquiry:
    """What is asked about one text: how much the model is for some choices at some rows.

    Attributes:
        text: The text.
        rows, targets: For each number asked for: the row of the model's output (see
            `lit_plugins.tasks`), and the choice there.
        names: What each is called: `NEGATIVE`, `B-CITY of Paris`.
        numbers: Of labels, or places of tokens: what each is known by.
        weights: How much each counts in their sum.
        also: Further rows and targets that are likely to be asked next, and cost no pass.
        fixed: Tokens that are always there and get no score, beside special ones.
        foil: From the name of an alternative to its choice at each row, or to another text for
            which the same is asked. Raises InputError.
        allowed: Positions that may be chosen, for question answering: (tokens,).
        inputs: What was given, by field.

    """

    text: Encoded
    rows: tuple[int, ...]
    targets: tuple[int, ...]
    names: tuple[str, ...]
    numbers: tuple[int, ...]
    weights: tuple[float, ...] = ()
    also: tuple[tuple[int, int], ...] = ()
    fixed: tuple[int, ...] = ()
    foil: Callable[[str], tuple[int, ...] | Encoded] = _no_foil
    allowed: np.ndarray | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.weights:
            object.__setattr__(self, "weights", (1.0,) * len(self.rows))

    @property
    def choices(self) -> tuple[tuple[int, int], ...]:
        """Row and target of each number asked for."""
        return tuple(zip(self.rows, self.targets, strict=True))

    def ask(self, choices: Sequence[tuple[int, int]]) -> Inquiry:
        """The same of other choices; those that are not asked now weigh nothing."""
        weight = dict(zip(self.choices, self.weights, strict=True))
        return replace(
            self,
            rows=tuple(row for row, _ in choices),
            targets=tuple(target for _, target in choices),
            weights=tuple(weight.get(one, 0.0) for one in choices),
        )


@dataclass(frozen=True)
class EncoderBatch:
    """Texts padded on the right to one length, and what is asked about them.

    `token_ids`, `padding_mask`, `token_types` (None where the model has none) and `allowed` are
    (batch, tokens); `rows`, `targets`, `target_mask` and `foils` (batch, rows): see Choices.
    """

    token_ids: np.ndarray
    padding_mask: np.ndarray
    token_types: np.ndarray | None
    rows: np.ndarray
    targets: np.ndarray
    target_mask: np.ndarray
    foils: np.ndarray | None = None
    allowed: np.ndarray | None = None

    def take(self, rows: Any) -> EncoderBatch:
        """The batch with these rows, which may repeat."""
        taken: dict[str, Any] = {}
        for one in fields(self):
            values = getattr(self, one.name)
            taken[one.name] = None if values is None else values[rows]
        return EncoderBatch(**taken)
