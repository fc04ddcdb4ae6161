"""What our client asks of models: the routes below lit_plugins/, with tiny models of each task."""

import json
import threading
import time

import encoders
import numpy as np
import pytest
import tiny
from lit_nlp import app as lit_app
from lit_nlp import server_flags
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import types as lit_types
from lit_nlp.lib import caching
from werkzeug.test import Client

from lit_plugins.attribution import exchange
from lit_plugins.attribution.explainer import Explainer
from lit_plugins.attribution.methods import METHODS
from lit_plugins.attribution.options import SEGMENTS, Options
from lit_plugins.attribution.watch import Watch
from lit_plugins.components.language_models import GenerationModel, lm_group
from lit_plugins.components.loading import Loadable
from lit_plugins.display import colours
from lit_plugins.errors import Cancelled
from lit_plugins.models import kinds
from lit_plugins.server import explanations, guard, jobs
from lit_plugins.server.serving import NotebookServer

TEXT = encoders.SENTENCE
PROMPT, TARGET = "the cat sat. the dog ate.\n\nthe onion soup.", " is Paris."
HOSTILE = "<img src=x onerror=alert(1)>"
RECORD = {
    "prompt": PROMPT,
    "target": TARGET,
    "text": TEXT,
    "text_a": TEXT,
    "text_b": "we visit oslo",
    "question": "where is ada",
    "context": TEXT,
}


@pytest.fixture(scope="module")
def lm():
    return tiny.hf_model(
        "llama",
        tiny.byte_level_tokenizer(chat=True),
        max_new_tokens=7,
        tokens_per_pass=64,
        max_length=72,
    )


@pytest.fixture(scope="module")
def models(lm, ready):
    found = lm_group("lm", ready(lm), "hf:tiny")
    others = {
        "classifier": encoders.classifier(),
        "pairs": encoders.classifier(fields=("text_a", "text_b")),
        "any": encoders.classifier(problem="multi_label_classification"),
        "number": encoders.classifier(("stars",), problem="regression"),
        "named": encoders.zero_shot(candidate_labels=("dogs", "cats")),
        "tagger": encoders.tagger(),
        "answerer": encoders.answerer(),
    }
    for name, model in others.items():
        profile = kinds.profile_of_loaded(model, name)
        found |= profile.kind.lit_models(name, ready(model), profile, "tiny")
    return found


def make_app(models, examples=(RECORD,)):
    spec = {name: lit_types.TextSegment(required=False) for name in RECORD}
    return lit_app.LitApp(
        dict(models),
        {"data": lit_dataset.Dataset(spec=spec, examples=[dict(one) for one in examples])},
        client_root=str(server_flags.get_flag_holders()["client_root"].default),
        strict_cache_id_validation=True,
    )


class Page:
    """A client: what it asks is of the first record unless it says otherwise."""

    def __init__(self, app, **arguments):
        self.app = app
        self.http = Client(guard.Guard(app, **arguments))
        self.ids = list(app._datasets["data"].index)

    def post(self, route, **body):
        body = {"model": "lm", "dataset": "data", "example": self.ids[0]} | body
        return self.http.post(f"/lit_plugins/{route}", data=json.dumps(body))

    def begin(self, route, **body):
        response = self.post(route, **body)
        assert response.status_code == 200, response.text
        return response.json

    def look(self, told, wanted=("done", "failed", "cancelled")):
        while told["state"] not in wanted:
            response = self.http.get(f"/lit_plugins/jobs/{told['id']}")
            assert response.status_code == 200, response.text
            told = response.json
        return told

    def ask(self, route, **body):
        told = self.look(self.begin(route, **body))
        assert told["state"] == "done", told["error"]
        return told["result"]

    def fails(self, route, **body):
        told = self.look(self.begin(route, **body))
        assert (told["state"], told["result"]) == ("failed", None)
        assert "\n" not in told["error"]
        return told["error"]

    def refused(self, route, status=400, **body):
        response = self.post(route, **body)
        assert response.status_code == status, response.text
        message, mark, _ = response.text.partition("\n\nDetails:")
        assert mark
        assert "\n" not in message
        assert "Traceback" not in response.text
        return message


@pytest.fixture
def page(models):
    for model in models.values():
        model.shared.explainer().forget()
    return Page(make_app(models))


class Passes:
    """Counts what goes through a torch model, and can make it slow."""

    def __init__(self, module):
        self.count, self.seconds = 0, 0.0
        self._handle = module.register_forward_pre_hook(self._count)

    def _count(self, *_):
        self.count += 1
        time.sleep(self.seconds)

    def close(self):
        self._handle.remove()


@pytest.fixture
def passes(lm):
    made = Passes(lm.model)
    yield made
    made.close()


def new_example(**fields):
    """An example that a user has edited, as LIT's client sends it."""
    identity = caching.input_hash(fields)
    return {"id": identity, "data": {**fields, "_id": identity}, "meta": {"added": True}}


# What there is


def test_about_tells_all_methods_with_sign_cost_and_options(page):
    about = page.http.get("/lit_plugins/about").json
    methods = {one["name"]: one for one in about["methods"]}
    assert list(methods) == list(METHODS)
    for name, one in methods.items():
        row = METHODS[name]
        assert (one["title"], one["signed"], one["family"]) == (row.title, row.signed, row.family)
        assert not {"each", "segment", "pattern", "over"} & set(one["options"])
        assert {"foil", "runner_up", "output"} <= set(one["options"])
        own = set(row.defaults) - {"segment", "tolerance", "over"}
        assert own <= set(one["options"]) <= set(about["options"])
    assert methods["grad_l2"]["cost"] == "1 forward, 1 backward"
    assert methods["leave_one_out"]["cost"] == "1 forward a segment + 2"
    assert methods["shapley_sampling"]["cost"] == "25 forward a segment + 2"
    assert methods["integrated_gradients"]["cost"] == "at most 103 forward, 100 backward"
    assert methods["leave_one_out"]["segment"] == "word"
    assert len({one["family"] for one in methods.values()}) in range(3, 7)


def test_about_tells_what_each_option_takes(page):
    options = page.http.get("/lit_plugins/about").json["options"]
    assert options["steps"]["kind"] == "steps"
    assert options["steps"]["default_by_method"] == {"integrated_gradients": "auto"}
    assert options["runner_up"]["kind"] == "flag"
    assert options["foil"]["kind"] == "text"
    assert (options["samples"]["kind"], options["samples"]["whole"]) == ("number", True)
    assert (options["noise"]["kind"], options["noise"]["whole"]) == ("number", False)
    assert options["baseline"]["choices"] == ["zero", "pad", "mask", "unk", "mean", "text"]
    assert options["output"]["choices"] == ["logprob", "logit", "prob"]
    assert options["baseline"]["by_model"]
    assert options["samples"]["default_by_method"]["kernel_shap"] == 128
    for name, one in options.items():
        assert one["help"], name
        assert "\n" not in one["help"]


def test_about_has_the_colours_of_all_that_we_draw(page):
    found = page.http.get("/lit_plugins/about").json["colours"]
    scale = colours.Scale(1.0, True)
    assert found["for"][found["levels"]] == scale.colour(1.0)
    assert found["against"][10] == scale.colour(-0.5)
    assert found["much"][0] == found["page"] == "#ffffff"
    assert {len(found[one]) for one in ("for", "against", "much")} == {21}


def test_about_names_the_models_that_can_be_explained(page):
    found = page.http.get("/lit_plugins/about").json
    assert found["models"] == {
        "lm": {"task": "text-generation", "options": []},
        "classifier": {"task": "text-classification", "options": []},
        "pairs": {"task": "pair-classification", "options": ["over"]},
        "any": {"task": "text-classification", "options": []},
        "number": {"task": "text-classification", "options": []},
        "named": {"task": "zero-shot", "options": ["over"]},
        "tagger": {"task": "token-classification", "options": []},
        "answerer": {"task": "question-answering", "options": ["over"]},
    }
    assert found["units"] == list(SEGMENTS)


def test_about_is_there_before_any_model_and_texts_wait_for_theirs(lm):
    release = threading.Event()

    def load():
        assert release.wait(30)
        return lm

    page = Page(make_app(lm_group("slow", Loadable("slow", load), "hf:slow")))
    assert list(page.http.get("/lit_plugins/about").json["models"]) == ["slow"]
    told = page.begin("texts", model="slow", target=TARGET)
    assert (told["state"], told["done"]) == ("running", 0)
    release.set()
    assert page.look(told)["result"]["target"] == TARGET


# Texts


def test_a_prompt_its_answer_and_its_target(page, lm):
    found = page.ask("texts")
    [response] = [one.response for one in lm.generate([PROMPT])]
    assert found["sequences"] == [
        {"source": "response", "field": "response", "text": response},
        {"source": "target", "field": "target", "text": TARGET},
    ]
    assert found["target"] == response
    text = lm.text(PROMPT, response)
    assert found["tokens"] == lm.shown_tokens(text)
    assert found["pieces"] == lm.plain_tokens(text)
    assert found["target_start"] == text.target_start
    assert (found["dropped"], found["cut"], found["choices"]) == (0, None, [])
    own = "".join(piece for piece, own in zip(found["pieces"], found["own"], strict=True) if own)
    assert own == PROMPT + "".join(found["pieces"][text.target_start :])


def test_another_target_needs_no_answer(page, lm, passes):
    found = page.ask("texts", target=TARGET)
    assert passes.count == 0
    assert found["target"] == TARGET
    assert "".join(found["pieces"][found["target_start"] :]) == TARGET
    assert [one["source"] for one in found["sequences"]] == ["target"]
    page.ask("texts")
    asked = passes.count
    assert asked > 0
    found = page.ask("texts", target=TARGET)
    assert [one["source"] for one in found["sequences"]] == ["response", "target"]
    assert passes.count == asked


def test_the_answer_is_the_one_of_lits_own_page(page, passes):
    path = "/get_preds?model=lm&dataset_name=data&requested_types=&requested_fields=response"
    [shown] = page.http.post(path, data=json.dumps({"inputs": [page.ids[0]]})).json
    asked = passes.count
    assert page.ask("texts")["target"] == shown["response"]
    assert passes.count == asked
    page.ask("explanations", method="grad_l2")
    assert passes.count == asked + 1


def test_segments_are_those_of_the_engine(page, lm):
    found = page.ask("texts", target=TARGET, pattern="the|Paris")
    assert list(found["segments"]) == list(SEGMENTS)
    pieces = found["pieces"]

    def texts(unit):
        return ["".join(pieces[first:last]) for first, last in found["segments"][unit]]

    assert texts("token") == pieces
    assert "".join(texts("paragraph")) == "".join(pieces)
    assert [one.strip() for one in texts("paragraph")][1:3] == [
        "the cat sat. the dog ate.",
        "the onion soup.",
    ]
    assert [one.strip() for one in texts("word")][-2:] == ["is", "Paris."]
    # Tokens that a match reaches into.
    assert [one.strip() for one in texts("regex")][:3] == ["the", "the", "the"]
    made = Explainer(lm).explain(
        PROMPT, TARGET, (found["target_start"], len(pieces)), method="leave_one_out",
        segment="sentence",
    )  # fmt: skip
    mine = found["segments"]["sentence"]
    assert all([one.start, one.stop] in mine for one in made.segments)


def test_patterns(page):
    assert page.ask("texts", target=TARGET, pattern="zebra")["segments"]["regex"] == []
    assert "regex" not in page.ask("texts", target=TARGET, pattern="")["segments"]
    assert "no regular expression" in page.fails("texts", target=TARGET, pattern="(")
    example = new_example(prompt="a" * 40 + "!", target=TARGET)
    error = page.fails("texts", example=example, target=TARGET, pattern=r"(a|aa)+$")
    assert "takes longer" in error
    assert "pattern" in page.refused("texts", pattern="a" * 1001)


def test_a_prompt_that_was_cut_keeps_the_places_of_its_tokens(page, lm):
    long = "the cat sat on the mat. " * 12
    example = new_example(prompt=long, target=TARGET)
    for target in (None, TARGET):
        found = page.ask("texts", example=example, target=target)
        assert found["dropped"] > 0
        text = lm.text(long, found["target"])
        assert found["cut"] == text.content.start
        assert found["own"][found["cut"]]
        start, count = found["target_start"], len(found["tokens"])
        [made] = page.ask(
            "explanations", example=example, target=target, spans=[[start + 1, start + 2]],
            method="grad_dot_input",
        )  # fmt: skip
        assert made["tokens"] == found["tokens"]
        assert made["own"] == found["own"]
        assert made["places"] == [start + 1]
        assert max(one["stop"] for one in made["segments"]) <= count


@pytest.mark.parametrize(
    ("model", "words"),
    [("classifier", TEXT), ("pairs", TEXT + "we visit oslo"), ("tagger", TEXT),
     ("answerer", "where is ada" + TEXT), ("named", TEXT)],
)  # fmt: skip
def test_texts_of_other_models(page, model, words):
    found = page.ask("texts", model=model)
    assert found["sequences"] == []
    assert (found["target"], found["target_start"]) == (None, None)
    own = "".join(piece for piece, own in zip(found["pieces"], found["own"], strict=True) if own)
    assert own == words
    assert sum(one["chosen"] for one in found["choices"]) == 1
    [made] = page.ask("explanations", model=model, method="grad_l2")
    assert made["tokens"] == found["tokens"]


def test_an_edited_example_is_read(page):
    example = new_example(text="we visit a cat")
    assert "".join(page.ask("texts", model="classifier", example=example)["pieces"]) == (
        "[CLS]we visit a cat[SEP]"
    )


# Explanations


@pytest.mark.parametrize("method", METHODS)
def test_explanations_are_those_of_the_engine(page, lm, method):
    few = {"samples": 3, "steps": 3}
    options = {key: few[key] for key in few if key in METHODS[method].defaults}
    options["segment"] = "word"
    found = page.ask("texts", target=TARGET)
    start, stop = found["target_start"], len(found["tokens"])
    made = page.ask(
        "explanations", target=TARGET, spans=[[start, stop], [start, start + 1]], method=method,
        options=options,
    )  # fmt: skip
    explainer = Explainer(lm)
    for one, span in zip(made, [(start, stop), (start, start + 1)], strict=True):
        card = one.pop("card")
        read = exchange.from_record(one)
        expected = explainer.explain(PROMPT, TARGET, span, method=method, **options)
        assert read.segments == expected.segments
        np.testing.assert_allclose(read.scores, expected.scores, rtol=1e-3, atol=1e-5)
        assert (read.units, read.signed) == (expected.units, expected.signed)
        assert card["heading"].startswith("Why")
        facts = dict(card["facts"])
        assert facts["Model"] == "tiny llama"
        assert method in facts["Method"]
        assert card["warnings"] == list(expected.warnings)


def test_without_spans_the_whole_target_is_explained(page, lm):
    [made] = page.ask("explanations", target=TARGET, method="grad_l2")
    text = lm.text(PROMPT, TARGET)
    assert made["places"] == list(range(text.target_start, len(text.ids)))
    [made] = page.ask("explanations", method="grad_l2")  # of the answer
    assert made["inputs"]["target"] == page.ask("texts")["target"]


def test_a_heat_map_has_a_row_for_each_token_and_gives_further_spans_for_nothing(page, passes):
    start = page.ask("texts", target=TARGET)["target_start"]
    span = [start, start + 3]
    options = {"each": True}
    [made] = page.ask(
        "explanations", target=TARGET, spans=[span], method="grad_dot_input", options=options
    )
    scores = np.array(made["scores"])
    assert scores.shape == (3, len(made["segments"]))
    assert len(made["value"]) == 3
    asked = passes.count
    [one, two] = page.ask(
        "explanations", target=TARGET, spans=[[start, start + 2], [start + 2, start + 3]],
        method="grad_dot_input",
    )  # fmt: skip
    assert passes.count == asked
    np.testing.assert_allclose(one["scores"], scores[:2].sum(0), rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(two["scores"], scores[2], rtol=1e-4, atol=1e-6)


def test_spans_of_one_request_share_their_pass(page, passes):
    start = page.ask("texts", target=TARGET)["target_start"]
    spans = [[start + n, start + n + 1] for n in range(3)]
    made = page.ask("explanations", target=TARGET, spans=spans, method="grad_l2")
    assert [one["places"] for one in made] == [[first] for first, _ in spans]
    assert passes.count <= 2
    asked = passes.count
    page.ask("explanations", target=TARGET, spans=spans, method="grad_l2")
    assert passes.count == asked


def test_a_contrast(page):
    start = page.ask("texts", target=TARGET)["target_start"]
    stop = len(page.ask("texts", target=TARGET)["tokens"])
    [made] = page.ask(
        "explanations", target=TARGET, spans=[[start, stop]], method="grad_dot_input",
        options={"foil": " is soup."},
    )  # fmt: skip
    assert made["foil"] == " is soup."
    assert "soup" in made["card"]["heading"]


@pytest.mark.parametrize("model", ["classifier", "any", "number", "named", "pairs"])
def test_each_choice_of_a_classifier_can_be_explained(page, models, model):
    choices = page.ask("texts", model=model)["choices"]
    assert [one["chosen"] for one in choices] == [True] + [False] * (len(choices) - 1)
    assert len(choices) == {"number": 1, "named": 2}.get(model, 3)
    engine = models[model].shared.explainer()
    for one in choices:
        choice = {"label": one["label"], "span": one["span"]}
        [made] = page.ask("explanations", model=model, choice=choice, method="grad_dot_input")
        assert made["names"] == [one["name"]]
        expected = engine.explain(RECORD, one["label"], method="grad_dot_input")
        np.testing.assert_allclose(made["scores"], expected.scores, rtol=1e-4, atol=1e-6)
    [made] = page.ask("explanations", model=model, method="grad_dot_input")
    assert made["names"] == [choices[0]["name"]]


def test_each_label_by_itself(page):
    options = {"each": True}
    [made] = page.ask("explanations", model="classifier", method="grad_l2", options=options)
    assert made["names"] == ["NEGATIVE", "POSITIVE", "MIXED"]
    assert np.shape(made["scores"])[0] == 3


def test_choices_of_a_tagger(page, models):
    choices = page.ask("texts", model="tagger")["choices"]
    [output] = models["tagger"].predict([RECORD])
    entity = output["spans"][0]
    assert choices[0]["chosen"]
    assert choices[0]["name"].startswith(entity.label + ": ")
    assert len({one["span"] for one in choices}) == len(choices)
    tags = output["predicted_tags"]
    for one in (*choices[:2], choices[-1]):
        [made] = page.ask(
            "explanations", model="tagger", choice={"label": None, "span": one["span"]},
            method="grad_l2",
        )  # fmt: skip
        first, _, last = one["span"].split(" ")[1].partition("-")
        words = range(int(first) - 1, int(last or first))
        assert made["names"] == [f"{tags[n]} of {output['tokens'][n]}" for n in words]


def test_an_entity_of_several_words_and_a_word_that_is_there_twice(page, models, monkeypatch):
    example = new_example(text="oslo a oslo b")
    model = models["tagger"].shared.get()
    plain = model.tag
    tags = np.eye(5)[[1, 0, 3, 4]]  # B-PER O B-CITY I-CITY

    def tag(examples):
        found = plain(examples)
        for tagged in found:
            for word, scores in zip(tagged.words, tags, strict=True):
                word.scores[:] = scores
        return found

    monkeypatch.setattr(model, "tag", tag)
    choices = page.ask("texts", model="tagger", example=example)["choices"]
    assert [(one["name"], one["span"]) for one in choices] == [
        ("PER: oslo", "word 1"),
        ("CITY: oslo b", "words 3-4"),
        ("O of a", "word 2"),
        ("B-CITY of oslo", "word 3"),
        ("I-CITY of b", "word 4"),
    ]
    [made] = page.ask(
        "explanations", model="tagger", example=example, method="grad_l2",
        choice={"label": None, "span": "words 3-4"},
    )  # fmt: skip
    assert made["names"] == ["B-CITY of oslo", "I-CITY of b"]
    assert made["places"] == [3, 4]


def test_choices_of_a_question_answerer(page, models):
    choices = page.ask("texts", model="answerer")["choices"]
    [output] = models["answerer"].predict([RECORD])
    best = output["best_answers"][0][0]
    assert [one["name"] for one in choices[:3]] == [best, f"start of {best}", f"end of {best}"]
    for one, count in zip(choices[:4], (2, 1, 1, 2), strict=True):
        choice = {"label": one["label"], "span": one["span"]}
        [made] = page.ask("explanations", model="answerer", choice=choice, method="grad_l2")
        assert len(made["names"]) == count
        assert made["names"][0].endswith(one["name"].split(" of ", 1)[-1])


# Costs


def test_costs_run_no_model(page, passes, lm):
    start = page.ask("texts", target=TARGET)["target_start"]
    found = page.post("costs", target=TARGET, spans=[[start, start + 1]], options={}).json
    assert list(found) == list(METHODS)
    assert passes.count == 0
    assert found["grad_l2"]["forward"] == found["grad_l2"]["backward"] == 1


def test_costs_are_what_is_used(page):
    start = page.ask("texts", target=TARGET)["target_start"]
    body = {"target": TARGET, "spans": [[start, start + 2]]}
    options = {"segment": "sentence", "samples": 4}
    found = page.post("costs", **body, options=options).json
    for method in ("grad_dot_input", "leave_one_out", "smooth_grad", "lime"):
        taken = {key: options[key] for key in options if key != "samples"}
        if "samples" in METHODS[method].defaults:
            taken = options
        [made] = page.ask("explanations", **body, method=method, options=taken)
        expected = found[method]["forward"], found[method]["backward"]
        # Where the score at the input is known already, it is not asked for again.
        assert expected[0] - 2 <= made["forward"] <= expected[0]
        assert made["backward"] == expected[1]
    more = page.post("costs", **body, options={"segment": "token"}).json
    assert more["leave_one_out"]["forward"] > found["leave_one_out"]["forward"]
    two = page.post("costs", target=TARGET, spans=[[start, start + 2]] * 2, options=options).json
    assert two["leave_one_out"]["forward"] == 2 * found["leave_one_out"]["forward"]


@pytest.mark.parametrize(
    "model", ["classifier", "pairs", "any", "number", "named", "tagger", "answerer"]
)
def test_costs_of_other_models(page, models, model):
    module = models[model].shared.get().model
    counter = Passes(module)
    try:
        found = page.post("costs", model=model, options={"segment": "word"}).json
        assert counter.count == 0
    finally:
        counter.close()
    [made] = page.ask(
        "explanations", model=model, method="leave_one_out", options={"segment": "word"}
    )
    assert found["leave_one_out"]["forward"] == made["forward"]
    response = page.post("costs", model=model, options={"output": "logit", "foil": "POSITIVE"})
    twice = 2 if model == "named" else 1  # another label is another text
    assert response.json["grad_l2"]["forward"] == twice * found["grad_l2"]["forward"]


def test_costs_of_one_method(page):
    body = {"target": TARGET, "options": {"samples": 4}}
    every = page.post("costs", **body).json
    found = page.post("costs", method="lime", **body).json
    assert found == {"lime": every["lime"]}
    assert "lmie" in page.refused("costs", method="lmie", **body)


def test_costs_that_take_long_to_count(page, monkeypatch):
    monkeypatch.setattr(explanations, "COUNTING", 0)
    assert "Ask for fewer" in page.refused("costs", target=TARGET)


def test_costs_in_seconds_once_a_pass_was_timed(ready):
    model = tiny.hf_model("gpt2", tiny.byte_fallback_tokenizer())
    page = Page(make_app(lm_group("new", ready(model))))
    body = {"model": "new", "target": TARGET}
    assert page.post("costs", **body).json["occlusion"]["seconds"] is None
    page.ask("explanations", **body, method="feature_ablation")
    assert page.post("costs", **body).json["occlusion"]["seconds"] > 0


def test_costs_need_something_to_explain(page):
    example = new_example(prompt="the cat sat")
    assert "Give a target" in page.refused("costs", example=example)


# Progress and cancel


SLOW = {"method": "integrated_gradients", "options": {"steps": 400}}


def test_progress_grows_and_cancel_stops_the_model(page, passes):
    passes.seconds = 0.02
    told = page.begin("explanations", target=TARGET, **SLOW)
    seen = [told]
    while seen[-1]["done"] < 5:
        assert seen[-1]["state"] == "running"
        seen.append(page.look(told, wanted=("running",)))
        time.sleep(0.05)
    done = [one["done"] for one in seen]
    assert done == sorted(done)
    assert seen[-1]["expected"] == 803
    told = page.http.post(f"/lit_plugins/jobs/{told['id']}/cancel").json
    count = passes.count
    assert told["state"] == "cancelled"
    time.sleep(0.5)  # 25 passes
    assert passes.count <= count + 2
    passes.seconds = 0
    assert page.ask("explanations", target=TARGET, method="grad_l2")


def test_cancel_while_another_uses_the_model(page, lm, passes):
    with lm.lock:
        told = page.begin("explanations", target=TARGET, method="feature_ablation")
        told = page.http.post(f"/lit_plugins/jobs/{told['id']}/cancel").json
        assert told["state"] == "cancelled"
    # Whoever asks next gets the model after it.
    page.ask("texts", target=TARGET)
    time.sleep(0.2)
    assert passes.count == 0


def test_cancel_between_asking_and_the_first_pass(lm, passes):
    """Who waits for the model while computing begins hears of it, too."""
    explainer, cancel = Explainer(lm), threading.Event()
    question = explainer.of_target(PROMPT, TARGET)
    failed = []

    def explain():
        try:
            explainer.answer([question], "grad_l2", {}, Watch(cancel=cancel))
        except Cancelled as error:
            failed.append(error)

    with lm.lock:
        thread = threading.Thread(target=explain)
        thread.start()
        time.sleep(0.2)
        cancel.set()
    thread.join()
    assert failed
    assert passes.count == 0


@pytest.mark.parametrize("wait", ["load", "answer"])
def test_cancel_while_another_loads_or_answers(ready, lm, monkeypatch, wait):
    """Who waits for that holds no thread when nobody wants it any more."""
    release, entered = threading.Event(), []

    def slow(*_, **__):
        entered.append(1)
        assert release.wait(30)
        return lm if wait == "load" else [{"response": TARGET}]

    if wait == "answer":
        monkeypatch.setattr(GenerationModel, "_predict", slow)
    loaded = Loadable("lm", slow) if wait == "load" else ready(lm)
    page = Page(make_app(lm_group("lm", loaded)))
    known = page.http.application._explanations.jobs
    known._wait = 0
    try:
        first = page.begin("texts")
        examples = [new_example(prompt=f"the {number}") for number in range(2 * jobs.MOST)]
        for example in examples:
            told = page.begin("texts", example=example)
            page.http.post(f"/lit_plugins/jobs/{told['id']}/cancel")
            while known._jobs[told["id"]].working:
                time.sleep(0.01)
        assert len(entered) == 1
    finally:
        release.set()
    assert page.look(first)["state"] == "done"


def test_a_text_whose_answer_is_known_waits_for_no_other(page, monkeypatch):
    page.ask("texts")
    release = threading.Event()
    monkeypatch.setattr(GenerationModel, "_predict", lambda *_: release.wait(30) and [])
    page.http.application._explanations.jobs._wait = 0
    page.begin("texts", example=new_example(prompt="the dog"))
    assert page.ask("texts")["target"]
    release.set()


def test_a_client_that_is_gone(page, passes):
    guarded = page.http.application
    guarded._explanations.jobs = jobs.Jobs(wait=0, gone=0.3)
    passes.seconds = 0.02
    page.begin("explanations", target=TARGET, **SLOW)
    end = time.monotonic() + 20
    count = -1
    while passes.count != count or not count:
        assert time.monotonic() < end
        count = passes.count
        time.sleep(0.3)
    assert 0 < passes.count < 400


def test_a_failure_and_the_next_request(page):
    long = " ".join(["the"] * 90)
    error = page.fails("explanations", target=long, method="grad_l2")
    assert "No room is left" in error
    assert page.ask("explanations", target=TARGET, method="grad_l2")


def test_a_defect_is_told_without_its_details(page, models, monkeypatch, caplog):
    def broken(*_):
        raise ZeroDivisionError(f"secret {HOSTILE}")

    monkeypatch.setattr(type(models["lm"]), "questions", broken)
    error = page.fails("explanations", target=TARGET, method="grad_l2")
    assert error.startswith("Internal error (reference ")
    assert "secret" not in error
    assert "ZeroDivisionError" in caplog.text


def test_busy(page, monkeypatch):
    monkeypatch.setattr(jobs, "MOST", 0)
    assert "Try again" in page.refused("texts", 503, target=TARGET)
    assert page.http.get("/lit_plugins/about").status_code == 200


# What is refused


def test_more_than_fits_into_an_answer(page, monkeypatch):
    start = page.ask("texts", target=TARGET)["target_start"]
    body = {"target": TARGET, "method": "grad_l2", "spans": [[start, start + 1]] * 9}
    monkeypatch.setattr(explanations, "MOST_NUMBERS", 10_000)
    assert page.ask("explanations", **body)
    monkeypatch.setattr(explanations, "MOST_NUMBERS", 1000)
    assert "Ask for fewer spans" in page.fails("explanations", **body)


def test_a_foil_that_does_not_fit(page):
    options = {"foil": "the " * 500}
    error = page.fails("explanations", target=TARGET, method="grad_l2", options=options)
    assert "max_length is 72" in error


def test_the_same_answer_in_two_places_is_one_choice(models):
    model = models["answerer"]
    best = [("ada", 0.5), ("oslo", 0.2), ("ada", 0.1), ("(no answer)", 0.1), ("oslo", 0.1)]
    choices = model._choices(model.shared.get(), RECORD, {"best_answers": best})
    assert [one.label for one in choices] == [None, None, None, "oslo", "no answer"]


def test_spans_must_be_in_the_target(page):
    found = page.ask("texts", target=TARGET)
    start, stop = found["target_start"], len(found["tokens"])
    for span in ([start - 1, start + 1], [start, stop + 1], [start + 1, start + 1], [-1, 2]):
        error = page.fails("explanations", target=TARGET, spans=[span], method="grad_l2")
        assert f"{start} <= first < last <= {stop}" in error


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"model": "nobody"}, ["nobody", "classifier"]),
        ({"model": "_lm_salience"}, ["_lm_salience"]),
        ({"dataset": "none"}, ["none", "data"]),
        ({"example": "no such id"}, ["no such id"]),
        ({"example": 3}, ["id"]),
        ({"example": {"id": "x", "data": {"prompt": 3, "_id": "x"}}}, ["_id"]),
        ({"example": {"id": "", "data": {"prompt": 3, "_id": ""}}}, ["prompt", "text"]),
        ({"method": "grad_l3"}, ["grad_l3", "grad_l2"]),
        ({"method": None}, ["method"]),
        ({"options": {"setps": 3}}, ["setps", "steps"]),
        ({"options": {"steps": 3}}, ["grad_l2", "steps"]),
        ({"options": {"segment": "verse"}}, ["segment", "verse"]),
        ({"options": {"foil": "\ud800"}}, ["foil", "surrogate"]),
        ({"options": {"\ud800": "\ud800"}}, ["ud800", "surrogate"]),
        ({"options": 3}, ["options"]),
        ({"target": 3}, ["target"]),
        ({"target": "\ud800"}, ["target", "surrogate"]),
        ({"spans": []}, ["spans"]),
        ({"spans": [[1]]}, ["spans"]),
        ({"spans": [[1, 2.5]]}, ["spans"]),
        ({"spans": [[1, True]]}, ["spans"]),
        ({"spans": [[1, 2]] * 1001}, ["spans"]),
        ({"choice": "x"}, ["choice"]),
        ({"choice": {"lable": "x"}}, ["choice"]),
        ({"pattern": "x"}, ["pattern"]),
        ({"limit_seconds": 9e9}, ["limit_seconds"]),
    ],
)
def test_malformed_requests(page, body, words):
    message = page.refused("explanations", **{"method": "grad_l2", **body})
    for word in words:
        assert word in message


@pytest.mark.parametrize(
    ("model", "body", "words"),
    [
        ("lm", {"choice": {"label": "x"}}, "choice is for"),
        ("classifier", {"target": "x"}, "for language models"),
        ("classifier", {"spans": [[1, 2]]}, "for language models"),
        ("classifier", {"choice": {"label": "x"}}, "no label 'x'"),
        ("classifier", {"choice": {"span": "word 1"}}, "span is 'word 1'"),
        ("tagger", {"choice": {"span": "words 3-99"}}, "words 1 to 16"),
        ("tagger", {"choice": {"span": "words 3-2"}}, "words 1 to 16"),
        ("answerer", {"choice": {"label": "nowhere"}}, "not in the context"),
        ("classifier", {"options": {"over": "first"}}, "no option 'over'"),
    ],
)
def test_questions_that_make_no_sense(page, model, body, words):
    assert words in page.fails("explanations", model=model, method="grad_l2", **body)


def test_a_field_of_a_long_name(page):
    assert len(page.refused("texts", choice={"x" * 9999: 1})) < 300


def test_ways_to_ask(page):
    assert page.http.get("/lit_plugins/texts").status_code == 405
    assert page.http.post("/lit_plugins/about").status_code == 405
    assert page.http.get("/lit_plugins/jobs/abc/cancel").status_code == 405
    missing = page.http.get("/lit_plugins/jobs/abc")
    assert missing.status_code == 404
    assert "no job 'abc'" in missing.text
    assert page.http.post("/lit_plugins/jobs/abc/cancel").status_code == 404
    assert page.http.get("/lit_plugins/jobs").status_code == 404
    assert page.http.get("/lit_plugins/nothing").status_code == 404
    assert page.http.post("/lit_plugins/texts", data="{").status_code == 400


def test_pages_of_elsewhere_cannot_ask(page):
    body = json.dumps({"model": "lm", "dataset": "data", "example": page.ids[0]})
    elsewhere = {"Origin": "http://evil.example"}
    for route in ("texts", "explanations", "costs", "jobs/abc/cancel"):
        response = page.http.post(f"/lit_plugins/{route}", data=body, headers=elsewhere)
        assert response.status_code == 403, route
    # A notebook's page is shown through a proxy of another name.
    notebook = NotebookServer(page.app)
    client = Client(notebook._guard)
    response = client.post("/lit_plugins/texts", data=body, headers=elsewhere)
    assert response.status_code == 200
    assert response.json["state"] in ("running", "done")


def test_markup_in_names_and_texts_stays_data(ready):
    model = encoders.classifier(labels=(HOSTILE, "other"))
    profile = kinds.profile_of_loaded(model, "hostile")
    made = profile.kind.lit_models(HOSTILE, ready(model), profile, HOSTILE)
    page = Page(make_app(made, [{"text": HOSTILE}]))
    response = page.http.get("/lit_plugins/about")
    assert response.content_type == "application/json"
    assert list(response.json["models"]) == [HOSTILE]
    response = page.post("texts", model=HOSTILE)
    assert response.content_type == "application/json"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    found = page.look(response.json)["result"]
    assert HOSTILE in [one["label"] for one in found["choices"]]
    choice = {"label": HOSTILE, "span": None}
    [made] = page.ask("explanations", model=HOSTILE, choice=choice, method="grad_l2")
    assert made["names"] == [HOSTILE]
    assert page.post("texts", model=f"{HOSTILE}2").content_type == "text/plain; charset=utf-8"


def test_every_option_is_shown_or_has_a_control_of_its_own(page):
    options = page.http.get("/lit_plugins/about").json["options"]
    hidden = {"each", "segment", "pattern", "tolerance"}
    assert set(options) | hidden == set(Options.model_fields)
