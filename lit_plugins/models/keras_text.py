"""keras-hub causal language models, on Keras' TensorFlow or torch backend."""

from __future__ import annotations

import contextlib
import difflib
import itertools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_hub
import numpy as np

from lit_plugins.backends import keras_backend, load_backend
from lit_plugins.errors import SourceError
from lit_plugins.models import chat
from lit_plugins.models.hf_tokenizer import HFTokenizer
from lit_plugins.models.language_model import Batch, LanguageModel, Tokenizer
from lit_plugins.models.tokens import Piece, byte_level_piece, sentencepiece_piece
from lit_plugins.sources import ModelOptions

# The template that a family of instruction-tuned presets was trained on.
PRESET_TEMPLATES = {"gemma": chat.GEMMA, "gemma2": chat.GEMMA, "gemma3": chat.GEMMA}


class KerasTokenizer:
    """See `lit_plugins.models.language_model.Tokenizer`."""

    def __init__(self, preprocessor: Any, template: str | None = None):
        self._tokenizer = tokenizer = preprocessor.tokenizer
        start = tokenizer.start_token_id if getattr(preprocessor, "add_start_token", True) else None
        self.start = () if start is None else (int(start),)
        ends = [getattr(tokenizer, name, None) for name in ("end_token_id", "end_token2_id")]
        self.nothing = tuple(int(end) for end in ends if end is not None)[:1]
        self.template = template
        self.template_variables: Mapping[str, str] = {
            "bos_token": getattr(tokenizer, "start_token", None) or "",
            "eos_token": getattr(tokenizer, "end_token", None) or "",
        }
        if template is not None and "<end_of_turn>" in template:
            ends.append(tokenizer.token_to_id("<end_of_turn>"))
        self.stops = frozenset(int(end) for end in ends if end is not None)
        self.fillers: Mapping[str, int] = _fillers(tokenizer)
        self._special = frozenset(int(token) for token in tokenizer.special_token_ids) | self.stops
        sentencepiece = isinstance(tokenizer, keras_hub.tokenizers.SentencePieceTokenizer)
        self._piece = sentencepiece_piece if sentencepiece else byte_level_piece

    def encode(self, text: str) -> list[int]:
        """See Tokenizer."""
        return [int(token) for token in np.asarray(self._tokenizer(text))] if text else []

    def pieces(self, ids: Sequence[int]) -> list[Piece]:
        """See Tokenizer."""
        return [self._one(int(token)) for token in ids]

    def _one(self, token_id: int) -> Piece:
        if token_id >= self._tokenizer.vocabulary_size():
            return Piece(b"")  # vocabularies are padded to a round size
        token = self._tokenizer.id_to_token(token_id)
        token = token.decode() if isinstance(token, bytes) else str(token)
        if token_id in self._special:
            return Piece(token.encode(), special=True)
        return self._piece(token)


class KerasCausalLM(LanguageModel):
    """A `keras_hub.models.CausalLM` with its preprocessor, already loaded.

    The functional graph of the model is cut in three, sharing all layers and weights with it:
    token ids -> embeddings | embeddings -> last hidden states | hidden states -> logits. The model
    itself stays as it was, but for its parameters, which are frozen.
    """

    @property
    def packages(self) -> tuple[str, ...]:
        """See LanguageModel."""
        return ("keras", "keras-hub", self.backend.name)

    def __init__(
        self,
        model: Any,
        options: ModelOptions,
        description: str = "model",
        tokenizer: Tokenizer | None = None,
    ):
        self.model = model
        self._greedy: dict[tuple | None, Callable] = {}  # by stop tokens; sampling is not kept
        backbone = model.backbone
        if tokenizer is None and model.preprocessor is None:
            raise SourceError(
                f"{description}: the model has no preprocessor, so no tokenizer. "
                "Build it with preprocessor=, or load it from a preset."
            )
        self._embed: Any = getattr(backbone, "token_embedding", None)
        try:
            embeddings = _output_of(self._embed, backbone.input["token_ids"])
            hidden = _output_of(backbone, model.input["token_ids"])
            others = {key: value for key, value in backbone.input.items() if key != "token_ids"}
            self._body = keras.Model([embeddings, *others.values()], backbone.output)
            self._head = keras.Model(hidden, model.output)
        except (AttributeError, KeyError, TypeError, ValueError, LookupError) as error:
            raise SourceError(
                f"{description}: {type(model).__name__} cannot be cut after its token embedding "
                f"({type(error).__name__}: {error}). Expected a functional keras-hub CausalLM "
                "whose backbone embeds token_ids with `token_embedding`."
            ) from error
        if set(others) != {"padding_mask"}:
            raise SourceError(
                f"{description}: {type(model).__name__} takes {sorted(others)} beside token_ids. "
                "Expected padding_mask alone: load the model's text-only variant."
            )
        super().__init__(
            load_backend(keras_backend()),
            tokenizer or KerasTokenizer(model.preprocessor),
            options,
            _context(backbone),
            int(backbone.vocabulary_size),
            description,
        )
        model.trainable = False
        self.check_cut()

    def features(self, batch: Batch) -> Any:
        """See LanguageModel."""
        with self.backend.no_grad():
            return self._embed(keras.ops.convert_to_tensor(batch.token_ids))

    def logits(self, features: Any, batch: Batch) -> Any:
        """See LanguageModel."""
        mask = keras.ops.convert_to_tensor(batch.padding_mask)
        return self._at_rows(self._body([features, mask]), batch)

    def logits_of_ids(self, batch: Batch) -> Any:
        """See LanguageModel."""
        return self._at_rows(self.final_states(batch), batch)

    def final_states(self, batch: Batch) -> Any:
        """See LanguageModel."""
        return self.model.backbone(
            {
                "token_ids": keras.ops.convert_to_tensor(batch.token_ids),
                "padding_mask": keras.ops.convert_to_tensor(batch.padding_mask),
            }
        )

    def _at_rows(self, states: Any, batch: Batch) -> Any:
        # Projecting onto the vocabulary is most of a small model's work: only where it counts.
        rows = keras.ops.convert_to_tensor(batch.rows[:, :, None])
        return self._head(keras.ops.take_along_axis(states, rows, axis=1))

    def complete(
        self, prompts: Sequence[Sequence[int]], options: ModelOptions, done: Callable
    ) -> list[list[int]]:
        """See LanguageModel."""
        # keras-hub starts where the shortest prompt ends, and feeds the others token by token.
        made: list[list[int]] = [[] for _ in prompts]
        for length in sorted({len(prompt) for prompt in prompts}):
            places = [place for place, prompt in enumerate(prompts) if len(prompt) == length]
            alike = self._complete_alike([prompts[place] for place in places], options)
            for place, ids in zip(places, alike, strict=True):
                made[place] = ids
        return made

    def _complete_alike(
        self, prompts: Sequence[Sequence[int]], options: ModelOptions
    ) -> list[list[int]]:
        """`complete` for prompts of one length."""
        length = len(prompts[0])
        longest = length + options.max_new_tokens
        # keras-hub takes an end token in the part to be filled for one that it has generated.
        blank = next(token for token in itertools.count() if token not in self._stops(options))
        ids = np.full((len(prompts), longest), blank, np.int32)
        mask = np.zeros((len(prompts), longest), bool)
        ids[:, :length] = prompts
        mask[:, :length] = True
        made = self.backend.to_numpy(
            self._generator(options)(
                keras.ops.convert_to_tensor(ids), keras.ops.convert_to_tensor(mask)
            )
        )
        return made[:, length:].astype(int).tolist()

    def _stops(self, options: ModelOptions) -> tuple[int, ...]:
        """The tokens to stop at; of a longer stop text, the caller cuts off what is left over."""
        alone = [ids[0] for text in options.stop if len(ids := self.tokenizer.encode(text)) == 1]
        return tuple(sorted(self.tokenizer.stops | set(alone)))

    def _generator(self, options: ModelOptions) -> Callable:
        """Token ids and padding mask (batch, tokens) -> token ids, the rest filled in."""
        stops = self._stops(options) or None
        if options.temperature == 0 and stops in self._greedy:
            return self._greedy[stops]
        sampler = (
            keras_hub.samplers.GreedySampler()
            if options.temperature == 0
            else keras_hub.samplers.TopPSampler(
                p=options.top_p, temperature=options.temperature, seed=options.seed
            )
        )

        def step(token_ids: Any, padding_mask: Any) -> Any:
            own, self.model.sampler = self.model.sampler, sampler
            try:
                inputs = {"token_ids": token_ids, "padding_mask": padding_mask}
                with _last_logits_only(self._embed):
                    return self.model.generate_step(inputs, stop_token_ids=stops)["token_ids"]
            finally:
                self.model.sampler = own

        generator = self.backend.compiled(step)
        if options.temperature == 0:
            self._greedy[stops] = generator
        return generator


@contextlib.contextmanager
def _last_logits_only(embedding: Any) -> Iterator[None]:
    """Within the context, the vocabulary is read at the last position only.

    While it fills its cache, keras-hub computes the logits of the whole prompt and throws them
    away: for eight prompts of 300 tokens, Gemma's 262,144 words would take 2.5 GB.
    """
    own = embedding.call

    def call(inputs: Any, reverse: bool = False) -> Any:
        return own(inputs[:, -1:], reverse=True) if reverse else own(inputs)

    embedding.call = call
    try:
        yield
    finally:
        embedding.call = own


def _fillers(tokenizer: Any) -> dict[str, int]:
    found = {name: getattr(tokenizer, f"{name}_token_id", None) for name in ("pad", "mask", "unk")}
    for name in ("mask", "unk"):
        with contextlib.suppress(Exception):  # each tokenizer has its own error for an unknown one
            found[name] = found[name] or tokenizer.token_to_id(f"<{name}>")
    return {name: int(token) for name, token in found.items() if token is not None}


def _output_of(layer: Any, source: Any) -> Any:
    """What a layer made of the symbolic tensor `source`, in the graph that it is part of."""
    for node in layer._inbound_nodes:
        if any(tensor is source for tensor in node.input_tensors):
            return node.output_tensors[0]
    raise LookupError(f"{layer.name} is not called on {source.name}")


def _context(backbone: Any) -> int | None:
    """The longest sequence that the positions of the model reach, None where they have no end."""
    length = getattr(backbone, "max_sequence_length", None)
    return int(length) if isinstance(length, int) else None


def load(path: str, options: ModelOptions, description: str) -> KerasCausalLM:
    """Loads a causal language model from a Keras preset or a folder.

    The folder may be in Keras' or in Hugging Face's format.

    Raises SourceError when it cannot be loaded, or is not a causal language model.
    """
    config = Path(path) / "config.json"
    converted = config.is_file() and "model_type" in json.loads(config.read_text(encoding="utf-8"))
    try:
        model = keras_hub.models.CausalLM.from_preset(path, dtype=options.dtype or "float32")
        if converted:
            _own_epsilon(model.backbone, json.loads(config.read_text(encoding="utf-8")))
            tokenizer: Tokenizer = _own_tokenizer(path)
        else:
            tokenizer = KerasTokenizer(model.preprocessor, _preset_template(path))
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        presets: Any = keras_hub.models.CausalLM.presets
        close = difflib.get_close_matches(path, list(presets), n=2)
        raise SourceError(
            f"{description} cannot be loaded: {lines[0]}"
            + (f" Did you mean {' or '.join(close)}?" if close else "")
        ) from error
    return KerasCausalLM(model, options, description, tokenizer)


def _own_tokenizer(path: str) -> HFTokenizer:
    """The tokenizer of a checkpoint in Hugging Face's format, as it is.

    keras-hub builds its own from it, which splits some texts otherwise (SmolLM2's).
    """
    import transformers

    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    stops = {tokenizer.eos_token_id}
    generation = Path(path) / "generation_config.json"
    if generation.is_file():
        ends = json.loads(generation.read_text(encoding="utf-8")).get("eos_token_id")
        stops |= set(ends if isinstance(ends, list) else [ends])
    return HFTokenizer(tokenizer, frozenset(stop for stop in stops if stop is not None))


def _own_epsilon(backbone: Any, config: Mapping[str, Any]) -> None:
    """Gives the norms the epsilon of the checkpoint.

    keras-hub 0.32 drops it when it converts Llama 3 checkpoints, which moves log-probabilities by
    some hundredths.
    """
    wanted = config.get("rms_norm_eps")
    converted = getattr(backbone, "layer_norm_epsilon", None)
    if wanted is None or converted is None or wanted == converted:
        return
    for layer in backbone._flatten_layers():
        if getattr(layer, "epsilon", None) == converted:
            layer.epsilon = wanted
    backbone.layer_norm_epsilon = wanted


def _preset_template(path: str) -> str | None:
    """The chat template that an instruction-tuned preset's family is known to have."""
    name = path.rstrip("/").rsplit("/", 1)[-1]
    return PRESET_TEMPLATES.get(name.split("_")[0]) if "instruct" in name else None
