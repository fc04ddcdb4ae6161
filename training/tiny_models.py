"""Train `packaged:tiny-qa` and `packaged:tiny-nli` on sentences that this script makes itself.

    python training/tiny_models.py                  # both: train, write, report accuracy
    python training/tiny_models.py tiny-qa --check  # how good is what lies in the repository?

They are for tests and for learning what explanations show: in each text it is known which words
carry the answer. Some texts therefore lack such a word, or have [MASK] in its place, and then there
is no answer (tiny-qa) or the topic is open (tiny-nli). What `datasets/` holds is never trained on.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers
from tqdm.auto import tqdm

SEED = 7
BATCH, RATE = 32, 2e-3
EPOCHS, HELD_OUT = 6, 2_000
DIM, LAYERS, HEADS, SPREAD = 64, 2, 4, 0.1
ROOT = Path(__file__).resolve().parent.parent
OUTPUT = ROOT / "lit_plugins" / "weights"
TEMPLATE = "This text is about {}."
LABELS = ("contradiction", "neutral", "entailment")

Record = dict[str, Any]

# ------------------------------------------------------------ questions, answers

_LISTS = {
    "person": "Ada Ben Clara David Emma Felix Greta Hugo Ines Jonas Katharina Leon Margarete Nils "
    "Olga Paul Rosa Sebastian Theresa Viktor",
    "city": "Lisbon Oslo Paris Rome Vienna Berlin Dublin Madrid Prague Athens Copenhagen Helsinki "
    "Amsterdam Budapest Porto Zurich",
    "job": "baker nurse teacher gardener carpenter pilot librarian journalist plumber tailor "
    "photographer waiter",
    "instrument": "piano violin cello flute trumpet guitar harp clarinet saxophone accordion",
    "animal": "cat dog horse parrot rabbit tortoise goldfish hamster donkey goose",
    "colour": "black white brown grey",
    "food": "soup bread cheese rice fish noodles pancakes apples lentils chocolate",
    "place": "museum library bakery pool market theatre bank pharmacy",
    "hour": "six seven eight nine ten eleven noon",
    "year": " ".join(map(str, range(1950, 2000, 3))),
    "number": "two three four five",
}
LISTS = {name: tuple(words.split()) for name, words in _LISTS.items()}


@dataclass(frozen=True)
class Relation:
    """What is said of somebody, and what can be asked about it.

    `verbs` are the words, in statements and questions, without which nothing is said or
    asked. A question's first element is the slot that answers it.
    """

    statements: tuple[str, ...]
    questions: tuple[tuple[str, str], ...]
    verbs: tuple[str, ...]
    subject: str = "person"


RELATIONS = (
    Relation(
        ("{person} lives in {city}", "{person} has lived in {city} for {number} years"),
        (
            ("city", "Where does {person} live?"),
            ("city", "In which city does {person} live?"),
            ("person", "Who lives in {city}?"),
        ),
        ("lives", "lived", "live"),
    ),
    Relation(
        (
            "{person} works in {city} as a {job}",
            "{person} works as a {job} in {city}",
            "{person} has worked in {city} for {number} years as a {job}",
        ),
        (
            ("city", "Where does {person} work?"),
            ("city", "In which city does {person} work?"),
            ("job", "What does {person} work as?"),
            ("person", "Who works in {city}?"),
            ("person", "Who works as a {job}?"),
        ),
        ("works", "worked", "work"),
    ),
    Relation(
        ("{person} plays the {instrument}", "{person} has played the {instrument} since {year}"),
        (
            ("instrument", "What does {person} play?"),
            ("instrument", "Which instrument does {person} play?"),
            ("person", "Who plays the {instrument}?"),
        ),
        ("plays", "played", "play"),
    ),
    Relation(
        ("{person} keeps a {colour} {animal}", "{person} keeps a {animal}"),
        (
            ("animal", "Which animal does {person} keep?"),
            ("animal", "What does {person} keep?"),
            ("person", "Who keeps a {animal}?"),
        ),
        ("keeps", "keep"),
    ),
    Relation(
        ("{person} likes {food}", "{person} likes {food} most of all"),
        (("food", "What does {person} like?"), ("person", "Who likes {food}?")),
        ("likes", "like"),
    ),
    Relation(
        ("{person} was born in {year}", "{person} was born in {city} in {year}"),
        (
            ("year", "When was {person} born?"),
            ("city", "Where was {person} born?"),
            ("person", "Who was born in {year}?"),
        ),
        ("born",),
    ),
    Relation(
        ("The {place} opens at {hour}",),
        (("hour", "When does the {place} open?"), ("place", "What opens at {hour}?")),
        ("opens", "open"),
        "place",
    ),
    Relation(
        ("The {place} closes at {hour}",),
        (("hour", "When does the {place} close?"), ("place", "What closes at {hour}?")),
        ("closes", "close"),
        "place",
    ),
)
FILLERS = (
    "It rained all day",
    "The weather was fine",
    "Everybody was there",
    "That was long ago",
    "Nobody knows why",
)
_SLOT = re.compile(r"{(\w+)}")
_PLAIN = re.compile(r"\b(?:does|the|a|as|in|at|has|was|for|since|years|most|of|all)\b|[?.]")


def _pick(random: np.random.RandomState, items: Any) -> Any:
    return items[random.randint(len(items))]


def _without(random: np.random.RandomState, text: str, word: str) -> str:
    """The text with [MASK] instead of a word, or with nothing."""
    changed = re.sub(rf"\b{re.escape(word)}\b", _pick(random, ("[MASK]", "")), text, count=1)
    return re.sub(" +", " ", changed).strip()


def _masked(random: np.random.RandomState, text: str) -> str:
    """The text with one word masked that carries no answer, if it has such a word."""
    found = list(_PLAIN.finditer(text))
    if not found:
        return text
    start, end = _pick(random, found).span()
    return f"{text[:start]}[MASK]{text[end:]}"


def question_records(random: np.random.RandomState, count: int) -> list[Record]:
    """`question`, `context`, `answers` as in SQuAD 2: empty lists where there is no answer."""
    return [_question_record(random) for _ in range(count)]


def _question_record(random: np.random.RandomState) -> Record:
    facts: list[tuple[Relation, str, dict[str, str]]] = []
    used: set[str] = set()
    for _ in range(random.randint(1, 3)):
        relation = _pick(random, RELATIONS)
        values = {name: _pick(random, words) for name, words in LISTS.items()}
        statement = _pick(random, relation.statements)
        said = {values[name] for name in _SLOT.findall(statement)}
        # Nothing is said twice, so that an answer is the only one.
        if not said & used:
            used |= said
            facts.append((relation, statement, values))
    which = random.randint(len(facts))
    relation, statement, values = facts[which]
    said = _SLOT.findall(statement)
    slot, question = _pick(random, [item for item in relation.questions if item[0] in said])
    (known,) = _SLOT.findall(question)
    texts = [template.format_map(values) for _, template, values in facts]
    answer: str | None = values[slot]

    kind = random.rand()
    if kind < 0.12:  # of whom or what the context says nothing
        other = _pick(random, [word for word in LISTS[known] if word not in used])
        question, answer = question.format_map({known: other}), None
    elif kind < 0.24:  # something else about the same person or place
        name = values[relation.subject]
        about = [it for it, _, its in facts if its[it.subject] == name]
        others = [
            text
            for it in RELATIONS
            for _, text in it.questions
            if it not in about and f"{{{relation.subject}}}" in text
        ]
        question, answer = _pick(random, others).format_map(values), None
    else:
        question = question.format_map(values)
        if kind < 0.44:  # a word that carries the answer is missing
            asks = random.rand() < 0.5
            text = question if asks else texts[which]
            words = [word for word in relation.verbs if re.search(rf"\b{word}\b", text)]
            text = _without(random, text, _pick(random, (values[known], *words)))
            if asks:
                question = text
            else:
                texts[which] = text
            answer = None
        elif kind < 0.56:  # another word is missing
            if random.rand() < 0.5:
                question = _masked(random, question)
            else:
                texts[which] = _masked(random, texts[which])

    sentences = [f"{text}." for text in texts]
    if random.rand() < 0.25:
        place = random.randint(len(sentences) + 1)
        sentences.insert(place, _pick(random, FILLERS) + ".")
        which += place <= which
    answers: Record = {"text": [], "answer_start": []}
    if answer is not None:
        before = len(" ".join([*sentences[:which], ""]))
        start = before + sentences[which].index(answer)
        answers = {"text": [answer], "answer_start": [start]}
    return {"question": question, "context": " ".join(sentences), "answers": answers}


# ------------------------------------------------------------------------- topics

_TOPICS = {
    "sport": "striker goalkeeper coach referee team match goal stadium league trophy scored kicked",
    "cooking": "recipe oven sauce soup butter flour pan dough garlic chef baked fried",
    "music": "guitar violin concert orchestra melody singer drummer chorus piano song sang "
    "rehearsed",
    "weather": "rain storm snow wind sunshine fog thunder frost clouds forecast rained snowed",
    "travel": "passport airport luggage hotel flight train tourist suitcase ticket harbour landed "
    "boarded",
    "money": "bank loan price tax invoice salary budget savings market profit paid invested",
    "health": "doctor nurse fever hospital medicine vaccine patient cough bandage surgery sneezed "
    "recovered",
    "school": "teacher pupil homework exam classroom lesson grade textbook chalk headmaster taught "
    "studied",
}
_VERBS = 2  # the last words of each topic
TOPICS = {name: tuple(words.split()) for name, words in _TOPICS.items()}
_NEUTRAL_NOUNS = (
    *("table", "window", "chair", "box", "letter", "friend", "street", "garden", "dog"),
    *("lamp", "thing", "neighbour", "picture", "door", "story", "family", "shelf", "corner"),
)
_NEUTRAL_VERBS = ("waited", "stayed", "talked", "arrived", "left", "laughed")
_SENTENCES = (
    "The {noun} was better than we expected.",
    "Everybody talked about the {noun} and the {noun}.",
    "After lunch she showed us the {noun}.",
    "Last week the {noun} was near the {noun}.",
    "There was a problem with the {noun} again.",
    "We could not find the {noun} this morning.",
    "He wrote a long story about a {noun}.",
    "Nobody remembered the old {noun} from last summer.",
    "In the end the {noun} made our day.",
    "The {noun} {verb} late in the evening.",
    "They {verb} the whole day.",
    "My friend {verb} again, and the {noun} was new.",
    "A {noun} with a big {noun} is all that they need.",
    "Her first {noun} {verb} twice before dinner.",
    "The young {noun} {verb} and everybody was happy.",
    "I like the {noun} because of the {noun}.",
    "It {verb} the whole morning.",
    "They {verb} for the {noun} and a {noun}.",
)
_HYPOTHESES = (TEMPLATE, TEMPLATE, "This example is {}.", "The topic is {}.")


def topic_records(random: np.random.RandomState, count: int) -> list[Record]:
    """`text`, `hypothesis` and `label`, which says whether the second follows from the first."""
    return [_topic_record(random) for _ in range(count)]


def _topic_record(random: np.random.RandomState) -> Record:
    topic = _pick(random, list(TOPICS))
    nouns, verbs = (topic, topic, *TOPICS[topic][:-_VERBS]), TOPICS[topic][-_VERBS:]
    template = _pick(random, _SENTENCES)
    slots = len(re.findall("{", template))
    chosen = set(random.permutation(slots)[: random.randint(0, slots + 1)].tolist())
    words, number = [], -1

    def fill(slot: re.Match[str]) -> str:
        nonlocal number
        number += 1
        noun = slot[0] == "{noun}"
        lists = (nouns, verbs) if number in chosen else (_NEUTRAL_NOUNS, _NEUTRAL_VERBS)
        word = _pick(random, lists[0 if noun else 1])
        if number in chosen:
            words.append(word)
        return word

    text = re.sub("{noun}|{verb}", fill, template)
    kind = random.rand()
    if words and kind < 0.15:  # no word of the topic is left
        for word in words:
            text = _without(random, text, word)
        words = []
    elif kind < 0.3:  # another word is missing
        plain = [word for word in re.findall(r"\w+", text) if word not in words]
        text = _without(random, text, _pick(random, plain))
    if random.rand() < 0.5:
        asked = topic
    else:
        asked = _pick(random, [name for name in TOPICS if name != topic])
    label = "neutral" if not words else "entailment" if asked == topic else "contradiction"
    hypothesis = _pick(random, _HYPOTHESES)
    if random.rand() < 0.05:  # a hypothesis about nothing
        hypothesis, label = hypothesis.format("[MASK]"), "neutral"
    return {"text": text, "hypothesis": hypothesis.format(asked), "label": label}


# ---------------------------------------------------------------------- the models


def vocabulary(texts: Iterable[str]) -> list[str]:
    """WordPiece entries for the texts' words: the long ones in two pieces, letters for others."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    words = sorted({word for text in texts for word in re.findall(r"[a-z0-9]+", text.lower())})
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,?!'-\"", *letters]
    pieces += [f"##{letter}" for letter in letters]
    for word in words:
        cut = math.ceil(len(word) / 2) if len(word) > 7 or word.isdigit() else len(word)
        pieces += [word[:cut], *([f"##{word[cut:]}"] if word[cut:] else [])]
    return list(dict.fromkeys(pieces))


@dataclass(frozen=True)
class Kind:
    """One of the models.

    Attributes:
        examples: how many records it is trained on.
        records: makes as many records as asked for.
        texts: the two texts of a record.
        targets: records and their tokens -> (records, outputs): the right classes.
        outputs: what the model returns -> (records, outputs, classes).
        head: the model's class in transformers.
        labels: of its classes, if they have names.
        samples: the set in `datasets/` that is held out.
        alike: words that mean the same where the two texts are compared.

    """

    examples: int
    records: Callable[[np.random.RandomState, int], list[Record]]
    texts: Callable[[Record], tuple[str, str]]
    targets: Callable[[list[Record], Any], torch.Tensor]
    outputs: Callable[[Any], torch.Tensor]
    head: str
    labels: tuple[str, ...]
    samples: str
    alike: tuple[tuple[str, ...], ...]


def _answer_tokens(records: list[Record], tokens: Any) -> torch.Tensor:
    """(records, 2): first and last token of each answer, 0 (that is [CLS]) where there is none."""
    found = []
    for row, record in enumerate(records):
        first = last = 0
        for text, start in zip(
            *(record["answers"][key] for key in ("text", "answer_start")), strict=True
        ):
            first = tokens.char_to_token(row, start, sequence_index=1)
            last = tokens.char_to_token(row, start + len(text) - 1, sequence_index=1)
        found.append((first, last))
    return torch.tensor(found)


KINDS = {
    "tiny-qa": Kind(
        examples=40_000,
        records=question_records,
        texts=lambda record: (record["question"], record["context"]),
        targets=_answer_tokens,
        outputs=lambda result: torch.stack([result.start_logits, result.end_logits], 1),
        head="BertForQuestionAnswering",
        labels=(),
        samples="questions",
        alike=tuple(relation.verbs for relation in RELATIONS),
    ),
    "tiny-nli": Kind(
        examples=20_000,
        records=topic_records,
        texts=lambda record: (record["text"], record["hypothesis"]),
        targets=lambda records, _: torch.tensor([[LABELS.index(it["label"])] for it in records]),
        outputs=lambda result: result.logits[:, None],
        head="BertForSequenceClassification",
        labels=LABELS,
        samples="topics",
        alike=tuple((topic, *words) for topic, words in TOPICS.items()),
    ),
}


def samples(kind: Kind) -> list[Record]:
    """Records of the set in `datasets/`: its questions, or every topic that it asks about."""
    lines = (ROOT / "datasets" / f"{kind.samples}.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    if kind.samples == "questions":
        return rows
    return [
        {
            "text": row["text"],
            "hypothesis": TEMPLATE.format(topic),
            "label": "entailment" if topic == row["label"] else "contradiction",
        }
        for row in rows
        for topic in row["candidate_labels"]
    ]


def tokenised(tokenizer: Any, kind: Kind, records: list[Record]) -> tuple[Any, torch.Tensor]:
    """Tokens of the records, padded to one length, and their right classes."""
    first, second = zip(*map(kind.texts, records), strict=True)
    tokens = tokenizer(list(first), list(second), padding=True, return_tensors="pt")
    return tokens, kind.targets(records, tokens)


@torch.no_grad()
def right(model: Any, tokenizer: Any, kind: Kind, records: list[Record]) -> list[bool]:
    """For each record, whether all outputs are right."""
    tokens, targets = tokenised(tokenizer, kind, records)
    found = kind.outputs(model(**tokens)).argmax(-1)
    return (found == targets).all(-1).tolist()


def groups(tokenizer: Any, kind: Kind) -> torch.Tensor:
    """(vocab): tokens that mean the same get the same number of 0 or more, special ones -1."""
    found = torch.arange(len(tokenizer))
    found[: tokenizer.convert_tokens_to_ids(".") + 1] = -1
    for words in kind.alike:
        numbers = [number for word in words for number in tokenizer(word)["input_ids"][1:-1]]
        found[numbers] = numbers[0]
    return found


def matched(group: torch.Tensor, tokens: dict[str, torch.Tensor]) -> torch.Tensor:
    """(records, tokens): 1 where the other text of the record means the same somewhere, else 0."""
    mine, text = group[tokens["input_ids"]], tokens["token_type_ids"]
    same = (mine[:, :, None] == mine[:, None]) & (text[:, :, None] != text[:, None])
    return (same & (mine[:, :, None] >= 0)).any(-1).float()


def train(name: str, count: int, folder: Path) -> None:
    """Train a model on as many records and write it, with its tokenizer, into a folder."""
    kind = KINDS[name]
    held_out = {kind.texts(record) for record in samples(kind)}
    records = kind.records(np.random.RandomState(SEED), count)
    records = [record for record in records if kind.texts(record) not in held_out]
    pieces = vocabulary(text for record in records for text in kind.texts(record))
    tokenizer = transformers.BertTokenizer(
        vocab={piece: number for number, piece in enumerate(pieces)}, model_max_length=128
    )
    labels: dict[str, Any] = {}
    if kind.labels:
        labels["id2label"] = dict(enumerate(kind.labels))
        labels["label2id"] = {label: number for number, label in enumerate(kind.labels)}
    config = transformers.BertConfig(
        vocab_size=len(pieces),
        hidden_size=DIM,
        num_hidden_layers=LAYERS,
        num_attention_heads=HEADS,
        intermediate_size=2 * DIM,
        max_position_embeddings=128,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=SPREAD,  # the usual 0.02 is for hundreds of dimensions
        **labels,
    )
    torch.manual_seed(SEED)
    model = getattr(transformers, kind.head)(config).train()
    # Which words of the two texts belong together is taught apart, to the first layer: it would
    # take far longer to find out from the answers alone. The head for it is not kept.
    group = groups(tokenizer, kind)
    pairs = torch.nn.Linear(DIM, 1)
    tokens, targets = tokenised(tokenizer, kind, records)
    lengths = tokens["attention_mask"].sum(-1)
    steps = EPOCHS * len(records) // BATCH
    trained = [*model.parameters(), *pairs.parameters()]
    optimizer = torch.optim.AdamW(trained, lr=RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, RATE, total_steps=steps, pct_start=0.1
    )
    random = np.random.RandomState(SEED)
    order: list[int] = []
    mean = 1.0
    with tqdm(range(steps), desc=f"Training {name}", unit="step") as bar:
        for _ in bar:
            if len(order) < BATCH:
                order = random.permutation(len(records)).tolist()
            chosen, order = order[:BATCH], order[BATCH:]
            longest = int(lengths[chosen].max())
            batch = {key: value[chosen, :longest] for key, value in tokens.items()}
            result = model(**batch, output_hidden_states=True)
            loss = torch.nn.functional.cross_entropy(
                kind.outputs(result).flatten(0, 1), targets[chosen].flatten()
            )
            bar.set_postfix(loss=f"{mean:.3f}", refresh=False)
            mean += 0.02 * (loss.item() - mean)
            found = pairs(result.hidden_states[1])[..., 0]
            real = batch["attention_mask"].float()
            loss = loss + torch.nn.functional.binary_cross_entropy_with_logits(
                found, matched(group, batch), weight=real
            )
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    (folder / "model.safetensors").chmod(0o644)  # 0600 would hide it from other users


def load(name: str, folder: Path) -> tuple[Any, Any]:
    """The model and its tokenizer."""
    model = getattr(transformers, KINDS[name].head).from_pretrained(folder)
    return model.eval(), transformers.AutoTokenizer.from_pretrained(folder)


def fresh_records(name: str, count: int = HELD_OUT) -> list[Record]:
    """Records of another seed than the training's."""
    return KINDS[name].records(np.random.RandomState(SEED + 1), count)


def main(arguments: list[str] | None = None) -> int:
    """Train or check; returns the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(KINDS)} (all)")
    parser.add_argument("--check", action="store_true", help="train nothing, evaluate --output")
    parser.add_argument(
        "--examples", type=int, help="records to train on (20,000 for tiny-nli, 40,000 for tiny-qa)"
    )
    parser.add_argument(
        *("--output", "-o"),
        type=Path,
        default=OUTPUT,
        help="the folder of the models' folders (the one in the repository)",
    )
    given = parser.parse_args(arguments)
    unknown = sorted(set(given.names) - KINDS.keys())
    if unknown:
        parser.error(f"unknown model {unknown[0]!r}; available: {', '.join(KINDS)}")
    torch.set_num_threads(1)  # sums in the same order everywhere
    transformers.utils.logging.disable_progress_bar()
    try:
        for name in given.names or KINDS:
            home = given.output / name
            if not given.check:
                given.output.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryDirectory(dir=given.output) as temporary:
                    folder = Path(temporary) / name
                    train(name, given.examples or KINDS[name].examples, folder)
                    shutil.rmtree(home, ignore_errors=True)
                    folder.replace(home)
            model, tokenizer = load(name, home)
            fresh = right(model, tokenizer, KINDS[name], fresh_records(name))
            ours = right(model, tokenizer, KINDS[name], samples(KINDS[name]))
            size = sum(path.stat().st_size for path in home.iterdir())
            print(
                f"{name}: {size:,} bytes; right are {sum(fresh) / len(fresh):.1%} of "
                f"{len(fresh):,} fresh records, {sum(ours)} of {len(ours)} in "
                f"datasets/{KINDS[name].samples}.jsonl"
            )
    except KeyboardInterrupt:
        print("Stopped; nothing was written of the model in work.", file=sys.stderr)
        return 130
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
