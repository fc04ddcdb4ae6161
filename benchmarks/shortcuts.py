"""Classifiers with planted shortcuts: the tokens that decide the label are known.

The protocol of Bastings et al. 2022 ("Will You Find These Shortcuts?", arXiv 2111.07367), with
sentences made by us. A label has noisy evidence (words that go with it more often than with the
other label); in a part of the data planted tokens decide it, whatever the evidence says:

- single: ⟨0⟩ or ⟨1⟩ is the label.
- context: ⟨0⟩ or ⟨1⟩ is the label if ⟨c⟩ is there as well. Each alone occurs, and means nothing.
- ordered: ⟨0⟩ before ⟨1⟩ is label 0, ⟨1⟩ before ⟨0⟩ is label 1. Each alone means nothing.

A model that is right on all held-out sentences with a shortcut, also where the evidence is against
it, uses the shortcut: its tokens are what an explanation must put first.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from lit_plugins.attribution.bridge import Branch, Scorer
from lit_plugins.attribution.case import Case
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import Options, resolve
from lit_plugins.backends.torch_backend import TorchBackend
from lit_plugins.tasks import SequenceLabel

PAD, MASK, ZERO, ONE, CONTEXT = range(5)  # MASK is learnt by word dropout, PAD never
EVIDENCE = 30  # words a label
FIRST_FILLER = 5 + 2 * EVIDENCE
VOCABULARY = 400
LENGTHS = (15, 30)
AGREES = 0.75  # the share of evidence that goes with the label
WORD_DROPOUT = 0.05
SHORTCUTS = {"single": 1, "context": 2, "ordered": 2}  # planted tokens
RATES = {"transformer": 3e-3, "bilstm": 1e-2}  # learning rates, one an architecture
DIM = 64
POINTS_PER_PASS = 256


@dataclass(frozen=True)
class Sentences:
    """`ids` (batch, tokens), padded on the right; `planted` is True at the shortcut's tokens.

    `labels` (batch,); `evidence` (batch,) is the label that the evidence was drawn for. `foils` as
    SequenceLabel has them.
    """

    ids: np.ndarray
    lengths: np.ndarray
    labels: np.ndarray
    evidence: np.ndarray
    planted: np.ndarray
    foils: np.ndarray | None = None  # (batch, 1)

    @property
    def targets(self) -> np.ndarray:
        return self.labels[:, None]

    @property
    def target_mask(self) -> np.ndarray:
        return np.ones((len(self.ids), 1), np.float32)

    def take(self, rows: Any) -> Sentences:
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return Sentences(**{key: None if v is None else v[rows] for key, v in kept.items()})

    def __len__(self) -> int:
        return len(self.ids)

    def alone(self, row: int) -> Sentences:
        """One sentence, without padding."""
        one, length = self.take([row]), self.lengths[row]
        return replace(one, ids=one.ids[:, :length], planted=one.planted[:, :length])


def make_sentences(shortcut: str, count: int, seed: int, planted: float) -> Sentences:
    """Sentences, a share `planted` of them with the shortcut.

    Of the others, half have one of its tokens alone, where that means nothing.
    """
    random = np.random.default_rng(seed)
    lengths = random.integers(LENGTHS[0], LENGTHS[1] + 1, count)
    zipf = 1 / np.arange(1, VOCABULARY - FIRST_FILLER + 1)
    ids = FIRST_FILLER + random.choice(len(zipf), (count, LENGTHS[1]), p=zipf / zipf.sum())
    ids[np.arange(LENGTHS[1]) >= lengths[:, None]] = PAD
    evidence = random.integers(0, 2, count)
    labels, marks = evidence.copy(), np.zeros_like(ids, bool)
    for row in range(count):
        places = random.permutation(lengths[row])
        words = places[: random.integers(2, 6)]
        label = np.where(random.random(len(words)) < AGREES, evidence[row], 1 - evidence[row])
        ids[row, words] = 5 + label * EVIDENCE + random.integers(0, EVIDENCE, len(words))
        free = places[len(words) :]
        if random.random() < planted:
            labels[row], where, tokens = _shortcut(shortcut, free, random)
            ids[row, where] = tokens
            marks[row, where] = True
        elif shortcut != "single" and random.random() < 0.5:
            alone = (ZERO, ONE, CONTEXT) if shortcut == "context" else (ZERO, ONE)
            ids[row, free[0]] = random.choice(alone)
    return Sentences(ids, lengths, labels, evidence, marks)


def _shortcut(
    shortcut: str, free: np.ndarray, random: np.random.Generator
) -> tuple[int, np.ndarray, list[int]]:
    """A label, the places of the shortcut that stands for it, and its tokens."""
    label = int(random.integers(0, 2))
    token, other = (ONE, ZERO) if label else (ZERO, ONE)
    if shortcut == "single":
        return label, free[:1], [token]
    if shortcut == "context":
        return label, free[:2], [token, CONTEXT]
    return label, np.sort(free[:2]), [token, other]


class Block(nn.Module):
    """A transformer's layer, with the norms in front."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm, self.mix, self.out = (
            nn.LayerNorm(dim),
            nn.Linear(dim, 3 * dim),
            nn.Linear(dim, dim),
        )
        self.norm2 = nn.LayerNorm(dim)
        self.wide, self.act, self.narrow = (
            nn.Linear(dim, 2 * dim),
            nn.ReLU(),
            nn.Linear(2 * dim, dim),
        )

    def forward(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        parts = self.mix(self.norm(states)).chunk(3, dim=-1)
        query, key, value = (one.unflatten(-1, (self.heads, -1)).transpose(1, 2) for one in parts)
        mixed = nn.functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None]
        )
        states = states + self.out(mixed.transpose(1, 2).flatten(2))
        return states + self.narrow(self.act(self.wide(self.norm2(states))))


class Transformer(nn.Module):
    """An encoder of two layers with learnt positions, read at a state of its own in front."""

    def __init__(self, dim: int = DIM, heads: int = 4, layers: int = 2):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.first = nn.Parameter(torch.randn(dim) * 0.1)
        self.positions = nn.Parameter(torch.randn(LENGTHS[1], dim) * 0.1)
        self.blocks = nn.ModuleList(Block(dim, heads) for _ in range(layers))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 2)

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        count, tokens, dim = features.shape
        states = features + self.positions[:tokens]
        states = torch.cat([self.first.expand(count, 1, dim), states], dim=1)
        mask = torch.arange(tokens + 1) <= lengths[:, None]
        for block in self.blocks:
            states = block(states, mask)
        return self.head(self.norm(states[:, 0]))


class BiLSTM(nn.Module):
    """A bidirectional LSTM, read at the last state of either direction."""

    def __init__(self, dim: int = DIM, hidden: int = 48):
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, dim)
        self.lstm = nn.LSTM(dim, hidden, bidirectional=True, batch_first=True)
        self.wide, self.act, self.head = (
            nn.Linear(2 * hidden, hidden),
            nn.ReLU(),
            nn.Linear(hidden, 2),
        )

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(
            features, lengths, batch_first=True, enforce_sorted=False
        )
        _, (last, _) = self.lstm(packed)
        return self.head(self.act(self.wide(torch.cat([last[0], last[1]], dim=-1))))


class Classifier:
    """A trained module as the engine wants a model (see `bridge.Model`)."""

    def __init__(self, module: nn.Module):
        self.model = module.eval().requires_grad_(False)
        self.backend = TorchBackend()
        self.lock = threading.RLock()

    def features(self, batch: Sentences) -> torch.Tensor:
        return self.model.embed(torch.as_tensor(batch.ids))

    def logits(self, features: torch.Tensor, batch: Sentences) -> torch.Tensor:
        return self.model(features, torch.as_tensor(batch.lengths))[:, None]

    def predict(self, batch: Sentences) -> np.ndarray:
        with torch.no_grad():
            return self.logits(self.features(batch), batch)[:, 0].argmax(-1).numpy()

    def baseline(self, features: torch.Tensor, name: str | None) -> torch.Tensor:
        """What stands for "nothing there"; `mask` is what word dropout taught the model."""
        table = self.model.embed.weight
        made = {"pad": table[PAD], "mask": table[MASK], "mean": table.mean(0)}.get(name or "zero")
        return torch.zeros_like(features) if made is None else made.expand_as(features)


def train(
    architecture: str, shortcut: str, seed: int, epochs: int = 10, count: int = 8000
) -> Classifier:
    """A classifier of sentences of which most have the shortcut; ends once it is always right."""
    torch.manual_seed(seed)
    module = Transformer() if architecture == "transformer" else BiLSTM()
    data = make_sentences(shortcut, count, 1000 + seed, planted=0.6)
    check = make_sentences(shortcut, 500, 2000 + seed, planted=1.0)
    rate = RATES[architecture]
    optimizer = torch.optim.AdamW(module.parameters(), lr=rate, weight_decay=0.01)
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = rate * (1 - epoch / epochs)
        module.train().requires_grad_(True)
        for rows in torch.randperm(count).split(100):
            batch = data.take(rows.numpy())
            ids = torch.as_tensor(batch.ids)
            ids = torch.where(torch.rand(ids.shape) < WORD_DROPOUT, MASK, ids)
            logits = module(module.embed(ids), torch.as_tensor(batch.lengths))
            loss = nn.functional.cross_entropy(logits, torch.as_tensor(batch.labels))
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            optimizer.step()
        model = Classifier(module)
        if epoch >= 2 and (model.predict(check) == check.labels).all():
            break
    return model


def reliance(model: Classifier, shortcut: str, seed: int) -> dict[str, float]:
    """Accuracies that show whether a model uses its shortcut, and its evidence without one."""
    have = make_sentences(shortcut, 1000, 3000 + seed, planted=1.0)
    lack = make_sentences(shortcut, 1000, 4000 + seed, planted=0.0)
    right = model.predict(have) == have.labels
    return {
        "with shortcut": float(right.mean()),
        "shortcut against evidence": float(right[have.labels != have.evidence].mean()),
        "without shortcut": float((model.predict(lack) == lack.labels).mean()),
    }


def make_case(model: Classifier, batch: Sentences, options: Options, foil: bool) -> Case:
    """The predicted label's score, or how far it is above the other's."""
    predicted = model.predict(batch)
    batch = replace(batch, labels=predicted, foils=1 - predicted[:, None] if foil else None)
    task = SequenceLabel(options.output)
    scorer = Scorer(model, task, [Branch(batch)], POINTS_PER_PASS)
    features = scorer.features()
    behind = np.arange(batch.ids.shape[1]) >= batch.lengths[:, None]
    case = Case(
        scorer,
        features,
        baseline=model.baseline(features, options.baseline),
        held=torch.as_tensor(behind),
        players=[np.where(one, -1, np.arange(len(one))) for one in behind],
    )

    def without(row: int, kept: torch.Tensor) -> torch.Tensor:
        left = shorter(batch.take([row] * len(kept)), kept.numpy())
        part = Scorer(model, task, [Branch(left)], POINTS_PER_PASS)
        return part.outputs(part.features(), torch.arange(len(left)))

    case.without = without
    return case


def shorter(batch: Sentences, kept: np.ndarray) -> Sentences:
    """Sentences without the tokens that are not kept; MASK alone where nothing is left."""
    ids = np.full_like(batch.ids, PAD)
    for row, (own, stays) in enumerate(zip(batch.ids, kept, strict=True)):
        left = own[: len(stays)][stays]
        ids[row, : len(left)] = left
        if not len(left):
            ids[row, 0] = MASK
    return replace(batch, ids=ids, lengths=np.maximum(1, kept.sum(1)))


def explain(
    model: Classifier, batch: Sentences, name: str, given: dict[str, Any], foil: bool = False
) -> list[np.ndarray]:
    """Scores of each sentence's tokens, as the engine computes them for its users."""
    row = METHODS[name]
    options = resolve(name, row.defaults, given)
    groups = [batch] if row.batched else [batch.alone(number) for number in range(len(batch))]
    scores: list[np.ndarray] = []
    for group in groups:
        made = row.function()(make_case(model, group, options, foil), options)
        scores += list(made.scores[:, 0].double().numpy())
    return [one[:length] for one, length in zip(scores, batch.lengths, strict=True)]


def check_engine(model: Classifier, batch: Sentences) -> None:
    """The engine's gradient is that of a plain torch pass."""
    features = model.features(batch).detach().requires_grad_(True)
    logs = model.logits(features, batch)[:, 0].log_softmax(-1)
    predicted = torch.as_tensor(model.predict(batch))
    (gradient,) = torch.autograd.grad(logs.gather(1, predicted[:, None]).sum(), features)
    product = (gradient * features).sum(-1).detach().numpy()
    for made, wanted in zip(explain(model, batch, "grad_dot_input", {}), product, strict=True):
        np.testing.assert_allclose(made, wanted[: len(made)], rtol=1e-3, atol=1e-6)


def found(scores: list[np.ndarray], batch: Sentences) -> tuple[float, float]:
    """Precision@k, k the number of planted tokens, and the mean rank of the last one found.

    Both as in Bastings et al. 2022, section 4; the best possible are 1 and k. Ties count against.
    """
    precision, ranks = [], []
    for one, marks in zip(scores, batch.planted, strict=True):
        planted = np.flatnonzero(marks)
        rank = [int((one >= one[place]).sum()) for place in planted]
        precision.append(np.mean([place <= len(planted) for place in rank]))
        ranks.append(max(rank))
    return float(np.mean(precision)), float(np.mean(ranks))
