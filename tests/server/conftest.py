"""A LitApp around models that need no weights."""

import threading
from pathlib import Path

import pytest
from lit_nlp import app as lit_app
from lit_nlp import server_flags
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins.errors import InputError
from lit_plugins.server.build import model_loader


class EchoModel(lit_model.Model):
    """Answers with the prompt in capitals; some prompts make it misbehave."""

    def __init__(self):
        self.release = threading.Event()
        self.entered = threading.Event()

    @property
    def supports_concurrent_predictions(self):
        return True

    def input_spec(self):
        return {
            "prompt": lit_types.TextSegment(),
            "target": lit_types.TextSegment(required=False),
            "target_mask": lit_types.TokenScores(align="", required=False),
        }

    def output_spec(self):
        return {
            "response": lit_types.GeneratedText(parent="target"),
            "tokens": lit_types.Tokens(parent=""),
            "score": lit_types.TokenScores(align="tokens"),
        }

    def predict(self, inputs, **_):
        return [self.answer(example["prompt"]) for example in inputs]

    def answer(self, prompt):
        if prompt == "slow":
            self.entered.set()
            assert self.release.wait(20)
        if prompt == "defect":
            raise ZeroDivisionError("secret <b>path</b> /home/somebody")
        if prompt == "too long":
            raise InputError("The prompt has 9 tokens;\nat most 8 fit.")
        score = float("nan") if prompt == "nan" else 0.5
        return {"response": prompt.upper(), "tokens": [prompt], "score": [score]}


@pytest.fixture
def make_app():
    return _make_app


def _make_app(model, client_root=None, **arguments):
    texts = ["one", "two", "three"]
    data = lit_dataset.Dataset(
        spec={"prompt": lit_types.TextSegment()}, examples=[{"prompt": text} for text in texts]
    )
    default_root = server_flags.get_flag_holders()["client_root"].default

    def prompts(path: str):
        if path != "good":
            raise InputError(f"No file {path!r}.")
        return data

    return lit_app.LitApp(
        {"echo": model},
        {"menus": data},
        model_loaders={"language model": model_loader(["hf:packaged:*"])},
        dataset_loaders={"prompts": (prompts, {"path": lit_types.String()})},
        client_root=str(client_root or default_root),
        strict_cache_id_validation=True,
        **arguments,
    )


@pytest.fixture
def echo():
    model = EchoModel()
    yield model
    model.release.set()


@pytest.fixture
def client_root(tmp_path: Path) -> Path:
    """A small client with a sibling folder that nobody may see."""
    root = tmp_path / "client"
    (root / "static").mkdir(parents=True)
    (root / "static" / "index.html").write_text("<html><body><lit-app></lit-app></body></html>")
    (root / "main.js").write_text("let x;")
    private = tmp_path / "client_private"
    private.mkdir()
    (private / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(private / "secret.txt")
    return root
