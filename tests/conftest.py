"""What all tests share."""

from __future__ import annotations

import logging
import os

import pytest

# Models come from packaged archives or are built here: a test that asks a hub is a wrong test.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "torch")


class Ready:
    """A loaded model, where a model that loads later is expected."""

    def __init__(self, model):
        self._model = model

    def get(self):
        return self._model


@pytest.fixture(scope="session")
def ready():
    return Ready


@pytest.fixture(autouse=True)
def _quiet():
    logging.getLogger("transformers").setLevel(logging.ERROR)
