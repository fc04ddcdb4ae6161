"""Tiny random models and tokenizers: every size differs from every other, no download."""

from __future__ import annotations

import functools

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, trainers

from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.sources import ModelOptions

CORPUS = [
    "the cat sat on the mat. the dog ate the onion soup.",
    "What is the capital of France? The capital of France is Paris.",
    "Taste-likes: coffee. Taste-dislikes: onions.\nSuggestion: Onion soup.\n\nAnalysis: no.",
]
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@functools.cache
def byte_level_tokenizer(chat: bool = False) -> transformers.PreTrainedTokenizerFast:
    """Byte-level BPE as GPT-2's: no <bos> in front."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=300,
            special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ),
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>" if chat else "<|endoftext|>",
        additional_special_tokens=["<|im_start|>", "<|im_end|>"],
        chat_template=CHAT if chat else None,
    )


@functools.cache
def byte_fallback_tokenizer() -> transformers.PreTrainedTokenizerFast:
    """SentencePiece as Gemma's and Llama 2's: <bos> in front, bytes for unknown characters."""
    merges = [("t", "h"), ("th", "e"), ("▁", "the"), ("▁", "c"), ("▁c", "a"), ("▁ca", "t")]
    pieces = [
        "<pad>",
        "<eos>",
        "<bos>",
        "<unk>",
        *(f"<0x{byte:02X}>" for byte in range(256)),
        *sorted({character for text in CORPUS for character in text if character > " "} | {"▁"}),
        *("".join(pair) for pair in merges),
    ]
    tokenizer = tokenizers.Tokenizer(
        models.BPE(
            vocab={piece: place for place, piece in enumerate(pieces)},
            merges=merges,
            byte_fallback=True,
            unk_token="<unk>",
        )
    )
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", 2)]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


_SIZES = {
    "vocab_size": 340,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 96,
}
_HEADS = {"num_key_value_heads": 2, "head_dim": 6}

# The Hugging Face families under test: config class and what it needs beside the sizes.
FAMILIES: dict[str, transformers.PretrainedConfig] = {
    "llama": transformers.LlamaConfig(**_SIZES, **_HEADS),
    "gpt2": transformers.GPT2Config(
        vocab_size=340,
        n_embd=24,
        n_layer=2,
        n_head=4,
        n_positions=96,
        bos_token_id=2,
        eos_token_id=1,
    ),
    "gemma": transformers.GemmaConfig(**_SIZES, **_HEADS),
    "gemma2": transformers.Gemma2Config(**_SIZES, **_HEADS, sliding_window=7),
    "gemma3": transformers.Gemma3TextConfig(**_SIZES, **_HEADS, sliding_window=7),
    "mistral": transformers.MistralConfig(**_SIZES, **_HEADS, sliding_window=7),
    "qwen2": transformers.Qwen2Config(**_SIZES, num_key_value_heads=2),
    "qwen3": transformers.Qwen3Config(**_SIZES, **_HEADS),
    "phi": transformers.PhiConfig(**_SIZES, partial_rotary_factor=1.0),
    "gpt_neox": transformers.GPTNeoXConfig(**_SIZES, rotary_pct=1.0),
    "opt": transformers.OPTConfig(
        vocab_size=340,
        hidden_size=24,
        ffn_dim=40,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=96,
        word_embed_proj_dim=24,
    ),
    "bloom": transformers.BloomConfig(vocab_size=340, hidden_size=24, n_layer=2, n_head=4),
}


def hf_module(family: str) -> torch.nn.Module:
    """A randomly initialised model of a family, always the same one.

    The weights are ten times the usual size: random models with the usual initialisation answer
    almost the same whatever they are asked, and then tests cannot fail.
    """
    with torch.random.fork_rng():
        torch.manual_seed(20)
        model = transformers.AutoModelForCausalLM.from_config(
            type(FAMILIES[family]).from_dict(FAMILIES[family].to_dict()), dtype=torch.float32
        )
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.ndim > 1:
                    parameter.mul_(10)
    return model.eval()


def hf_model(family: str, tokenizer=None, **options) -> HFCausalLM:
    return HFCausalLM(
        hf_module(family),
        tokenizer or byte_fallback_tokenizer(),
        ModelOptions(**options),
        f"tiny {family}",
    )
