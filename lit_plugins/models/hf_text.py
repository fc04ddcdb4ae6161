"""Hugging Face causal language models, on torch."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from lit_plugins.backends.torch_backend import TorchBackend
from lit_plugins.errors import SourceError
from lit_plugins.models import hf_loading
from lit_plugins.models.hf_tokenizer import HFTokenizer
from lit_plugins.models.language_model import Batch, LanguageModel
from lit_plugins.sources import ModelOptions


class HFCausalLM(LanguageModel):
    """A `transformers` causal language model and its tokenizer, already loaded.

    The model is put into evaluation mode and its parameters are frozen.
    """

    packages = ("torch", "transformers")

    def __init__(
        self, model: Any, tokenizer: Any, options: ModelOptions, description: str = "model"
    ):
        self.model = model.eval().requires_grad_(False)
        self._embed = model.get_input_embeddings()
        self._head = model.get_output_embeddings()
        if self._head is None:
            raise SourceError(
                f"{description}: the model has no output embeddings to read logits from. "
                "Expected a causal language model."
            )
        self._takes_positions = "position_ids" in inspect.signature(model.forward).parameters
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None)
        super().__init__(
            TorchBackend(),
            HFTokenizer(tokenizer, _stops(model, tokenizer)),
            options,
            context if isinstance(context, int) and context > 0 else None,
            int(self._embed.weight.shape[0]),
            description,
        )
        self.check_cut()

    @property
    def on_cpu(self) -> bool:
        """See LanguageModel."""
        return self.model.device.type == "cpu"

    def features(self, batch: Batch) -> torch.Tensor:
        """See LanguageModel."""
        with torch.no_grad():
            return self._embed(self._tensor(batch.token_ids))

    def logits(self, features: torch.Tensor, batch: Batch) -> torch.Tensor:
        """See LanguageModel."""
        return self._rows(batch, inputs_embeds=features)

    def logits_of_ids(self, batch: Batch) -> torch.Tensor:
        """See LanguageModel."""
        return self._rows(batch, input_ids=self._tensor(batch.token_ids))

    def remember(self, ids: Sequence[int]) -> Any | None:
        """See LanguageModel: keys and values of each layer, (1, heads, tokens, dim)."""
        # Without the model's config: a sliding layer would forget what is outside its window.
        cache = transformers.DynamicCache()
        with torch.no_grad(), _head_sees(self._head, lambda states: states[:, :1]):
            made = self.model(
                input_ids=self._tensor([list(ids)]), use_cache=True, past_key_values=cache
            )
        kept = getattr(made, "past_key_values", None)
        if not isinstance(kept, transformers.DynamicCache):
            return None
        each: list[Any] = list(kept.layers)
        layers = [(layer.keys, layer.values) for layer in each]
        whole = all(keys is not None and keys.shape[-2] == len(ids) for keys, _ in layers)
        return layers if whole and layers else None

    def logits_after(self, remembered: Any, start: int, batch: Batch) -> torch.Tensor:
        """See LanguageModel."""
        cache = transformers.DynamicCache()
        for number, (keys, values) in enumerate(remembered):
            cache.update(keys[..., :start, :], values[..., :start, :], number)
        rows = self._tensor(batch.rows - start)

        with _head_sees(self._head, functools.partial(_at_rows, rows)):
            return self.model(
                input_ids=self._tensor(batch.token_ids[:, start:]),
                use_cache=True,
                past_key_values=cache,
            ).logits

    def final_states(self, batch: Batch) -> torch.Tensor:
        """See LanguageModel."""
        seen = []

        def keep_one_row(states: torch.Tensor) -> torch.Tensor:
            seen.append(states)
            return states[:, :1]

        with _head_sees(self._head, keep_one_row):
            self._forward(batch, input_ids=self._tensor(batch.token_ids))
        return seen[0]

    def _rows(self, batch: Batch, **inputs: torch.Tensor) -> torch.Tensor:
        rows = self._tensor(batch.rows)
        tokens = batch.token_ids.shape[1]
        pick_rows = functools.partial(_at_rows, rows)
        # Projecting onto the vocabulary is most of a small model's work (262,144 rows for
        # Gemma 3): it is done where a target token is predicted, and nowhere else.
        with _head_sees(self._head, pick_rows):
            logits = self._forward(batch, **inputs)
        if logits.shape[1] != rows.shape[1] and logits.shape[1] == tokens:
            return pick_rows(logits)
        return logits

    def _forward(self, batch: Batch, **inputs: torch.Tensor) -> torch.Tensor:
        if not batch.padding_mask.all():
            inputs["attention_mask"] = self._tensor(batch.padding_mask)
            if not batch.padding_mask[:, 0].all() and self._takes_positions:
                places = np.maximum(batch.padding_mask.cumsum(1) - 1, 0)
                inputs["position_ids"] = self._tensor(places)
        return self.model(**inputs, use_cache=False).logits

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.as_tensor(values, device=self.model.device).long()

    def complete(
        self, prompts: Sequence[Sequence[int]], options: ModelOptions, done: Callable
    ) -> list[list[int]]:
        """See LanguageModel."""
        length = max(map(len, prompts))
        pad = next(iter(sorted(self.tokenizer.stops)), 0)
        ids = self._tensor([[pad] * (length - len(ids)) + list(ids) for ids in prompts])
        mask = self._tensor([[0] * (length - len(ids)) + [1] * len(ids) for ids in prompts])
        sampling: dict[str, Any] = {"do_sample": options.temperature > 0}
        if sampling["do_sample"]:
            sampling |= {"temperature": options.temperature, "top_p": options.top_p, "top_k": 0}
        settings = transformers.GenerationConfig(
            max_new_tokens=options.max_new_tokens,
            eos_token_id=sorted(self.tokenizer.stops) or None,
            pad_token_id=pad,
            **sampling,
        )

        class Stop(transformers.StoppingCriteria):
            def __call__(self, input_ids: torch.Tensor, scores: Any, **_: Any) -> torch.Tensor:
                new = input_ids[:, length:].tolist()
                return torch.tensor([done(row) for row in new], device=input_ids.device)

        stopping = transformers.StoppingCriteriaList([Stop()] if options.stop else [])
        with (
            torch.no_grad(),
            _generation_defaults(self.model),
            torch.random.fork_rng(enabled=settings.do_sample),
        ):
            if settings.do_sample:
                torch.manual_seed(options.seed)
            output = self.model.generate(
                input_ids=ids,
                attention_mask=mask,
                generation_config=settings,
                stopping_criteria=stopping,
            )
        return output[:, length:].tolist()


def _at_rows(rows: torch.Tensor, states: torch.Tensor) -> torch.Tensor:
    """States (batch, tokens, dim) at rows (batch, rows)."""
    return states.gather(1, rows.unsqueeze(-1).expand(-1, -1, states.shape[-1]))


@contextlib.contextmanager
def _head_sees(head: torch.nn.Module, change: Callable) -> Iterator[None]:
    """Within the context, the vocabulary projection gets `change(states)` for its states."""
    handle = head.register_forward_pre_hook(lambda _, args: (change(args[0]), *args[1:]))
    try:
        yield
    finally:
        handle.remove()


@contextlib.contextmanager
def _generation_defaults(model: Any) -> Iterator[None]:
    """Within the context, the checkpoint's own sampling settings do not apply.

    `generate` fills whatever a caller leaves open from them (repetition penalty, temperature),
    so that "greedy" would not be greedy.
    """
    own = model.generation_config
    model.generation_config = transformers.GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _stops(model: Any, tokenizer: Any) -> frozenset[int]:
    configured = getattr(model.generation_config, "eos_token_id", None)
    listed = configured if isinstance(configured, list) else [configured]
    return frozenset(token for token in (*listed, tokenizer.eos_token_id) if token is not None)


def load(path: str, options: ModelOptions, description: str) -> HFCausalLM:
    """Loads a causal language model from a local folder or a hub id.

    Raises SourceError when it cannot be loaded, or is not a causal language model.
    """
    _check_task(hf_loading.config_of(path, options, description), description)
    auto, what = transformers.AutoModelForCausalLM, "causal language model"
    model, tokenizer = hf_loading.load(auto, path, options, description, what)
    return HFCausalLM(model, tokenizer, options, description)


def _check_task(config: Any, description: str) -> None:
    mapping = transformers.models.auto.modeling_auto.MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
    classes = config.architectures or []
    known = mapping.get(config.model_type)
    remote = "AutoModelForCausalLM" in (getattr(config, "auto_map", None) or {})
    names = {known} if isinstance(known, str) else set(known or ())
    if remote or (names and (not classes or names & set(classes))):
        return
    raise SourceError(
        f"{description} is a {classes[0] if classes else config.model_type}, "
        "not a causal language model. Expected an architecture such as LlamaForCausalLM."
    )
