"""Tiny random encoders of every family under test, each with a tokenizer of its kind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors, trainers

from lit_plugins.models.hf_answers import HFQuestionAnswerer
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.models.hf_tokens import HFTokenClassifier
from lit_plugins.sources import ModelOptions

CORPUS = [
    "the film was wonderful, with a charming cast and an unforgettable ending.",
    "a dull plot: nobody cared, and the acting was terrible!",
    "Ada Lovelace lived in London. Where does Ada live? In Lisbon, with two dogs.",
    "The naïve café in Zürich and the old man in 東京 said: שלום עולם, مرحبا بالعالم.",
]
IDS = ["input_ids", "attention_mask"]
TYPED = [*IDS, "token_type_ids"]


def _tokenizer(made, single, pair, names, special, **settings):
    """A tokenizer that puts special tokens around its texts."""
    if single is not None:
        made.post_processor = processors.TemplateProcessing(
            single=single,
            pair=pair,
            special_tokens=[(token, made.token_to_id(token)) for token in special.values()],
        )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made, model_input_names=names, **special, **settings
    )


def _bert_tokens():
    return {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}


# By hand, because what is trained on so little differs from run to run.
WORDS = ["the", "film", "was", "a", "with", "and", "charm", "dull", "plot", "nobody", "ada", "in"]
ENDINGS = ["ing", "ful", "wonder", "er", "ed", "lace", "cast", "end", "on"]
CHARACTERS = sorted({one for text in CORPUS for one in text.lower() if one > " "} - {"東", "京"})


def wordpiece(names=TYPED):
    """WordPiece in lower case, as BERT's."""
    special = _bert_tokens()
    pieces = [*special.values(), *WORDS, *ENDINGS, *CHARACTERS]
    pieces += [f"##{piece}" for piece in (*ENDINGS, *CHARACTERS)]
    vocabulary = {piece: place for place, piece in enumerate(dict.fromkeys(pieces))}
    made = tokenizers.Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.decoder = decoders.WordPiece()
    return _tokenizer(made, "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", names, special)


def _byte_level(special):
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = decoders.ByteLevel()
    made.train_from_iterator(
        CORPUS,
        trainers.BpeTrainer(
            vocab_size=330,
            special_tokens=list(dict.fromkeys(special.values())),
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
            show_progress=False,
        ),
    )
    return made


def roberta_bpe():
    """Byte-level BPE as RoBERTa's: padding is token 1, and two separators between texts."""
    special = {
        "cls_token": "<s>",
        "pad_token": "<pad>",
        "sep_token": "</s>",
        "unk_token": "<unk>",
        "mask_token": "<mask>",
    }
    made = _byte_level(special)
    ids = [(token, made.token_to_id(token)) for token in ("</s>", "<s>")]
    made.post_processor = processors.RobertaProcessing(*ids, trim_offsets=True)
    return _tokenizer(made, None, None, IDS, special)


def modernbert_bpe():
    """Byte-level BPE with BERT's special tokens."""
    special = _bert_tokens()
    return _tokenizer(
        _byte_level(special), "[CLS] $A [SEP]", "[CLS] $A [SEP] $B [SEP]", IDS, special
    )


def gpt2_bpe():
    """Byte-level BPE without padding, and with nothing around a text."""
    special = {"eos_token": "<|endoftext|>", "unk_token": "<|endoftext|>"}
    return _tokenizer(_byte_level(special), None, None, IDS, special)


def _unigram(special, unknown):
    pieces = [(token, 0.0) for token in special.values()]
    pieces += [(f"▁{word}", -4.0) for word in WORDS] + [(ending, -5.0) for ending in ENDINGS]
    pieces += [(one, -7.0) for one in ["▁", "T", "A", *CHARACTERS]]
    unk = list(special.values()).index(unknown)
    made = tokenizers.Tokenizer(models.Unigram(pieces, unk_id=unk, byte_fallback=False))
    made.normalizer = normalizers.NFKC()
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    return made


def unigram():
    """SentencePiece's unigrams with BERT's special tokens, as ALBERT's and DeBERTa's."""
    special = _bert_tokens()
    return _tokenizer(
        _unigram(special, "[UNK]"), "[CLS] $A [SEP]", "[CLS] $A [SEP] $B:1 [SEP]:1", TYPED, special
    )


def xlnet_unigram():
    """SentencePiece's unigrams as XLNet's: special tokens at the end, padding in front."""
    special = {
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "cls_token": "<cls>",
        "sep_token": "<sep>",
        "mask_token": "<mask>",
    }
    return _tokenizer(
        _unigram(special, "<unk>"),
        "$A <sep> <cls>:2",
        "$A <sep> $B:1 <sep>:1 <cls>:2",
        TYPED,
        special,
        padding_side="left",
    )


_SIZES: dict[str, Any] = {
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 96,
    "type_vocab_size": 2,
}
BOTH = ("sdpa", "eager")


@dataclass(frozen=True)
class Family:
    """A row of the table: config class, its sizes, tokenizer, attentions, and baselines to try."""

    config: type
    sizes: dict[str, Any]
    tokenizer: Callable[[], Any]
    attentions: tuple[str, ...] = BOTH
    baselines: tuple[str, ...] = ("pad", "mask", "zero")
    scale: float = 6.0


FAMILIES: dict[str, Family] = {
    "bert": Family(transformers.BertConfig, _SIZES, wordpiece),
    "distilbert": Family(
        transformers.DistilBertConfig,
        {"dim": 16, "hidden_dim": 20, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 96},
        lambda: wordpiece(IDS),
    ),
    # Its positions begin at 2.
    "roberta": Family(
        transformers.RobertaConfig,
        _SIZES | {"type_vocab_size": 1, "max_position_embeddings": 98, "pad_token_id": 1},
        roberta_bpe,
    ),
    "electra": Family(
        transformers.ElectraConfig, _SIZES | {"embedding_size": 12}, wordpiece, scale=10.0
    ),
    "deberta-v2": Family(
        transformers.DebertaV2Config,
        _SIZES
        | {
            "type_vocab_size": 0,
            "relative_attention": True,
            "position_buckets": 8,
            "pos_att_type": ["p2c", "c2p"],
            "norm_rel_ebd": "layer_norm",
            "share_att_key": True,
            "position_biased_input": False,
        },
        unigram,
        attentions=("eager",),
        scale=20.0,
    ),
    "albert": Family(transformers.AlbertConfig, _SIZES | {"embedding_size": 12}, unigram),
    "xlnet": Family(
        transformers.XLNetConfig,
        {"d_model": 16, "n_layer": 2, "n_head": 2, "d_inner": 20},
        xlnet_unigram,
        attentions=("eager",),
    ),
    "modernbert": Family(
        transformers.ModernBertConfig,
        {
            "hidden_size": 16,
            "intermediate_size": 20,
            "num_hidden_layers": 4,  # the first and the fourth see everything
            "num_attention_heads": 2,
            "max_position_embeddings": 96,
            "local_attention": 6,
        },
        modernbert_bpe,
        scale=4.0,
    ),
    "gpt2": Family(
        transformers.GPT2Config,
        {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 96},
        gpt2_bpe,
        baselines=("unk", "zero"),
    ),
    # Padding changes what these say, masked or not.
    "fnet": Family(
        transformers.FNetConfig,
        {
            "hidden_size": 16,
            "intermediate_size": 20,
            "num_hidden_layers": 2,
            "max_position_embeddings": 96,
        },
        wordpiece,
        attentions=("eager",),
    ),
    "convbert": Family(
        transformers.ConvBertConfig,
        _SIZES | {"embedding_size": 16, "num_attention_heads": 4},
        wordpiece,
        attentions=("eager",),
    ),
}
VARIANTS = [(name, one) for name, family in FAMILIES.items() for one in family.attentions]
# transformers computes their softmax in float32, where the mask's float64 minimum is infinite.
SINGLE = [("modernbert", "eager")]
HEADS = {
    "sequence": (transformers.AutoModelForSequenceClassification, HFSequenceClassifier),
    "tokens": (transformers.AutoModelForTokenClassification, HFTokenClassifier),
    "answers": (transformers.AutoModelForQuestionAnswering, HFQuestionAnswerer),
}


@functools.cache
def tokenizer_of(family: str) -> Any:
    """The same one for all models of a family."""
    return FAMILIES[family].tokenizer()


def module_of(family: str, attention: str, head: str, **config: Any) -> Any:
    """A random model, in float64, so that what is wrong cannot hide among what is rounded.

    Its weights are larger than usual, so that it says something else of each text.
    """
    row, tokenizer = FAMILIES[family], tokenizer_of(family)
    names = [f"{name}_token_id" for name in ("pad", "bos", "eos", "cls", "sep")]
    given = {name: getattr(tokenizer, name) for name in names}
    given |= {"vocab_size": len(tokenizer), "num_labels": 2 if head == "answers" else 3}
    made = row.config(**given | row.sizes | config)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        module = HEADS[head][0].from_config(made, attn_implementation=attention)
        with torch.no_grad():
            for name, parameter in module.named_parameters():
                if parameter.ndim > 1:
                    parameter.mul_(row.scale)
                elif name.endswith("bias"):
                    parameter.normal_(0, 0.1)
    exact = (family, attention) not in SINGLE
    return module.to(torch.float64 if exact else torch.float32).eval()


def encoder(family: str, attention: str, head: str = "sequence", **given: Any) -> Any:
    """One of our models, loaded; `fields` is its argument, the rest its config's."""
    arguments = {"fields": given.pop("fields")} if "fields" in given else {}
    module = module_of(family, attention, head, **given)
    return HEADS[head][1](module, tokenizer_of(family), ModelOptions(), family, **arguments)
