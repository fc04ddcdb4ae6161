"""The guard: what a client may ask, and what it is told."""

import json
import logging
import re

import pytest
from lit_nlp.lib import caching
from werkzeug.test import Client

from lit_plugins.server import guard


@pytest.fixture
def app(make_app, echo, client_root):
    return make_app(echo, client_root)


@pytest.fixture
def client(app):
    return Client(guard.Guard(app, lambda: {"echo": {"state": "ready"}}))


def example(**fields):
    """A new example, as LIT's client sends it."""
    identity = caching.input_hash(fields)
    return {"id": identity, "data": {**fields, "_id": identity}, "meta": {"added": True}}


def post(client, path, body=None, **arguments):
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    return client.post(path, data=body, content_type="text/plain", **arguments)


PREDS = "/get_preds?model=echo&dataset_name=menus&requested_types=&requested_fields="


def assert_refused(response, status, *words):
    """One line of plain text, in the form from which LIT's client takes its message."""
    text = response.text
    assert response.status_code == status, text
    assert response.content_type == "text/plain; charset=utf-8"
    assert response.headers["X-Content-Type-Options"] == "nosniff"
    message, mark, _ = text.partition("\n\nDetails:")
    assert mark
    assert "\n" not in message
    assert "Traceback" not in text
    assert "File " not in text
    for word in words:
        assert word in message


# What must work


def test_the_clients_own_requests(client, app):
    info = post(client, "/get_info", {"inputs": []})
    assert info.status_code == 200
    assert info.json["models"]["echo"]["datasets"][0] == "menus"
    assert client.get("/get_info/").json == info.json
    examples = post(client, "/get_dataset?dataset_name=menus", {"inputs": []}).json
    assert [entry["data"]["prompt"] for entry in examples] == ["one", "two", "three"]
    preds = post(client, PREDS, {"inputs": [examples[1]["id"], example(prompt="four")]})
    assert [pred["response"] for pred in preds.json] == ["TWO", "FOUR"]
    path = "/get_preds?model=echo&dataset_name=menus&requested_types=GeneratedText"
    preds = post(client, path, {"inputs": [examples[0]["id"]], "config": None})
    assert preds.json == [{"response": "ONE"}]


def test_new_examples_get_their_ids(client):
    new = {"id": "", "data": {"prompt": "new", "_id": ""}, "meta": {"added": True}}
    made = post(client, "/annotate_new_data?dataset_name=menus", {"inputs": [new]}).json
    assert made[0]["id"] == made[0]["data"]["_id"] == caching.input_hash({"prompt": "new"})
    preds = post(client, PREDS, {"inputs": made})
    assert preds.json[0]["response"] == "NEW"


def test_examples_posted_as_documented(client):
    links = post(client, "/post_new_data?dataset_name=menus", {"inputs": [{"prompt": "mine"}]})
    query = links.json["load"]
    fetched = post(client, f"/fetch_new_data{query}", {"inputs": []})
    assert fetched.json[0]["data"]["prompt"] == "mine"
    assert post(client, links.json["remove"]).status_code == 200
    assert_refused(post(client, f"/fetch_new_data{query}"), 400, "saved")


def test_generators_interpreters_and_metrics(client):
    query = "model=echo&dataset_name=menus"
    inputs = [example(prompt="one two three")]
    body = {"inputs": inputs, "config": {"Fields to scramble": ["prompt"]}}
    made = post(client, f"/get_generated?{query}&generator=Scrambler", body)
    assert made.status_code == 200, made.text
    assert sorted(made.json[0][0]["data"]["prompt"].split()) == ["one", "three", "two"]
    body = {"inputs": [example(prompt="x", target="X")]}
    metrics = post(client, f"/get_metrics?{query}&metrics=exactmatch", body)
    assert metrics.status_code == 200, metrics.text


def test_a_dataset_from_the_dialog(client):
    body = {"config": {"new_name": "more", "path": "good"}}
    info, name = post(client, "/create_dataset?dataset_name=prompts", body).json
    assert name == "more"
    assert info["datasets"]["more"]["size"] == 3


def test_a_model_from_the_dialog(client, app, monkeypatch, echo):
    opened = []

    def fake_models(specs):
        opened.extend(specs)
        return {}, {specs[0].name: echo}

    monkeypatch.setattr("lit_plugins.server.build.models", fake_models)
    config = {"new_name": "m2", "source": "hf:packaged:smollm2-135m-instruct"}
    body = {"config": {**config, "options": "max_new_tokens=5"}}
    response = post(client, "/create_model?model_name=language+model", body)
    assert response.status_code == 200, response.text
    assert response.json[1] == ["m2"]
    assert opened[0].options.max_new_tokens == 5
    assert_refused(post(client, "/create_model?model_name=language+model", body), 400, "taken")


def test_static_files(client):
    script = client.get("/main.js")
    assert (script.text, script.content_type) == ("let x;", "text/javascript; charset=utf-8")
    assert client.head("/main.js").status_code == 200
    for name in ("main", "status", "lit/layout_settings"):
        module = client.get(f"/lit_plugins/client/{name}.js")
        assert module.content_type == "text/javascript; charset=utf-8"
    assert client.get("/lit_plugins/status").json == {"models": {"echo": {"state": "ready"}}}


def test_the_page_gets_our_script(make_app, echo):
    page = Client(guard.Guard(make_app(echo))).get("/index.html").text
    ours = 'src="lit_plugins/client/main.js"'  # relative: behind any prefix
    parts = ("<lit-app>", '"main.js"', ours, "</body>")
    assert sorted(parts, key=page.index) == list(parts)


def test_page_asks_nobody_else_for_fonts(make_app, echo):
    client = Client(guard.Guard(make_app(echo)))
    page = client.get("/").text
    assert "https://" not in page.partition("<head>")[2]
    assert page.index("lit_plugins/client/fonts.css") < page.index("</head>")
    assert page.index("lit_plugins/page.css") < page.index("</head>")
    assert "<style" not in page
    assert "margin: 0;" in client.get("/lit_plugins/page.css").text
    style = client.get("/lit_plugins/client/fonts.css")
    assert style.headers["Content-Type"].startswith("text/css")
    files = set(re.findall(r"url\('([^']+)'\)", style.text))
    assert len(files) >= 5
    for name in files:
        font = client.get(f"/lit_plugins/client/{name}")
        assert font.status_code == 200
        assert font.headers["Content-Type"] == "font/woff2"
        assert font.data[:4] == b"wOF2"


def test_the_pages_policy(app):
    policy = Client(guard.Guard(app)).get("/").headers["Content-Security-Policy"]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    assert rules["default-src"] == "'none'"
    assert rules["script-src"] == "'self' 'unsafe-eval'"  # LIT's plots compile code
    assert rules["style-src"] == rules["frame-ancestors"] == "'self'"
    # A notebook's page is framed by another origin.
    notebook = Client(guard.Guard(app, allow_cross_origin=True)).get("/")
    policy = notebook.headers["Content-Security-Policy"]
    assert "frame-ancestors" not in policy
    assert "script-src 'self' 'unsafe-eval';" in policy


# What must not


@pytest.mark.parametrize(
    "path",
    [
        "/../client_private/secret.txt",
        "/%2e%2e/client_private/secret.txt",
        "/static/../../client_private/secret.txt",
        "//etc/passwd",
        "/link.txt",
        "/static",
        "/nothing.js",
        "/%00",
        "/" + "a" * 5000,
        "/lit_plugins/client/../server/guard.py",
        "/lit_plugins/client/",
        "/lit_plugins/server/guard.py",
    ],
)
def test_no_other_file_is_served(client, path):
    assert_refused(client.get(path), 404)


@pytest.mark.parametrize("path", ["/save_datapoints", "/load_datapoints"])
def test_no_client_reaches_the_disk(client, tmp_path, path):
    query = {"dataset_name": "menus", "path": str(tmp_path)}
    body = json.dumps({"inputs": [example(prompt="x")]})
    assert_refused(client.post(path, query_string=query, data=body), 403)
    assert_refused(client.get(path, query_string=query), 403)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["client", "client_private"]


ID = caching.input_hash({"prompt": "one"})


@pytest.mark.parametrize(
    ("path", "body", "words"),
    [
        (PREDS, "{", ["JSON"]),
        (PREDS, b"\xff\xfe", ["JSON"]),
        (PREDS, "[1]", ["object"]),
        (PREDS, "[" * 100_000, ["deeply"]),
        (PREDS, '{"inputs": ' + "[" * 900 + "]" * 900 + "}", []),
        (PREDS, '{"inputs": [' + "9" * 5000 + "]}", ["JSON"]),
        (PREDS, '{"inputs": [NaN]}', ["NaN"]),
        (PREDS, {"inputs": [{"__name__": "Nonsense"}]}, ["JSON"]),
        (PREDS, {"inputs": [{"__name__": "TextSegment", "oops": 1}]}, ["JSON"]),
        (PREDS, {"inputs": [{"__class__": "np.ndarray"}]}, ["malformed"]),
        (PREDS, "", ["inputs"]),
        (PREDS, {}, ["inputs"]),
        (PREDS, {"inputs": {"a": 1}}, ["inputs"]),
        (PREDS, {"inputs": [5]}, ["Example 0"]),
        (PREDS, {"inputs": ["unknown-id"]}, ["unknown-id"]),
        (PREDS, {"inputs": [{"data": {"prompt": "x"}}]}, ["id"]),
        (PREDS, {"inputs": [ID, {"id": ID, "data": {"prompt": "x", "_id": ID}}]}, ["hash"]),
        (PREDS, {"inputs": [{"id": "", "data": {"prompt": 5, "_id": ""}}]}, ["prompt", "text"]),
        (PREDS, {"inputs": [{"id": "", "data": {"_id": ""}}]}, ["lacks", "prompt"]),
        (PREDS, {"inputs": [{"id": "", "data": {"prompt": "\ud800", "_id": ""}}]}, ["surrogate"]),
        (
            PREDS,
            {"inputs": [{"id": "", "data": {"prompt": "", "_id": "", "target_mask": ["x"]}}]},
            ["target_mask", "numbers"],
        ),
        (PREDS, {"inputs": [example(prompt="too long")]}, ["9 tokens; at most 8"]),
        ("/get_preds?dataset_name=menus", {"inputs": []}, ["model"]),
        ("/get_preds?model=nobody", {"inputs": []}, ["nobody", "Available: echo"]),
        ("/get_preds?model=echo&dataset_name=x", {"inputs": []}, ["menus"]),
        ("/get_preds?model=echo&requested_types=attr", {"inputs": []}, ["attr"]),
        ("/get_preds?model=echo", {"inputs": [{"data": {"prompt": "", "_id": ["x"]}}]}, ["_id"]),
        ("/get_dataset?dataset_name=x", None, ["dataset", "'x'"]),
        ("/get_dataset", None, ["dataset_name"]),
        ("/annotate_new_data?dataset_name=menus", {"inputs": [{"data": 1}]}, ["object"]),
        ("/post_new_data?dataset_name=menus", {"inputs": ["x"]}, ["object"]),
        ("/post_new_data?dataset_name=menus", {"inputs": [{"prompt": 5}]}, ["text"]),
        ("/fetch_new_data?saved_datapoints_id=x", None, ["'x'"]),
        ("/push_ui_state?dataset_name=menus", {"inputs": []}, ["notebook"]),
        (
            "/get_interpretations?model=echo&dataset_name=menus&interpreter=x",
            {"inputs": []},
            ["interpreter", "'x'"],
        ),
        (
            "/get_interpretations?model=echo&dataset_name=menus&interpreter=pca",
            {"inputs": [], "config": [1]},
            ["config"],
        ),
        ("/get_generated?model=echo&dataset_name=menus&generator=x", {"inputs": []}, ["'x'"]),
        ("/get_metrics?model=echo&dataset_name=menus&metrics=x", {"inputs": [ID]}, ["metric"]),
        ("/get_metrics?model=echo&dataset_name=menus", {"inputs": []}, ["at least one"]),
        ("/create_model?model_name=x", {"config": {}}, ["language model"]),
        ("/create_model?model_name=language model", None, ["config"]),
        ("/create_model?model_name=language model", {"config": "x"}, ["config"]),
        ("/create_model?model_name=language model", {"config": {"new_name": "a"}}, ["source"]),
        ("/create_dataset?dataset_name=menus", {"config": {}}, ["prompts"]),
        ("/create_dataset?dataset_name=prompts", {"config": {"path": 5}}, ["text"]),
        (
            "/create_dataset?dataset_name=prompts",
            {"config": {"new_name": "a", "path": "x", "pth": "y"}},
            ["pth"],
        ),
        (
            "/create_dataset?dataset_name=prompts",
            {"config": {"new_name": "a", "path": "/etc/passwd"}},
            ["No file '/etc/passwd'"],
        ),
    ],
)
def test_client_mistakes(client, path, body, words):
    assert_refused(post(client, path, body), 400, *words)


@pytest.mark.parametrize("name", ["", "_hidden", "a&b", "<b>", "a b", "a/b", 5, None, "a" * 101])
def test_names_that_would_break_the_page(client, app, name):
    body = {"config": {"new_name": name, "path": "good"}}
    assert_refused(post(client, "/create_dataset?dataset_name=prompts", body), 400, "name")
    body = {"config": {"new_name": name, "source": "hf:packaged:smollm2-135m-instruct"}}
    assert_refused(post(client, "/create_model?model_name=language model", body), 400, "name")
    assert set(app._models) == {"echo"}


@pytest.mark.parametrize(
    ("source", "options", "word"),
    [
        ("hf:/etc", "", "may not be loaded"),
        ("hf:somebody/model", "", "may not be loaded"),
        ("keras:https://example.org/x", "", ""),
        ("hf:packaged:smollm2-135m-instruct", "trust_remote_code=true", "trust_remote_code"),
        ("hf:packaged:smollm2-135m-instruct", "chat=/etc/x.jinja", "chat"),
        ("hf:packaged:smollm2-135m-instruct", "dtype=int3", "dtype"),
        ("hf:packaged:nothing", "", "nothing"),
        ("", "", ""),
    ],
)
def test_models_from_anywhere_else(client, app, source, options, word):
    body = {"config": {"new_name": "m", "source": source, "options": options}}
    assert_refused(post(client, "/create_model?model_name=language model", body), 400, word)
    assert set(app._models) == {"echo"}
    assert post(client, PREDS, {"inputs": [ID]}).status_code == 200


def test_a_defect_shows_a_reference_and_nothing_else(client, caplog):
    with caplog.at_level(logging.ERROR):
        response = post(client, PREDS, {"inputs": [example(prompt="defect")]})
    assert_refused(response, 500, "Internal error (reference ", "see the server's log")
    assert "secret" not in response.text
    reference = response.text.split("reference ")[1][:6]
    assert reference in caplog.text
    assert "ZeroDivisionError: secret" in caplog.text


def test_nan_is_named_instead_of_sent(client):
    response = post(client, PREDS, {"inputs": [ID, example(prompt="nan")]})
    assert_refused(response, 500, "'echo' gave NaN or infinity in 1.score", "float32")


def test_methods(client):
    assert_refused(client.get(PREDS), 405, "POST")
    assert_refused(client.put("/get_info"), 405)
    assert_refused(client.post("/main.js"), 405)
    assert_refused(client.delete("/"), 405)


@pytest.mark.parametrize(
    ("length", "status"), [("-1", 400), ("x", 400), ("٣", 400), ("9" * 18, 413), ("9" * 5000, 400)]
)
def test_lengths(client, length, status):
    environ = {"CONTENT_LENGTH": length}
    response = client.post(PREDS, data=b"{}", environ_overrides=environ)
    assert_refused(response, status)


def test_a_body_that_ends_early(client):
    response = client.post(PREDS, data=b"{}", environ_overrides={"CONTENT_LENGTH": "50"})
    assert_refused(response, 400, "complete")


def test_origins(client, app, echo):
    body = json.dumps({"inputs": [ID]})

    def ask(client, **headers):
        return client.post(PREDS, data=body, headers=headers)

    assert ask(client, Origin="http://localhost").status_code == 200
    assert ask(client, Origin="http://localhost:81", Host="localhost:81").status_code == 200
    for origin in ("http://evil.example", "null", "http://localhost:8080", ""):
        assert_refused(ask(client, Origin=origin), 403, "--canonical_url")
    open_client = Client(guard.Guard(app, allow_cross_origin=True))
    assert ask(open_client, Origin="http://evil.example").status_code == 200
    app._canonical_url = "https://lit.example/team"
    assert ask(client, Origin="https://lit.example").status_code == 200


def test_too_many_at_once(client, monkeypatch, app):
    busy = guard.Guard(app)
    for _ in range(guard.WORKING_LIMIT):
        assert busy._working.acquire(blocking=False)
    response = post(Client(busy), PREDS, {"inputs": [ID]})
    assert_refused(response, 503, "Busy")
    assert Client(busy).get("/lit_plugins/status").status_code == 200


def test_failing_requests_give_their_place_back(client):
    for _ in range(guard.WORKING_LIMIT + 2):
        assert post(client, PREDS, {"inputs": [example(prompt="too long")]}).status_code == 400
    assert post(client, PREDS, {"inputs": [ID]}).status_code == 200


def test_the_notebooks_state(make_app, echo, client_root):
    app = make_app(echo, client_root, sync_state=True)
    client = Client(guard.Guard(app))
    body = {"inputs": [ID], "config": {"primary_id": ID, "nonsense": 1}}
    assert post(client, "/push_ui_state?dataset_name=menus", body).status_code == 200
    assert app.ui_state_tracker.state.primary["data"]["prompt"] == "one"


def test_every_endpoint_of_lit_is_known(app):
    endpoints = {*guard._ENDPOINTS, *guard._FORBIDDEN}
    assert endpoints == set(app._wsgi_app._handlers)
