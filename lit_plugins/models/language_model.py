"""What every causal language model can do, whichever framework runs it.

`prompt` is the user's text, `target` the text that follows it: generated, or given. Axes:
`batch tokens dim` for features, `batch rows vocab` for logits, where `rows` are only those
positions that predict a target token.
"""

from __future__ import annotations

import abc
import functools
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np

from lit_plugins.backends import Backend
from lit_plugins.errors import InputError, SourceError, SpecError
from lit_plugins.models import chat
from lit_plugins.models.tokens import SPACE, Piece, continuation, plain_text, readable
from lit_plugins.sources import ModelOptions, model_options

_log = logging.getLogger(__name__)

DEFAULT_MAX_LENGTH = 2048  # tokens; more only if asked for, because memory grows with it
TOKENS_PER_BATCH = 4096  # padded tokens that one forward and backward pass may hold
REMEMBERED_GENERATIONS = 4096
_MARK = "\ue000"  # a character of private use


@dataclass(frozen=True)
class Text:
    """A prompt and its target as the model sees them.

    `ids[:target_start]` is the prompt, chat template included; `ids[content]` are the tokens of
    the user's own prompt in it, of which the first `dropped` were left out to fit the context.
    """

    ids: tuple[int, ...]
    target_start: int
    content: slice
    dropped: int = 0


@dataclass(frozen=True)
class Generation:
    """A completion: the text, and the tokens of prompt and completion."""

    response: str
    text: Text


@dataclass(frozen=True)
class Batch:
    """Texts padded on the right to one length, and what is asked about them.

    `token_ids` and `padding_mask` (batch, tokens); `rows`, `targets` and `target_mask`
    (batch, rows): the position that predicts, the token predicted, and its weight (0: padding, or
    not asked for). `foils` (batch, rows), if given: the token that each target is compared with.
    """

    token_ids: np.ndarray
    padding_mask: np.ndarray
    rows: np.ndarray
    targets: np.ndarray
    target_mask: np.ndarray
    foils: np.ndarray | None = None

    def take(self, rows: Any) -> Batch:
        """The batch with these rows, which may repeat."""
        taken: dict[str, Any] = {}
        for field in fields(self):
            values = getattr(self, field.name)
            taken[field.name] = None if values is None else values[rows]
        return Batch(**taken)


class Tokenizer(Protocol):
    """What we need of a tokenizer."""

    start: tuple[int, ...]  # what the model expects in front of a text, such as <bos>
    nothing: tuple[int, ...]  # what stands for an empty text where nothing goes in front
    stops: frozenset[int]  # tokens that end a generation
    template: str | None  # the chat template, Jinja
    template_variables: Mapping[str, str]
    fillers: Mapping[str, int]  # tokens that stand for nothing: pad, mask, unk, as far as it has

    def encode(self, text: str) -> list[int]:
        """The tokens of a text, nothing added in front or behind."""
        ...

    def pieces(self, ids: Sequence[int]) -> list[Piece]:
        """What each token stands for."""
        ...


class LanguageModel(abc.ABC):
    """A causal language model, cut after its embedding layer.

    Members of a LIT model group share one, and take `lock` around each use of it: LIT does not
    serialise predictions, and neither framework promises that a model may be used by two threads.
    """

    packages: tuple[str, ...] | property = ()  # whose versions matter

    def __init__(
        self,
        backend: Backend,
        tokenizer: Tokenizer,
        options: ModelOptions,
        context: int | None,
        vocabulary: int,
        description: str,
    ):
        self.backend = backend
        self.vocabulary = vocabulary  # number of embeddings
        self.tokenizer = tokenizer
        self.description = description
        self.lock = threading.RLock()
        self.chat_template = chat.template(options.chat, tokenizer.template)
        self.max_length = max_length(options, context, DEFAULT_MAX_LENGTH)
        self.options = _fitting(options, self.max_length)
        # The last text as it is shown: many questions about one text ask for it.
        self._shown: tuple[tuple[int, ...], list[str]] = ((), [])
        self._generated: OrderedDict[tuple[str, str], tuple[int, ...]] = OrderedDict()

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on a CPU, as far as is known, where large batches are no faster."""
        return True

    def option_defaults(self, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
        """A method's defaults for this model, from those that it has for all."""
        return defaults

    # What a framework adds.

    @abc.abstractmethod
    def features(self, batch: Batch) -> Any:
        """Token embeddings (batch, tokens, dim), as the first layer gets them."""

    @abc.abstractmethod
    def logits(self, features: Any, batch: Batch) -> Any:
        """Logits (batch, rows, vocab) at `batch.rows`, differentiable in the features."""

    @abc.abstractmethod
    def logits_of_ids(self, batch: Batch) -> Any:
        """The same computed by the uncut model, from token ids: the reference for the cut."""

    def features_of(self, ids: Sequence[int]) -> Any:
        """Token embeddings of single tokens, (1, tokens, dim)."""
        row = np.asarray([list(ids)], np.int32)
        nothing = np.zeros((1, 1), np.int32)
        mask = np.ones_like(row, bool)
        return self.features(Batch(row, mask, nothing, nothing, nothing.astype(np.float32)))

    def remember(self, ids: Sequence[int]) -> Any | None:
        """What the model knows of a text behind each of its tokens, for `logits_after`.

        None if it cannot go on from the middle of a text.
        """
        return None

    def logits_after(self, remembered: Any, start: int, batch: Batch) -> Any:
        """As `logits_of_ids` of one text that begins with the same `start` tokens.

        All its rows are at `start` or behind; only the tokens from there on are computed.
        """
        raise NotImplementedError

    @abc.abstractmethod
    def final_states(self, batch: Batch) -> Any:
        """Last hidden states (batch, tokens, dim), those that the vocabulary is read from."""

    @abc.abstractmethod
    def complete(
        self, prompts: Sequence[Sequence[int]], options: ModelOptions, done: Callable
    ) -> list[list[int]]:
        """New tokens for each prompt's tokens, at most `options.max_new_tokens` each.

        `done(new_ids)` says whether a completion has ended; ending late is allowed.
        """

    # Text to tokens.

    def text(self, prompt: str, target: str = "") -> Text:
        """The tokens of a prompt and its target.

        A target that this model generated for this prompt has exactly the tokens that were
        generated. Any other is tokenised as a continuation of the prompt. A prompt that is too
        long loses its beginning, not the chat template around it. Raises InputError.
        """
        for field, value in (("prompt", prompt), ("target", target)):
            _check_text(field, value)
        ids, content = self._prompt_ids(prompt)
        target_ids = self._target_ids(prompt, target, ids) if target else ()
        # The prompt gets the same room whatever the target, so that an explanation is about
        # the very tokens that the generation started from.
        answer = max(self.options.max_new_tokens, len(target_ids))
        dropped = max(0, len(ids) - (self.max_length - answer))
        if dropped > content.stop - content.start:
            around = len(ids) - (content.stop - content.start)
            raise InputError(
                f"No room is left for the prompt: max_length is {self.max_length}, the answer "
                f"takes {answer} tokens of it and what stands around the prompt {around}. "
                "Shorten the target, lower max_new_tokens, or raise max_length."
            )
        if dropped:
            _log.warning(
                "The first %d tokens of a prompt of %d were left out: max_length is %d, of which "
                "%d are kept for the answer.",
                dropped,
                len(ids),
                self.max_length,
                answer,
            )
            del ids[content.start : content.start + dropped]
            content = slice(content.start, content.stop - dropped)
        return Text((*ids, *target_ids), len(ids), content, dropped)

    def _prompt_ids(self, prompt: str) -> tuple[list[int], slice]:
        """The prompt's tokens with what the model wants around them, and where it is in them."""
        if self.chat_template is None:
            start = self.tokenizer.start
            ids = [*start, *self.tokenizer.encode(prompt)]
            if not ids and not self.tokenizer.nothing:
                raise InputError(
                    "The prompt is empty, and this model has no token to start from. "
                    "Give a prompt of one character at least."
                )
            return ids or [*self.tokenizer.nothing], slice(len(start), len(ids))
        rendered = chat.render(
            self.chat_template, prompt, self.options.system, self.tokenizer.template_variables
        )
        ids = self.tokenizer.encode(rendered)
        # Where the template puts a prompt shows with one that can be nowhere else. Templates may
        # strip what they are given: what was rendered is what the model sees.
        marked = chat.render(
            self.chat_template, _MARK, self.options.system, self.tokenizer.template_variables
        )
        place = marked.find(_MARK)
        shown = prompt if rendered.startswith(prompt, max(place, 0)) else prompt.strip()
        if place < 0 or not rendered.startswith(shown, place):
            return ids, slice(0, len(ids))
        begin = len(rendered[:place].encode())
        end = begin + len(shown.encode())
        ends = np.cumsum([len(piece.data) for piece in self.tokenizer.pieces(ids)])
        # Tokenizers may add bytes in front (a space) that the rendered text does not have.
        ends -= ends[-1] - len(rendered.encode()) if len(ends) else 0
        first = int(np.searchsorted(ends, begin, side="right"))
        last = int(np.searchsorted(ends, end, side="left")) + 1 if end > begin else first
        return ids, slice(first, min(last, len(ids)))

    def _target_ids(self, prompt: str, target: str, prompt_ids: list[int]) -> Sequence[int]:
        with self.lock:
            remembered = self._generated.get((prompt, target))
        if remembered is not None:
            return remembered
        if self.chat_template is None:
            joint = [*self.tokenizer.start, *self.tokenizer.encode(prompt + target)]
            if joint[: len(prompt_ids)] == prompt_ids:
                return joint[len(prompt_ids) :]
        return continuation(target, self.tokenizer.encode, self.tokenizer.pieces)

    def shown_tokens(self, text: Text) -> list[str]:
        """Each token as a person reads it; put together, they are the text."""
        ids, shown = self._shown
        if ids != text.ids:
            shown = readable(self.tokenizer.pieces(text.ids))
            self._shown = text.ids, shown
        return list(shown)

    def plain_tokens(self, text: Text) -> list[str]:
        """The same with spaces for spaces."""
        return [token.replace(SPACE, " ") for token in self.shown_tokens(text)]

    # Tokens to arrays.

    def encode(
        self,
        texts: Sequence[Text],
        masks: Sequence[Sequence[float] | np.ndarray],
        also: Sequence[Sequence[int]] | None = None,
        pad_left: bool = False,
    ) -> Batch:
        """A batch that asks for the tokens that each mask weighs: one weight a token.

        What lies behind the last token asked for is cut off: nothing before it depends on it. The
        first token of a text is never predicted, so its weight does not count. `also`: places of
        tokens that get a row as well, with the weight that they have, be it zero. Padding is put
        behind the texts; in front of them with `pad_left`.
        """
        asked = []
        for text, mask in zip(texts, masks, strict=True):
            try:
                weights = np.asarray(mask, dtype=np.float32)
            except (TypeError, ValueError):
                weights = np.zeros(0)
            if weights.shape != (len(text.ids),) or not np.isfinite(weights).all():
                raise InputError(
                    f"target_mask must be {len(text.ids)} finite numbers, one a token. "
                    f"Got {_outline(mask)}. Select the target again."
                )
            places = np.flatnonzero(weights[1:]) + 1
            asked.append(places if also is None else np.union1d(places, also[len(asked)]))
        lengths = [max(1, *places) if len(places) else 1 for places in asked]
        size = (len(texts), max(lengths))
        wide = (len(texts), max(1, *(len(places) for places in asked)))
        batch = Batch(
            token_ids=np.zeros(size, np.int32),
            padding_mask=np.zeros(size, bool),
            rows=np.zeros(wide, np.int32),
            targets=np.zeros(wide, np.int32),
            target_mask=np.zeros(wide, np.float32),
        )
        for row, (text, mask, places, length) in enumerate(
            zip(texts, masks, asked, lengths, strict=True)
        ):
            begin = size[1] - length if pad_left else 0
            batch.token_ids[row, begin : begin + length] = text.ids[:length]
            batch.padding_mask[row, begin : begin + length] = True
            batch.rows[row, : len(places)] = places - 1 + begin
            batch.targets[row, : len(places)] = np.asarray(text.ids)[places]
            batch.target_mask[row, : len(places)] = np.asarray(mask, np.float32)[places]
        return batch

    def in_batches(self, texts: Sequence[Text], tokens: int | None = None) -> Iterator[list[int]]:
        """Indices of texts that go through the model together, of similar length.

        A batch holds `batch_size` texts and so many padded tokens at most (but one text at
        least; default: TOKENS_PER_BATCH), so that memory is bounded however many texts are asked
        for.
        """
        group: list[int] = []
        for place in sorted(range(len(texts)), key=lambda place: len(texts[place].ids)):
            if group and (
                len(group) == self.options.batch_size
                or (len(group) + 1) * len(texts[place].ids) > (tokens or TOKENS_PER_BATCH)
            ):
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    # Generation.

    def generate(self, prompts: Sequence[str], **overrides: Any) -> list[Generation]:
        """Completions, one a prompt; greedy unless a temperature is set.

        `overrides` are model options: max_new_tokens, temperature, top_p, stop, seed; SpecError if
        one is wrong. The text that ends a generation (`stop`, or the model's own end token) is not
        part of it.
        """
        options = self.options
        if overrides:
            given = options.model_dump(exclude_unset=True) | overrides
            options = _fitting(model_options(given, "generate"), self.max_length)
        texts = [self.text(prompt) for prompt in prompts]
        generations: list[Generation | None] = [None] * len(texts)
        for group in self.in_batches(texts):
            with self.lock:
                completions = self.complete(
                    [texts[place].ids for place in group],
                    options,
                    lambda ids: len(self._kept(ids, options.stop)) < len(ids),
                )
            for place, ids in zip(group, completions, strict=True):
                kept = self._kept(ids, options.stop)
                response = plain_text(self.tokenizer.pieces(kept))
                with self.lock:
                    self._remember(prompts[place], response, kept)
                text = replace(texts[place], ids=(*texts[place].ids, *kept))
                generations[place] = Generation(response, text)
        return [generation for generation in generations if generation is not None]

    def _kept(self, ids: Sequence[int], stop: Sequence[str]) -> Sequence[int]:
        """The new tokens up to the first that ends the generation."""
        end = next((i for i, token in enumerate(ids) if token in self.tokenizer.stops), len(ids))
        ids = ids[:end]
        if stop:
            pieces = self.tokenizer.pieces(ids)
            found = [
                place
                for text in stop
                if (place := b"".join(piece.data for piece in pieces).find(text.encode())) >= 0
            ]
            if found:
                ends = np.cumsum([len(piece.data) for piece in pieces])
                ids = ids[: int(np.searchsorted(ends, min(found), side="right"))]
        return ids

    def _remember(self, prompt: str, response: str, ids: Sequence[int]) -> None:
        self._generated[prompt, response] = tuple(int(token) for token in ids)
        self._generated.move_to_end((prompt, response))
        while len(self._generated) > REMEMBERED_GENERATIONS:
            self._generated.popitem(last=False)

    def mean_embeddings(self, texts: Sequence[Text]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Mean last hidden state over the prompt's tokens and over the target's, each (dim,).

        Without target tokens the second is the state at the prompt's end, which predicts that
        nothing follows.
        """
        means: list[Any] = [None] * len(texts)
        for group in self.in_batches(texts):
            length = max(len(texts[place].ids) for place in group)
            batch = self.encode(
                # One token more, asked for, keeps all tokens before it.
                [replace(texts[place], ids=(*texts[place].ids, 0)) for place in group],
                [[0.0] * len(texts[place].ids) + [1.0] for place in group],
            )
            with self.lock, self.backend.no_grad():
                states = self.backend.to_numpy(self.final_states(batch))
            assert states.shape[1] == length, (states.shape, length)
            for row, place in zip(states, group, strict=True):
                start, end = texts[place].target_start, len(texts[place].ids)
                means[place] = (
                    row[:start].mean(0),
                    row[start:end].mean(0) if end > start else row[start - 1],
                )
        return means

    @functools.cached_property
    def can_go_on(self) -> bool:
        """Whether `logits_after` gives what the whole text gives; tried out once."""
        text, batch = self._short_text()
        try:
            with self.lock, self.backend.no_grad():
                remembered = self.remember(text.ids)
                if remembered is None:
                    return False
                last = replace(
                    batch,
                    rows=batch.rows[:, -1:],
                    targets=batch.targets[:, -1:],
                    target_mask=batch.target_mask[:, -1:],
                )
                whole = self.backend.to_numpy(self.logits_of_ids(last))
                rest = self.backend.to_numpy(self.logits_after(remembered, 1, last))
        except Exception as error:  # whatever a family without such a cache leads to
            _log.info("%s cannot go on from the middle of a text: %s", self.description, error)
            return False
        return bool(np.abs(whole - rest).max() <= 1e-3 * np.abs(whole).max())

    def _short_text(self) -> tuple[Text, Batch]:
        """A text of four tokens at most, with a row for each but the last."""
        ids = (*self.tokenizer.start, *self.tokenizer.encode("One two, three."))[:4]
        text = Text(tuple(ids), 0, slice(0, len(ids)))
        return text, self.encode([text], [[1.0] * len(ids)])

    # The cut.

    def check_cut(self) -> None:
        """Raises SourceError unless the model, cut after its embeddings, is still the same model.

        Explanations are gradients at the embeddings: where a model also uses the token ids
        further on, they would look plausible and be wrong. Costs three passes over four tokens.
        """
        _, batch = self._short_text()
        with self.lock, self.backend.no_grad():
            features = self.features(batch)
            whole = self.backend.to_numpy(self.logits_of_ids(batch))
            cut = self.backend.to_numpy(self.logits(features, batch))
            blind = self.backend.to_numpy(self.logits(features * 0, batch))
        if not np.isfinite(whole).all():
            raise SourceError(
                f"{self.description}: the model answers with numbers that are not finite. The "
                "weights are damaged, or dtype is too narrow for them: try dtype=float32."
            )
        scale = np.abs(whole).max()
        if cut.shape != whole.shape or np.abs(cut - whole).max() > 1e-2 * scale:
            raise SourceError(
                f"{self.description}: this model does not get everything from its token "
                "embeddings, so its embedding gradients would not explain it. It cannot be served."
            )
        if np.array_equal(blind, cut):
            raise SourceError(
                f"{self.description}: the model does not react to its embeddings. "
                "It cannot be explained at them, and cannot be served."
            )


def max_length(options: ModelOptions, context: int | None, default: int) -> int:
    """How long a text may be: as asked for, or `default`, but not beyond the model's context.

    Raises SpecError.
    """
    if options.max_length is None:
        return min(context or default, default)
    if context and options.max_length > context:
        raise SpecError(
            f"max_length={options.max_length} is more than this model's context of {context} "
            f"tokens. Set max_length={context} or less."
        )
    return options.max_length


def _fitting(options: ModelOptions, max_length: int) -> ModelOptions:
    """The options with a max_new_tokens that leaves room for a prompt."""
    if options.max_new_tokens < max_length:
        return options
    if "max_new_tokens" in options.model_fields_set:
        raise SpecError(
            f"max_new_tokens={options.max_new_tokens} leaves no room for a prompt: max_length is "
            f"{max_length}. Lower max_new_tokens, or raise max_length."
        )
    return options.model_copy(update={"max_new_tokens": max(1, max_length // 2)})


def _check_text(field: str, value: Any) -> None:
    if not isinstance(value, str):
        raise InputError(f"{field} must be text. Got {type(value).__name__}: {value!r:.60}.")
    try:
        value.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{field} holds half a surrogate pair at character {error.start}, which is no "
            "character. Remove it."
        ) from None


def _outline(mask: Any) -> str:
    return f"{len(mask)} values" if hasattr(mask, "__len__") else repr(mask)[:60]
