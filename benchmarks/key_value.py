"""A language model that looks values up: where each of its answers comes from is known.

Prompts are `a v w ; b x ; … ? a` and the answer `v w`: keys with values of one or two tokens, in
random order, and one of the keys asked for. A tiny Llama (RMS norms, rotary positions) learns it
from scratch and is explained through `Explainer`, as any other model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import tokenizers
import torch
import transformers
from tokenizers import decoders, models, pre_tokenizers

from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.methods import METHODS
from lit_plugins.models.hf_text import HFCausalLM
from lit_plugins.sources import ModelOptions

KEYS, VALUES = 12, 24
PAIRS = (3, 5)
QUERIES = 4  # a training text, so that more of its tokens teach something
MARKS = ["<pad>", "<bos>", "<eos>", "<unk>", "▁;", "▁?"]
WORDS = [*MARKS, *(f"▁k{n}" for n in range(KEYS)), *(f"▁v{n}" for n in range(VALUES))]
IDS = {word: place for place, word in enumerate(WORDS)}
FIRST_VALUE = len(MARKS) + KEYS
TOKEN_DROPOUT, PLAIN_STEPS = 0.03, 600


@dataclass(frozen=True)
class Lookup:
    """A question, its answer, and where the answer is.

    `pairs` are the prompt's pairs as (key, value tokens); `asked` is the pair asked for. Places are
    those of tokens, `<bos>` being 0.
    """

    pairs: tuple[tuple[str, tuple[str, ...]], ...]
    asked: int

    @property
    def prompt(self) -> str:
        parts = [f"{key} {' '.join(value)} ;" for key, value in self.pairs]
        return f"{' '.join(parts)} ? {self.pairs[self.asked][0]}"

    @property
    def value(self) -> tuple[str, ...]:
        return self.pairs[self.asked][1]

    @property
    def target(self) -> str:
        return "".join(f" {word}" for word in self.value)

    def key_place(self, pair: int) -> int:
        return 1 + sum(len(value) + 2 for _, value in self.pairs[:pair])

    def value_places(self, pair: int) -> list[int]:
        first = self.key_place(pair) + 1
        return list(range(first, first + len(self.pairs[pair][1])))

    @property
    def context(self) -> int:
        """How many tokens are before the question mark."""
        return self.key_place(len(self.pairs))


def make_lookups(count: int, seed: int, length: int | None = None) -> list[Lookup]:
    """Questions with different values; `length` tokens in the value asked for, if given."""
    random = np.random.default_rng(seed)
    made: list[Lookup] = []
    while len(made) < count:
        pairs = random.integers(PAIRS[0], PAIRS[1] + 1)
        keys = random.permutation(KEYS)[:pairs]
        # No value token twice: else the source would not be known.
        values = iter(random.permutation(VALUES).tolist())
        lengths = random.integers(1, 3, pairs)
        asked = int(random.integers(pairs))
        if length and lengths[asked] != length:
            continue
        table = [
            (f"k{key}", tuple(f"v{next(values)}" for _ in range(size)))
            for key, size in zip(keys, lengths, strict=True)
        ]
        made.append(Lookup(tuple(table), asked))
    return made


def tokenizer() -> transformers.PreTrainedTokenizerFast:
    """Words are tokens."""
    made = tokenizers.Tokenizer(models.WordLevel(IDS, unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Metaspace()
    made.post_processor = tokenizers.processors.TemplateProcessing(
        single="<bos> $A", special_tokens=[("<bos>", IDS["<bos>"])]
    )
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=made,
        bos_token="<bos>",
        eos_token="<eos>",
        pad_token="<pad>",
        unk_token="<unk>",
    )


def train(seed: int, steps: int = 1800, batch: int = 32, rate: float = 3e-3) -> HFCausalLM:
    """A Llama of two layers; ends once it is right on what it has not seen.

    Later, some tokens are `<unk>`: the model learns what stands for nothing.
    """
    torch.manual_seed(seed)
    config = transformers.LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=128,
        # Short texts and small dimensions: with the usual values, learning takes far longer.
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
        initializer_range=0.1,
        bos_token_id=IDS["<bos>"],
        eos_token_id=IDS["<eos>"],
        pad_token_id=IDS["<pad>"],
    )
    module = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    optimizer = torch.optim.AdamW(
        module.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.01
    )
    random = np.random.default_rng(seed)
    check = make_lookups(200, 7000 + seed)
    for step in range(steps):
        ids, asked = training_batch(batch, random)
        dropped = torch.rand(ids.shape) < TOKEN_DROPOUT * (step >= PLAIN_STEPS)
        logits = module(torch.where(dropped, IDS["<unk>"], ids), use_cache=False).logits
        losses = torch.nn.functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none"
        )
        loss = losses[asked[:, 1:]].mean()
        for group in optimizer.param_groups:
            group["lr"] = rate * min(1.0, (step + 1) / 50, 2 * (1 - step / steps))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        optimizer.step()
        if step > PLAIN_STEPS + 300 and step % 100 == 99 and accuracy(module, check) == 1.0:
            break
    return HFCausalLM(
        module,
        tokenizer(),
        ModelOptions(max_explanation_seconds=1e6, max_new_tokens=4),
        "key-value Llama",
    )


def training_batch(count: int, random: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Token ids (batch, tokens), padded, and where an answer stands."""
    rows = []
    for lookup in make_lookups(count, int(random.integers(2**31))):
        words = ["<bos>", *(f"▁{word}" for word in lookup.prompt.split()[: lookup.context - 1])]
        asked = [False] * len(words)
        for pair in random.permutation(len(lookup.pairs))[:QUERIES]:
            key, value = lookup.pairs[pair]
            # What ends the value is asked for as well.
            words += ["▁?", f"▁{key}", *(f"▁{word}" for word in value), "▁;"]
            asked += [False] * 2 + [True] * (len(value) + 1)
        rows.append((words, asked))
    longest = max(len(words) for words, _ in rows)
    ids = torch.full((count, longest), IDS["<pad>"])
    marks = torch.zeros(count, longest, dtype=torch.bool)
    for row, (words, asked) in enumerate(rows):
        ids[row, : len(words)] = torch.tensor([IDS[word] for word in words])
        marks[row, : len(words)] = torch.tensor(asked)
    return ids, marks


def accuracy(module: Any, lookups: list[Lookup]) -> float:
    """The share of answers of which every token is the likeliest."""
    right = []
    for size in {len(lookup.prompt.split()) + len(lookup.value) for lookup in lookups}:
        group = [one for one in lookups if len(one.prompt.split()) + len(one.value) == size]
        words = [["<bos>", *(f"▁{word}" for word in (one.prompt + one.target).split())]
                 for one in group]  # fmt: skip
        ids = torch.tensor([[IDS[word] for word in row] for row in words])
        module.eval()
        with torch.no_grad():
            best = module(ids, use_cache=False).logits.argmax(-1)
        module.train()
        for row, one in enumerate(group):
            answer = len(one.value)
            right.append(bool((best[row, -answer - 1 : -1] == ids[row, -answer:]).all()))
    return float(np.mean(right))


# What the strongest token is, for either token of the answer. Candidates are the pairs' tokens, the
# question left out; `anywhere` has no such limit, and takes the key asked for and the answer's own
# first token (which the second is looked up by) for right as well.
SOURCES = ("value", "value 1", "value 2", "value or key", "anywhere")
# Against the value of another key: the strongest for and against, of the pairs' tokens; the same of
# two tokens against two.
CONTRASTS = ("for", "against", "for, two tokens", "against, two tokens")


def sources(
    explainer: Explainer, lookups: list[Lookup], name: str, given: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """For each way of ranking, the share of SOURCES that are right; `each` token explained."""
    options = given | ({} if METHODS[name].by_position else {"segment": "token"})
    right: dict[str, list[list[float]]] = {}
    for one in lookups:
        made = explainer.explain(one.prompt, one.target, method=name, each=True, **options)
        signed, size = made.per_token(), np.abs(made.per_token())
        ways = {"signed": signed, "absolute": size} if made.signed else {"size": signed}
        for way, scores in ways.items():
            right.setdefault(way, []).append(_right(one, scores))
    return {
        way: dict(zip(SOURCES, np.mean(all_right, axis=0).tolist(), strict=True))
        for way, all_right in right.items()
    }


def _right(one: Lookup, scores: np.ndarray) -> list[float]:
    """Scores (2, tokens): see SOURCES."""
    key, values = one.key_place(one.asked), one.value_places(one.asked)
    query, answer = one.context + 1, one.context + 2
    first, second = (int(row[1 : one.context].argmax()) + 1 for row in scores)
    value = first == values[0], second == values[1]
    pair = first in (key, values[0]), second in (key, *values)
    # What explains a token stands before it: the rest of a row is 0, or not there.
    free = int(scores[0, :answer].argmax()), int(scores[1, : answer + 1].argmax())
    anywhere = free[0] in (key, query, values[0]), free[1] in (key, query, *values, answer)
    return [np.mean(value), *map(float, value), np.mean(pair), np.mean(anywhere)]


def contrasts(
    explainer: Explainer, lookups: list[Lookup], name: str, given: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """For the scores themselves, the share of CONTRASTS that are right."""
    options = given | ({} if METHODS[name].by_position else {"segment": "token"})
    right: dict[int, list[tuple[float, float]]] = {1: [], 2: []}
    for one in lookups:
        others = [pair for pair in range(len(one.pairs)) if pair != one.asked]
        for size, found in right.items():
            foils = [pair for pair in others if len(one.pairs[pair][1]) >= size]
            if not foils:
                continue
            foil = " " + " ".join(one.pairs[foils[0]][1][:size])
            answer = one.context + 2
            made = explainer.explain(
                one.prompt, one.target, (answer, answer + size), method=name, foil=foil, **options
            )
            scores = made.per_token()[1 : one.context]
            mine, theirs = (one.value_places(pair)[:size] for pair in (one.asked, foils[0]))
            against = float(int(scores.argmin()) + 1 in theirs) if made.signed else np.nan
            found.append((float(int(scores.argmax()) + 1 in mine), against))
    shares = [share for found in right.values() for share in np.mean(found, axis=0)]
    way = "signed" if METHODS[name].signed else "size"
    return {way: dict(zip(CONTRASTS, map(float, shares), strict=True))}
