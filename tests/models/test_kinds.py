"""What a checkpoint's config says it does, and what is said of it where that does not fit."""

from __future__ import annotations

import importlib
import json
import logging
import subprocess
import sys

import encoders
import pytest
import tiny
import transformers

from lit_plugins import packaged, records
from lit_plugins.components.shared import Explainable
from lit_plugins.errors import SourceError, SpecError
from lit_plugins.models import kinds
from lit_plugins.server import build
from lit_plugins.sources import ModelOptions, parse_model

NAMES = {0: "NEGATIVE", 1: "POSITIVE"}
INFERENCE = {0: "CONTRADICTION", 1: "neutral", 2: "Entailment"}


def config(head, labels=NAMES, **more):
    return {"architectures": [f"Bert{head}"], "id2label": labels, "num_hidden_layers": 2, **more}


def task_of(content, **options):
    return kinds.profile(content, ModelOptions(**options)).task


def test_each_task_has_a_row_everywhere():
    assert set(kinds.KINDS) == set(records.TASKS)


@pytest.mark.parametrize("kind", kinds.KINDS.values(), ids=list(kinds.KINDS))
def test_what_a_row_names_is_there(kind):
    if kind.auto is not None:
        assert hasattr(transformers, kind.auto)
    for place, name in (("models", kind.model), ("components", kind.component)):
        module, _, attribute = name.partition(":")
        assert hasattr(importlib.import_module(f"lit_plugins.{place}.{module}"), attribute)
    made = kind.lit_models("x", None, kinds.Profile(kind.task, ("a", "b")), "")["x"]
    assert isinstance(made, Explainable)
    needed = {name for name, field in made.input_spec().items() if field.required}
    assert needed <= set(kind.sample)


@pytest.mark.parametrize(
    ("head", "labels", "task"),
    [
        ("ForSequenceClassification", NAMES, "text-classification"),
        ("ForSequenceClassification", {}, "text-classification"),
        ("ForSequenceClassification", INFERENCE, "pair-classification"),
        ("ForTokenClassification", {0: "O", 1: "B-X"}, "token-classification"),
        ("ForQuestionAnswering", {}, "question-answering"),
        ("ForCausalLM", {}, "text-generation"),
        ("LMHeadModel", {}, "text-generation"),
        ("ForConditionalGeneration", {}, "text-generation"),
    ],
)
def test_the_config_says_the_task(head, labels, task):
    assert task_of(config(head, labels)) == task
    assert task_of(config(head, labels), task=task) == task


def test_the_option_says_what_the_config_cannot():
    content = config("ForSequenceClassification", INFERENCE)
    for task in ("pair-classification", "zero-shot", "text-classification"):
        assert task_of(content, task=task) == task
    assert task_of({}) == "text-generation"
    assert task_of({}, task="zero-shot") == "zero-shot"


@pytest.mark.parametrize(
    ("head", "task", "words"),
    [
        ("ForCausalLM", "text-classification", ["head of a causal language model", "text cl"]),
        ("LMHeadModel", "zero-shot", ["BertLMHeadModel", "…ForSequenceClassification"]),
        ("ForTokenClassification", "question-answering", ["head of a tagger"]),
        ("ForSequenceClassification", "text-generation", ["causal language model (…ForCausalLM)"]),
    ],
)
def test_a_head_for_another_task(head, task, words):
    with pytest.raises(SpecError) as caught:
        kinds.profile(config(head), ModelOptions(task=task), "Model 'mine'")
    for word in ["Model 'mine'", f"task={task}", "Leave task out", *words]:
        assert word in str(caught.value)


@pytest.mark.parametrize("labels", [1, 2, 3])
@pytest.mark.parametrize("said", [None, "regression", "multi_label_classification"])
def test_heads_come_from_the_config(labels, said):
    loaded = transformers.BertConfig(num_labels=labels, problem_type=said)
    content = loaded.to_dict() | {"architectures": ["BertForSequenceClassification"]}
    made = kinds.profile(content, ModelOptions())
    assert made.head == kinds.head_of(said, labels, ModelOptions())
    assert len(made.labels) == labels


def test_labels_come_in_the_heads_order(caplog):
    content = config(
        "ForSequenceClassification", {"10": "k", **{str(n): f"l{n}" for n in range(10)}}
    )
    assert kinds.profile(content, ModelOptions()).labels[9:] == ("l9", "k")
    assert not caplog.records


@pytest.mark.parametrize(
    ("more", "count"), [({}, 2), ({"num_labels": 3}, 3), ({"_num_labels": 4}, 4)]
)
def test_labels_that_the_config_does_not_name(caplog, more, count):
    with caplog.at_level(logging.WARNING):
        made = kinds.profile(config("ForSequenceClassification", {}, **more), ModelOptions())
    assert made.labels == tuple(f"LABEL_{number}" for number in range(count))
    assert "LABEL_0, LABEL_1" in caplog.text


def test_layers_by_the_names_of_several_families():
    for name in ("num_hidden_layers", "n_layers", "n_layer", "num_layers"):
        content = config("ForSequenceClassification") | {"num_hidden_layers": None, name: 7}
        assert kinds.profile(content, ModelOptions()).layers == 7


# Where the config is from.


def folder_of(model, tokenizer, path):
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def sentiment(tmp_path_factory):
    model = encoders.bert("SequenceClassification", ("NEGATIVE", "POSITIVE"))
    return folder_of(model, encoders.tokenizer(), tmp_path_factory.mktemp("sentiment"))


def test_a_folder(sentiment):
    spec = parse_model(f"mine=hf:{sentiment}")
    made = kinds.profile_of(spec)
    assert (made.task, made.labels, made.head, made.layers) == (
        *("text-classification", ("NEGATIVE", "POSITIVE"), "one_of", 2),
    )  # fmt: skip
    loadables, models = build.models([spec])
    assert loadables["mine"].status()["state"] == "waiting"
    [output] = models["mine"].predict([{"text": "a cat"}])
    assert output["probas"].sum() == pytest.approx(1)


def test_the_pages_dialog_loads_any_task(sentiment):
    load, _ = build.model_loader([f"hf:{sentiment}"])
    made = load(new_name="mine", source=f"hf:{sentiment}", options="gradients=on")
    assert list(made) == ["mine"]
    assert "token_gradients" in made["mine"].output_spec()
    with pytest.raises(SpecError, match="task=question-answering"):
        load(new_name="mine", source=f"hf:{sentiment}", options="task=question-answering")


def test_a_language_model_is_no_classifier(tmp_path):
    path = folder_of(tiny.hf_module("llama"), tiny.byte_fallback_tokenizer(), tmp_path)
    assert kinds.profile_of(parse_model(f"mine=hf:{path}")).task == "text-generation"
    with pytest.raises(SpecError, match="LlamaForCausalLM: it has the head of a causal language"):
        build.models([parse_model(f"mine=hf:{path}?task=text-classification")])


def test_an_encoder_without_a_head(tmp_path):
    model = transformers.BertModel(encoders.bert("SequenceClassification").config)
    path = folder_of(model, encoders.tokenizer(), tmp_path)
    loadables, _ = build.models([parse_model(f"mine=hf:{path}?task=text-classification")])
    with pytest.raises(SourceError, match=r"no weights for classifier.*random.*text classifier"):
        loadables["mine"].get()


def test_a_folder_without_tokenizer(sentiment, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((sentiment / name).read_bytes())
    with pytest.raises(SourceError, match=r"no complete model: .*tokenizer"):
        build.models([parse_model(f"mine=hf:{tmp_path}")])


def test_a_hub_that_does_not_answer():
    # Tests are offline: nothing but the option says what it is, and loading says what is wrong.
    assert kinds.profile_of(parse_model("mine=hf:nobody/nothing")).task == "text-generation"
    made = kinds.profile_of(parse_model("mine=hf:nobody/nothing?task=zero-shot"))
    assert made.task == "zero-shot"
    loadables, models = build.models([parse_model("mine=hf:nobody/nothing?task=zero-shot")])
    assert "mine" in models
    with pytest.raises(SourceError, match=r"hf:nobody/nothing cannot be loaded"):
        loadables["mine"].get()


def test_a_hub_that_answers(monkeypatch, tmp_path):
    import huggingface_hub

    asked = []

    def download(source, name, revision, etag_timeout):
        asked.append((source, name, revision))
        path = tmp_path / name
        path.write_text(json.dumps(config("ForTokenClassification", {"0": "O", "1": "B-X"})))
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    made = kinds.profile_of(parse_model("mine=hf:some/tagger?revision=v1"))
    assert (made.task, made.labels) == ("token-classification", ("O", "B-X"))
    assert asked == [("some/tagger", "config.json", "v1")]


def test_labels_that_were_not_known_at_the_start():
    profile = kinds.Profile("text-classification")
    with pytest.raises(SourceError, match=r"NEGATIVE, POSITIVE, MIXED.*Start again"):
        profile.check(encoders.classifier(), "mine")
    kinds.profile_of_loaded(encoders.classifier(), "mine").check(encoders.classifier(), "mine")


@pytest.mark.parametrize("spec", ["keras:gemma3_270m", "keras:packaged:gemma3-270m"])
def test_keras_models_generate_text(spec):
    assert kinds.profile_of(parse_model(f"k={spec}")).task == "text-generation"
    with pytest.raises(SpecError, match=r"task=zero-shot is for hf models"):
        kinds.profile_of(parse_model(f"k={spec}?task=zero-shot"))


@pytest.mark.parametrize("name", [n for n, one in packaged.PACKAGED.items() if n != "minilm"])
def test_packaged_models_are_known_before_they_are_fetched(name):
    made = kinds.profile_of(parse_model(f"p=hf:packaged:{name}"))
    row = packaged.PACKAGED[name]
    assert made.task == (row.config["task"] if row.config else "text-generation")


def test_a_packaged_model_without_a_task():
    with pytest.raises(SourceError, match=r"no task of its own.*packaged:sentiment"):
        kinds.profile_of(parse_model("p=hf:packaged:minilm"))


def test_loaded_models_of_every_kind():
    made = {
        "text-classification": encoders.classifier(),
        "pair-classification": encoders.classifier(fields=("text_a", "text_b")),
        "zero-shot": encoders.zero_shot(),
        "token-classification": encoders.tagger(),
        "question-answering": encoders.answerer(),
        "text-generation": tiny.hf_model("llama"),
    }
    assert {name: kinds.profile_of_loaded(one, "x").task for name, one in made.items()} == {
        name: name for name in made
    }
    assert set(made) == set(kinds.KINDS)
    assert kinds.profile_of_loaded(tiny.hf_module("llama"), "x").task == "text-generation"
    assert kinds.profile_of_loaded(encoders.bert("QuestionAnswering"), "x").task == (
        "question-answering"
    )


def test_zero_shot_labels_are_the_datas_where_it_is_of_one_mind():
    from lit_plugins import datasets

    labels = ["sport", "music"]
    same = datasets.from_records([{"text": "a", "candidate_labels": labels}] * 2, "same")
    more = [{"text": "a", "candidate_labels": labels}, {"text": "b", "candidate_labels": ["c"]}]
    other = datasets.from_records(more, "other")
    profile = kinds.Profile("zero-shot")
    assert build.with_labels(profile, [same]).labels == tuple(labels)
    assert build.with_labels(profile, [same]).options.candidate_labels == tuple(labels)
    assert build.with_labels(profile, [same, other]).labels == ()
    assert build.with_labels(profile, []).labels == ()


def test_what_a_model_is_needs_no_framework():
    program = (
        "import sys\n"
        "from lit_plugins.models import kinds\n"
        "from lit_plugins.sources import parse_model\n"
        "kinds.profile_of(parse_model('p=hf:packaged:pii-ner'))\n"
        "print([name for name in ('torch', 'transformers', 'keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
