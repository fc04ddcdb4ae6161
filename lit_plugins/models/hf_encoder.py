"""Hugging Face models that read a text as a whole: what classifiers, taggers and others share.

They are cut at their token embeddings by putting other values in the place of what the embedding
layer returns, as Captum's `Layer…` methods do. The model still sees the token ids, so whatever else
it makes of them (positions of RoBERTa, the last token of a GPT-2 classifier) stays as it is.
`embedding_cut` does that.
"""

from __future__ import annotations

import abc
import contextlib
import copy
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from lit_plugins.backends import Backend
from lit_plugins.backends.torch_backend import TorchBackend
from lit_plugins.errors import InputError, SourceError
from lit_plugins.models import embedding_cut, first_row, hf_loading
from lit_plugins.models.encoded import NO_FIELD, Encoded, EncoderBatch, Inquiry
from lit_plugins.models.language_model import max_length
from lit_plugins.models.tokens import SPACE
from lit_plugins.sources import ModelOptions
from lit_plugins.tasks import OUTPUTS, Choices, Output

DEFAULT_MAX_LENGTH = 512  # tokens; more only if asked for, because memory grows with its square
TOKENS_PER_BATCH = 4096  # padded tokens in one forward pass of a prediction
# Tokens that stand for nothing; the first that a tokenizer has is the baseline.
FILLERS = ("pad", "mask", "unk")
PADDING_WORTH = 1.1  # the longest text of a batch, in lengths of its shortest
PADDING_TRIED = 8  # tokens of it
MAX_CHARACTERS = 1_000_000  # of one text


class HFEncoder(abc.ABC):
    """A loaded `transformers` model with a head, and its tokenizer.

    The model is put into evaluation mode and its parameters are frozen. It may be used by several
    threads: each pass takes `lock`.
    """

    task: type[Choices]
    fields: tuple[str, ...]  # the texts that an example has
    packages = ("torch", "transformers")  # whose versions matter
    optional_fields: tuple[str, ...] = ()  # what else of it is read, if it is there
    outputs: tuple[Output, ...] = OUTPUTS  # what can be explained
    reads_first_row = False  # whether its heads are likely to read the first token's row alone
    deletable = False  # whether what is asked stays defined without some of the tokens
    sample: tuple[str, ...] = ("One two, three.",)  # texts to try the model with

    def __init__(
        self, model: Any, tokenizer: Any, options: ModelOptions, description: str = "model"
    ):
        if not getattr(tokenizer, "is_fast", False):
            raise SourceError(
                f"{description}: its tokenizer ({type(tokenizer).__name__}) cannot say which "
                "characters a token stands for. Expected a fast tokenizer (tokenizer.json)."
            )
        self.model = model.eval().requires_grad_(False)
        self.tokenizer = tokenizer
        self.options = options
        self.description = description
        self.backend: Backend = TorchBackend()
        self.lock = threading.RLock()
        self.cut = "token_embedding"
        self._cut: torch.nn.Module | None = None  # another module than the token embedding
        with hf_loading.loading(description):
            self._prepare(model, tokenizer)
            self.check_cut()

    def _prepare(self, model: Any, tokenizer: Any) -> None:
        """Find out what holds for all texts."""
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.max_length = _max_length(model, tokenizer, self.options)
        self.labels = _labels(model.config)
        filler = next(
            (t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id) if t is not None), 0
        )
        # The model's own is what decoders find a text's last token by.
        own = getattr(model.config, "pad_token_id", None)
        self._pad = int(filler if own is None or not 0 <= own < self.vocabulary else own)
        model.config.pad_token_id = self._pad
        fillers = {name: getattr(tokenizer, f"{name}_token_id", None) for name in FILLERS}
        self.fillers: Mapping[str, int] = {
            name: token for name, token in fillers.items() if token is not None
        }
        [text] = self.encode(self.sample)
        batch = self.batch([Inquiry(text, (), (), (), ())])
        with torch.no_grad():
            # A model that embeds its ids otherwise is refused by `check_cut`.
            found = embedding_cut.embedders(model, lambda: self._run(batch))
            self._embedders = found or [model.get_input_embeddings()]
            made = embedding_cut.returned(self._embedders[0], lambda: self._run(batch))
        # XLNet has (tokens, batch, dim) inside.
        self._turned = made.shape[:2] == (len(text.ids), 1) != (1, len(text.ids))
        self._behind = self._behind_attention()
        # Where padding says something, texts go through the model without any.
        self.pads = self._padding_is_nothing()

    @property
    def example_fields(self) -> tuple[str, ...]:
        """The texts that an example must bring."""
        return self.fields

    # What a task adds.

    @abc.abstractmethod
    def choices(self, output: Any, batch: EncoderBatch) -> torch.Tensor:
        """What the head says, as (batch, rows, choices): see `lit_plugins.tasks`."""

    @abc.abstractmethod
    def inquiries(
        self,
        examples: Sequence[Mapping[str, Any]],
        targets: Sequence[str | None],
        spans: Sequence[str | None],
        every: bool = False,
    ) -> list[Inquiry]:
        """What is asked about each example: see each task. Raises InputError."""

    # What the engine needs.

    @property
    def on_cpu(self) -> bool:
        """Whether it computes on a CPU, where large batches are no faster."""
        return self.model.device.type == "cpu"

    def option_defaults(self, defaults: Mapping[str, Any]) -> Mapping[str, Any]:
        """A method's defaults for this model, from those that it has for all."""
        filler = next((name for name in FILLERS if name in self.fillers), "zero")
        own = {"baseline": filler}
        if not self.deletable:
            own["perturb"] = "replace"
        if defaults.get("segment") == "sentence":
            own["segment"] = "word"  # a text is often one sentence, and passes are cheap
        always = {"template": "hold", "output": self.outputs[0]}
        if len(self.fields) == 2:
            always["over"] = "all"
        mine = {option: value for option, value in own.items() if option in defaults}
        return {**defaults, **mine, **always}

    def cut_at(self, module: str) -> HFEncoder:
        """The same model, explained at another module's output: (batch, tokens, dim).

        Args:
            module: Its name in the base model, such as `embeddings`, the whole embedding block.

        """
        other = copy.copy(self)
        other.cut = module
        base = self.model.base_model
        try:
            other._cut = base.get_submodule(module)
        except AttributeError:
            names = ", ".join(name for name, _ in base.named_children())
            raise InputError(
                f"{self.description} has no module {module!r}. It has: {names}."
            ) from None
        return other

    def features(self, batch: EncoderBatch, embedded: torch.Tensor | None = None) -> torch.Tensor:
        """What the cut module returns for a batch, (batch, tokens, dim).

        `embedded`: with these token embeddings, (batch, tokens, dim), instead of the texts' own.
        """
        ids = self._tensor(batch.token_ids)
        with torch.no_grad():
            if self._cut is None:
                return self._embedders[0](ids) if embedded is None else embedded
            own = contextlib.nullcontext()
            if embedded is not None:
                own = embedding_cut.embedded_as(self._embedders, ids, embedded)
            with own:
                made = embedding_cut.returned(self._cut, lambda: self._run(batch))
        made = made.transpose(0, 1) if self._turned else made
        return made.expand(len(batch.token_ids), -1, -1).clone()

    def features_of(self, ids: Sequence[int]) -> torch.Tensor:
        """Token embeddings of single tokens, (1, tokens, dim)."""
        with torch.no_grad():
            return self._embedders[0](self._tensor(np.asarray([list(ids)])))

    def logits(self, features: torch.Tensor, batch: EncoderBatch) -> torch.Tensor:
        """What the head says with these features at the cut: (batch, rows, choices)."""
        if self._cut is None:
            ids = self._tensor(batch.token_ids)
            instead = embedding_cut.embedded_as(self._embedders, ids, features)
        else:
            turned = features.transpose(0, 1) if self._turned else features
            instead = embedding_cut.returning(self._cut, turned)
        with instead, first_row.alone(self._behind):
            output = self._run(batch)
        return self.choices(output, batch)

    def _run(self, batch: EncoderBatch, **wanted: bool) -> Any:
        inputs = {"input_ids": self._tensor(batch.token_ids)}
        if not batch.padding_mask.all():
            inputs["attention_mask"] = self._tensor(batch.padding_mask.astype(np.int64))
        if batch.token_types is not None:
            inputs["token_type_ids"] = self._tensor(batch.token_types)
        return self.model(**inputs, **wanted)

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return torch.as_tensor(np.ascontiguousarray(values), device=self.model.device)

    # Texts to tokens.

    def encode(
        self, texts: Sequence[str], cut: str = "longest_first", stride: int = 0
    ) -> list[Encoded]:
        """The tokens of a text or pair.

        Args:
            texts: One text, or two.
            cut: Which text loses its end where they are too long: `longest_first`, `only_first`,
                `only_second`.
            stride: Tokens that windows over that text have in common; 0 for one window, with the
                rest left out.

        Raises InputError.

        """
        for name, text in zip(self.fields, texts, strict=True):
            _check_text(name, text)
        whole = self.tokenizer(*texts, verbose=False).encodings[0]
        windows, dropped = [whole], 0
        if len(whole.ids) > self.max_length:
            try:
                windows = self.tokenizer(
                    *texts,
                    max_length=self.max_length,
                    truncation=cut,
                    stride=stride,
                    return_overflowing_tokens=bool(stride),
                    verbose=False,
                ).encodings
            except Exception as error:  # the tokenizers library has no type of its own
                raise InputError(
                    f"The {self.fields[0 if cut == 'only_second' else -1]} leaves no room for the "
                    f"rest: {len(whole.ids)} tokens in all, max_length is {self.max_length} "
                    f"({error}). Shorten it."
                ) from None
            dropped = 0 if stride else len(whole.ids) - len(windows[0].ids)
        if not whole.ids:
            raise InputError(
                f"The {self.fields[0]} is empty, and this model has no token to put in its place. "
                "Give a text of one character at least."
            )
        return [self._encoded(window, texts, dropped) for window in windows]

    def _encoded(self, window: Any, texts: Sequence[str], dropped: int) -> Encoded:
        fields = tuple(NO_FIELD if one is None else one for one in window.sequence_ids)
        pieces, spans, words = [], [], []
        # A piece begins where the one before it in its field ended, so that nothing is lost.
        ends: dict[int, int] = {}
        rows: list[Any] = [
            *zip(window.tokens, fields, window.word_ids, window.offsets, strict=True)
        ]
        following: list[Any] = [*rows[1:], ("", NO_FIELD, 0, (0, 0))]
        for (token, owner, word, (begin, end)), after in zip(rows, following, strict=True):
            if owner == NO_FIELD:
                pieces.append(token)
                spans.append((0, 0))
                words.append(-1)
                continue
            last = ends.setdefault(owner, begin)
            # What was taken out at a word's end, an accent for instance, is still the word's.
            while last < begin and not texts[owner][last].isspace():
                pieces[-1] += texts[owner][last]
                last += 1
            end = max(begin, end, last)
            # A space that the tokenizer put before a word itself is said to be its first character.
            added = token == SPACE and after[1] == owner and after[3][0] == begin
            shown = max(begin, last) if added else end
            pieces.append(texts[owner][min(last, shown) : shown])
            spans.append((begin, end))
            words.append(-1 if word is None else word)
            ends[owner] = shown
        takes_types = "token_type_ids" in self.tokenizer.model_input_names
        return Encoded(
            tuple(window.ids),
            tuple(window.type_ids) if takes_types else None,
            tuple(pieces),
            fields,
            tuple(spans),
            tuple(words),
            dropped,
        )

    def nothing(self, like: Encoded) -> Encoded:
        """A text of one filler, where a model that adds no special tokens is left with none."""
        types = None if like.types is None else (0,)
        return Encoded((self._pad,), types, ("",), (NO_FIELD,), ((0, 0),), (-1,))

    # Tokens to arrays.

    def batch(self, inquiries: Sequence[Inquiry]) -> EncoderBatch:
        """Texts as one batch, and what is asked about each."""
        texts = [one.text for one in inquiries]
        size = (len(texts), max(len(text.ids) for text in texts))
        wide = (len(texts), max(1, *(len(one.rows) for one in inquiries)))
        typed = texts[0].types is not None
        allowed = any(one.allowed is not None for one in inquiries)
        batch = EncoderBatch(
            token_ids=np.full(size, self._pad, np.int64),
            padding_mask=np.zeros(size, bool),
            token_types=np.zeros(size, np.int64) if typed else None,
            rows=np.zeros(wide, np.int64),
            targets=np.zeros(wide, np.int64),
            target_mask=np.zeros(wide, np.float32),
            allowed=np.zeros(size, bool) if allowed else None,
        )
        for row, one in enumerate(inquiries):
            length, asked = len(one.text.ids), len(one.rows)
            batch.token_ids[row, :length] = one.text.ids
            batch.padding_mask[row, :length] = True
            if batch.token_types is not None and one.text.types is not None:
                batch.token_types[row, :length] = one.text.types
            batch.rows[row, :asked] = one.rows
            batch.targets[row, :asked] = one.targets
            batch.target_mask[row, :asked] = one.weights
            if batch.allowed is not None and one.allowed is not None:
                batch.allowed[row, :length] = one.allowed
        return batch

    def in_batches(self, lengths: Sequence[int], tokens: int | None = None) -> Iterator[list[int]]:
        """Numbers of texts that go through the model together, of similar length.

        A batch holds `tokens` padded tokens at most (default: TOKENS_PER_BATCH), but one text.
        """
        group: list[int] = []
        for place in sorted(range(len(lengths)), key=lambda place: lengths[place]):
            full = (len(group) + 1) * lengths[place] > (tokens or TOKENS_PER_BATCH)
            # Padding costs what text costs, and a pass without any is faster still.
            longest = lengths[group[0]] * PADDING_WORTH if group and self.pads else 0
            if group and (full or lengths[place] > max(longest, lengths[group[0]])):
                yield group
                group = []
            group.append(place)
        if group:
            yield group

    def run(self, texts: Sequence[Encoded], **wanted: bool) -> Iterator[tuple[list[int], Any, Any]]:
        """The model's own output for texts, a batch at a time.

        Args:
            texts: Any number, of any lengths.
            wanted: What the model is asked to return beside logits: `output_hidden_states`.

        Yields: the numbers of the texts, their batch, and the output.

        """
        for group in self.in_batches([len(text.ids) for text in texts]):
            batch = self.batch([Inquiry(texts[place], (), (), (), ()) for place in group])
            part = first_row.alone(None if wanted else self._behind)
            with self.lock, torch.no_grad(), part:
                output = self._run(batch, **wanted)
            yield group, batch, output

    @contextlib.contextmanager
    def eager(self) -> Iterator[None]:
        """Within the context, attention is computed in the open, so that it can be returned."""
        with self.lock:
            before = self.model.config._attn_implementation
            self.model.set_attn_implementation("eager")
            try:
                yield
            finally:
                self.model.set_attn_implementation(before)

    # The cut.

    def _behind_attention(self) -> torch.nn.Module | None:
        """What may be given the first row alone, because the model then says just the same."""
        module = first_row.behind_attention(self.model) if self.reads_first_row else None
        if module is None:
            return None
        [text] = self.encode(self.sample)
        batch = self.batch([Inquiry(text, (0,), (0,), ("",), (0,))])
        with self.lock, torch.no_grad():
            whole = self.choices(self._run(batch), batch)
            try:
                with first_row.alone(module):
                    part = self.choices(self._run(batch), batch)
            except Exception:  # a head that cannot do with one row
                return None
        same = part.shape == whole.shape and self._differ_by_rounding(part, whole)
        return module if same else None

    @staticmethod
    def _differ_by_rounding(one: torch.Tensor, other: torch.Tensor) -> bool:
        rounding = max(1e-4, 4 * torch.finfo(one.dtype).eps)
        return bool((one - other).abs().max() <= rounding * one.abs().max())

    def _padding_is_nothing(self) -> bool:
        """Whether the model answers the same with padding behind a text.

        FNet, ConvBERT and XLNet do not, although it is masked.
        """
        [text] = self.encode(self.sample)
        batch = self.batch([Inquiry(text, (0,), (0,), ("",), (0,))])
        room = min(PADDING_TRIED, self.max_length - len(text.ids))
        if room <= 0:
            return False
        behind = ((0, 0), (0, room))
        padded = replace(
            batch,
            token_ids=np.pad(batch.token_ids, behind, constant_values=self._pad),
            padding_mask=np.pad(batch.padding_mask, behind),
            token_types=None if batch.token_types is None else np.pad(batch.token_types, behind),
        )
        with self.lock, torch.no_grad():
            alone = self.choices(self._run(batch), batch)
            other = self.choices(self._run(padded), padded)[..., : alone.shape[-1]]
        return self._differ_by_rounding(alone, other)

    def check_cut(self) -> None:
        """Raises SourceError unless the model, cut at its embeddings, is still the same model.

        Explanations are gradients there: where a model also gets the text some other way, they
        would look plausible and be wrong. Costs three passes over a few tokens.
        """
        [text] = self.encode(self.sample)
        batch = self.batch(
            [Inquiry(text, (0,), (0,), ("",), (0,), allowed=np.ones(len(text.ids), bool))]
        )
        with self.lock, torch.no_grad():
            features = self.features(batch)
            whole = self.choices(self._run(batch), batch)
            cut = self.logits(features, batch)
            blind = self.logits(features * 0, batch)
        if not torch.isfinite(whole).all():
            raise SourceError(
                f"{self.description}: the model answers with numbers that are not finite. The "
                "weights are damaged, or dtype is too narrow for them: try dtype=float32."
            )
        if (cut - whole).abs().max() > 1e-2 * whole.abs().max() or torch.equal(blind, cut):
            raise SourceError(
                f"{self.description}: this model does not get everything from its token "
                "embeddings once, so its embedding gradients would not explain it. It cannot be "
                "served."
            )


def _max_length(model: Any, tokenizer: Any, options: ModelOptions) -> int:
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    known = [int(limit) for limit in limits if limit is not None and 0 < limit < 10**9]
    context = min(known, default=None)
    # RoBERTa's positions begin behind the one of the padding.
    for name, module in model.named_modules():
        if (
            context
            and name.endswith("position_embeddings")
            and isinstance(module, torch.nn.Embedding)
        ):
            taken = 0 if module.padding_idx is None else module.padding_idx + 1
            context = min(context, module.num_embeddings - taken)
    return max_length(options, context, DEFAULT_MAX_LENGTH)


def _labels(config: Any) -> tuple[str, ...]:
    names = {int(number): str(name) for number, name in (config.id2label or {}).items()}
    return tuple(names.get(number, f"LABEL_{number}") for number in range(config.num_labels))


def _check_text(name: str, text: Any) -> None:
    """Raise InputError for what is no text, or too much of it."""
    if not isinstance(text, str):
        raise InputError(f"{name} must be text. Got {type(text).__name__}: {text!r:.60}.")
    if len(text) > MAX_CHARACTERS:
        raise InputError(
            f"{name} has {len(text):,} characters; at most {MAX_CHARACTERS:,} are read. Shorten it."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise InputError(
            f"{name} holds half a surrogate pair at character {error.start}, which is no "
            "character. Remove it."
        ) from None
