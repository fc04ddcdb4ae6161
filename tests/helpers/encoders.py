"""Tiny random encoders with each kind of head, and a WordPiece tokenizer; no download."""

from __future__ import annotations

import functools
from typing import Any

import tokenizers
import torch
import transformers
from tokenizers import models, normalizers, pre_tokenizers, processors

from lit_plugins.models.hf_answers import HFQuestionAnswerer
from lit_plugins.models.hf_sequence import HFSequenceClassifier
from lit_plugins.models.hf_tokens import HFTokenClassifier
from lit_plugins.models.hf_zero_shot import HFZeroShotClassifier
from lit_plugins.sources import ModelOptions

SENTENCE = "we visit paris last week where ada lives in oslo with two dogs and a cat"
WORDS = [*SENTENCE.split(), "is"]
PIECES = ["##ed", "##end", "##s", "##n", "##o", "##b", *(f"##{one}" for one in "adeilrtuvwxyz")]
LETTERS = [*"abcdefghijklmnopqrstuvwxyz", *".,?!'-😀"]


@functools.cache
def tokenizer() -> Any:
    """WordPiece as BERT's, lower case."""
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *PIECES, *LETTERS]
    ids = {piece: place for place, piece in enumerate(dict.fromkeys(vocabulary))}
    made = tokenizers.Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "token_type_ids", "attention_mask"],
        model_max_length=64,
    )


@functools.cache
def bert(head: str, labels: tuple[str, ...] = ("a", "b"), problem: str | None = None) -> Any:
    """A BERT with random weights large enough that inputs matter."""
    config = transformers.BertConfig(
        vocab_size=len(tokenizer()),
        hidden_size=24,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=40,
        max_position_embeddings=64,
        initializer_range=0.3,
        id2label=dict(enumerate(labels)),
        label2id={name: place for place, name in enumerate(labels)},
        problem_type=problem,
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        return getattr(transformers, f"BertFor{head}")(config).eval()


def classifier(
    labels: tuple[str, ...] = ("NEGATIVE", "POSITIVE", "MIXED"),
    problem: str | None = None,
    fields: tuple[str, ...] = ("text",),
    **options: Any,
) -> HFSequenceClassifier:
    model = bert("SequenceClassification", labels, problem)
    return HFSequenceClassifier(model, tokenizer(), ModelOptions(**options), "tiny", fields)


def zero_shot(**options: Any) -> HFZeroShotClassifier:
    model = bert("SequenceClassification", ("contradiction", "neutral", "entailment"))
    return HFZeroShotClassifier(model, tokenizer(), ModelOptions(**options), "tiny")


def tagger(**options: Any) -> HFTokenClassifier:
    model = bert("TokenClassification", ("O", "B-PER", "I-PER", "B-CITY", "I-CITY"))
    return HFTokenClassifier(model, tokenizer(), ModelOptions(**options), "tiny")


def answerer(**options: Any) -> HFQuestionAnswerer:
    return HFQuestionAnswerer(
        bert("QuestionAnswering"), tokenizer(), ModelOptions(**options), "tiny"
    )
