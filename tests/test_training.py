"""The scripts in `training/`, and the weights in the repository that are their output."""

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

ROOT = Path(__file__).resolve().parent.parent
WEIGHTS = ROOT / "lit_plugins" / "weights"
LIMIT = 6_000_000  # bytes of everything that is committed


@pytest.fixture(scope="module")
def scripts():
    sys.path.insert(0, str(ROOT / "training"))
    try:
        yield importlib.import_module("tiny_models"), importlib.import_module("sentiment")
    finally:
        sys.path.remove(str(ROOT / "training"))


@pytest.fixture(scope="module")
def tiny(scripts):
    return scripts[0]


@pytest.fixture(scope="module")
def sentiment(scripts):
    return scripts[1]


@pytest.fixture(scope="module")
def models(tiny):
    torch.set_num_threads(1)
    return {name: tiny.load(name, WEIGHTS / name) for name in tiny.KINDS}


def test_what_is_committed_is_small_and_complete():
    sizes = {path.relative_to(WEIGHTS).as_posix(): path.stat().st_size for path in files()}
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    expected = {f"{folder}/{name}" for folder in ("tiny-qa", "tiny-nli") for name in names}
    assert sizes.keys() == {"sentiment.safetensors", *expected}
    assert sum(sizes.values()) < LIMIT
    assert all(size <= 500_000 for name, size in sizes.items() if name.startswith("tiny"))


def files():
    return [path for path in WEIGHTS.rglob("*") if path.is_file()]


# ----------------------------------------------------------------- what is made up


@pytest.mark.parametrize("name", ["tiny-qa", "tiny-nli"])
def test_records_are_the_same_each_time_and_differ_by_seed(tiny, name):
    assert tiny.fresh_records(name, 30) == tiny.fresh_records(name, 30)
    other = tiny.KINDS[name].records(np.random.RandomState(tiny.SEED), 30)
    assert tiny.fresh_records(name, 30) != other


def test_answers_stand_where_they_should(tiny):
    unanswerable = 0
    for record in tiny.fresh_records("tiny-qa", 500):
        texts, starts = record["answers"]["text"], record["answers"]["answer_start"]
        unanswerable += not texts
        assert len(texts) == len(starts) <= 1
        for text, start in zip(texts, starts, strict=True):
            assert record["context"][start : start + len(text)] == text
            assert text not in record["question"]
    assert 150 < unanswerable < 300


def test_a_topic_is_open_just_where_none_of_its_words_stands(tiny):
    topics = {word: topic for topic, words in tiny.TOPICS.items() for word in (topic, *words)}
    for record in tiny.fresh_records("tiny-nli", 500):
        found = {topics[word] for word in re.findall(r"\w+", record["text"]) if word in topics}
        assert len(found) <= 1
        asked = {topic for topic in tiny.TOPICS if topic in record["hypothesis"]}
        if not found or not asked:
            assert record["label"] == "neutral"
        else:
            assert record["label"] == ("entailment" if found == asked else "contradiction")


def test_long_words_are_split_and_none_is_unknown(tiny, models):
    for name, (_, tokenizer) in models.items():
        kind = tiny.KINDS[name]
        texts = [text for record in tiny.fresh_records(name, 300) for text in kind.texts(record)]
        texts += [text for record in tiny.samples(kind) for text in kind.texts(record)]
        tokens = {token for text in texts for token in tokenizer.tokenize(text)}
        assert "[UNK]" not in tokens
        assert sum(token.startswith("##") for token in tokens) > 10
    assert tokenizer.tokenize("goalkeeper xyz") == ["goalk", "##eeper", "x", "##y", "##z"]


# ------------------------------------------------------------------ tiny models


@pytest.mark.parametrize("name", ["tiny-qa", "tiny-nli"])
def test_fresh_records_are_answered(tiny, models, name):
    right = tiny.right(*models[name], tiny.KINDS[name], tiny.fresh_records(name))
    assert sum(right) / len(right) >= 0.95


@pytest.mark.parametrize("name", ["tiny-qa", "tiny-nli"])
def test_sample_sets_are_held_out_and_answered(tiny, models, name):
    kind = tiny.KINDS[name]
    samples = tiny.samples(kind)
    right = tiny.right(*models[name], kind, samples)
    assert sum(right) >= 0.9 * len(right)
    assert len(samples_of(kind.samples)) >= 16


def samples_of(name):
    text = (ROOT / "datasets" / f"{name}.jsonl").read_text("utf-8")
    return [json.loads(line) for line in text.splitlines()]


def test_the_samples_are_well_formed():
    rows = samples_of("questions")
    assert sum(not row["answers"]["text"] for row in rows) >= 3
    for row in rows:
        for text, start in zip(*row["answers"].values(), strict=True):
            assert row["context"][start : start + len(text)] == text
    for row in samples_of("topics"):
        assert row["label"] in row["candidate_labels"]


def answer(models, question, context):
    """The likeliest answer, "" where that is none."""
    model, tokenizer = models["tiny-qa"]
    tokens = tokenizer(question, context, return_tensors="pt")
    result = model(**tokens)
    first, last = int(result.start_logits.argmax()), int(result.end_logits.argmax())
    return tokenizer.decode(tokens["input_ids"][0, first : last + 1]).replace("[CLS]", "")


CONTEXT = "Ada lives in Lisbon. Ben works in Oslo as a baker."


@pytest.mark.parametrize(
    ("question", "context", "expected"),
    [
        ("Where does Ada live?", CONTEXT, "lisbon"),
        ("Where does Ben work?", CONTEXT, "oslo"),
        ("What does Ben work as?", CONTEXT, "baker"),
        ("Where does Ada live?", CONTEXT.replace("in Lisbon", "[MASK] Lisbon"), "lisbon"),
        ("Where [MASK] Ada live?", CONTEXT, "lisbon"),
        # Each word that carries the answer, deleted, masked or replaced:
        ("Where does Ada live?", CONTEXT.replace("Ada ", ""), ""),
        ("Where does Ada live?", CONTEXT.replace("Ada", "[MASK]"), ""),
        ("Where does Ada live?", CONTEXT.replace("Ada", "Paul"), ""),
        ("Where does Ada live?", CONTEXT.replace("lives ", ""), ""),
        ("Where does Ada live?", CONTEXT.replace("lives", "[MASK]"), ""),
        ("Where does [MASK] live?", CONTEXT, ""),
        ("Where does Ben live?", CONTEXT, ""),
        ("Where does Ada work?", CONTEXT, ""),
        ("Where does Ada live?", CONTEXT.replace("Lisbon", "Rome"), "rome"),
    ],
)
def test_the_right_words_carry_the_answer(models, question, context, expected):
    assert answer(models, question, context) == expected


def entailment(models, text, topics):
    """Zero-shot's probabilities: the entailment logits of the topics, against each other."""
    model, tokenizer = models["tiny-nli"]
    hypotheses = [f"This text is about {topic}." for topic in topics]
    tokens = tokenizer([text] * len(topics), hypotheses, padding=True, return_tensors="pt")
    return model(**tokens).logits.softmax(-1)[:, model.config.label2id["entailment"]].tolist()


def test_the_topics_word_carries_the_topic(models):
    topics = ["sport", "cooking", "music", "weather"]
    text = "The striker scored late in the evening."
    sport, *others = entailment(models, text, topics)
    assert sport > 0.9
    assert max(others) < 0.1
    one = entailment(models, text.replace("striker", "friend"), topics)
    assert one[0] > 0.9  # "scored" is left
    none = entailment(models, "The friend waited late in the evening.", topics)
    assert max(none) < 0.1
    moved = entailment(models, "The drummer sang late in the evening.", topics)
    assert moved.index(max(moved)) == 2
    for word in ("late", "in", "evening", "The"):
        assert entailment(models, text.replace(word, "[MASK]"), topics)[0] > 0.9


# ----------------------------------------------------------------- the scripts


@pytest.mark.parametrize("script", ["sentiment.py", "tiny_models.py"])
def test_help(script):
    done = subprocess.run(
        [sys.executable, str(ROOT / "training" / script), "--help"],
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert "--check" in done.stdout


def test_tiny_training_writes_a_model_that_loads(tiny, tmp_path, capsys):
    assert tiny.main(["tiny-nli", "--examples=320", f"--output={tmp_path}"]) == 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny-nli"]
    assert {path.name for path in (tmp_path / "tiny-nli").iterdir()} == {
        path.name for path in (WEIGHTS / "tiny-nli").iterdir()
    }
    shown = capsys.readouterr()
    assert re.search(r"tiny-nli: [\d,]+ bytes; right are [\d.]+% of 2,000 fresh", shown.out)
    assert "Training tiny-nli: 100%" in shown.err


def test_an_interrupt_keeps_what_was_there(tiny, tmp_path, monkeypatch, capsys):
    def stop(name, count, folder):
        folder.mkdir()
        raise KeyboardInterrupt

    (tmp_path / "tiny-qa").mkdir()
    (tmp_path / "tiny-qa" / "old").touch()
    monkeypatch.setattr(tiny, "train", stop)
    assert tiny.main(["tiny-qa", f"--output={tmp_path}"]) == 130
    assert [path.name for path in tmp_path.rglob("*")] == ["tiny-qa", "old"]
    assert "Stopped" in capsys.readouterr().err


def test_unknown_models_are_named(tiny, capsys):
    with pytest.raises(SystemExit):
        tiny.main(["tiny-ner"])
    assert "'tiny-ner'; available: tiny-qa, tiny-nli" in capsys.readouterr().err


@pytest.mark.packaged
def test_committed_sentiment_is_right_on_held_out_snippets(sentiment):
    torch.set_num_threads(1)
    training, held_out = sentiment.snippets()
    assert (len(training), len(held_out)) == (9072, 1000)
    model, tokenizer = sentiment.base()
    sentiment.load(model, WEIGHTS / "sentiment.safetensors")
    subset = held_out[:200]
    assert 0.4 < sum(item.positive for item in subset) / 200 < 0.6
    assert sentiment.accuracy(model, tokenizer, subset) >= 0.78


@pytest.mark.packaged
def test_what_is_trained_is_what_the_model_computes(sentiment):
    """`logits` skips what the pooler does not see; the model itself does not."""
    _, held_out = sentiment.snippets()
    model, tokenizer = sentiment.base()
    items = sorted(held_out, key=lambda item: len(item.text))[::199]
    states = sentiment.frozen_states(model, tokenizer, items)
    assert len({len(state) for state in states}) > 3
    with torch.no_grad():
        found = sentiment.logits(model, states)
        for row, item in zip(found, items, strict=True):
            tokens = tokenizer(item.text, truncation=True, max_length=64, return_tensors="pt")
            torch.testing.assert_close(row, model(**tokens).logits[0], atol=1e-5, rtol=1e-4)


@pytest.mark.packaged
def test_an_interrupted_training_of_sentiment_writes_nothing(sentiment, tmp_path, monkeypatch):
    def stop(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(sentiment, "train", stop)
    assert sentiment.main([f"--output={tmp_path}/s.safetensors"]) == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.packaged
def test_sentiment_refuses_other_tensors(sentiment, tmp_path, capsys):
    from safetensors.numpy import save_file

    save_file({"classifier.bias": np.zeros(2, np.float32)}, tmp_path / "s.safetensors")
    assert sentiment.main(["--check", f"--output={tmp_path}/s.safetensors"]) == 2
    assert "Train anew" in capsys.readouterr().err
