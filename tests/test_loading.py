"""Loadable: once, by whoever comes first, and never silently."""

import threading
import time

import pytest

from lit_plugins.components.loading import Loadable, start_all
from lit_plugins.errors import SourceError


def test_loads_once_for_many_threads():
    calls = []

    def load():
        calls.append(1)
        time.sleep(0.05)
        return object()

    loadable = Loadable("m", load)
    assert loadable.status() == {"state": "waiting", "message": "", "seconds": 0.0}
    got = []
    threads = [threading.Thread(target=lambda: got.append(loadable.get())) for _ in range(7)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    assert len(got) == 7
    assert len(set(map(id, got))) == 1
    assert loadable.status()["state"] == "ready"
    assert loadable.status()["seconds"] > 0


def test_none_is_a_value():
    calls = []
    loadable = Loadable("m", lambda: calls.append(1))
    assert loadable.get() is None
    assert loadable.get() is None
    assert calls == [1]


def test_failure_is_remembered_and_keeps_its_message():
    calls = []

    def load():
        calls.append(1)
        raise SourceError("No folder 'x'.")

    loadable = Loadable("m", load)
    for _ in range(3):
        with pytest.raises(SourceError, match="No folder 'x'"):
            loadable.get()
    assert calls == [1]
    status = loadable.status()
    assert (status["state"], status["message"]) == ("failed", "No folder 'x'.")


def test_unexpected_error_becomes_one_line_and_is_logged(caplog):
    def load():
        raise ZeroDivisionError("first line\nsecond line")

    with pytest.raises(SourceError) as caught:
        Loadable("m", load).get()
    assert str(caught.value) == (
        "'m' cannot be loaded (ZeroDivisionError: first line). The log has the details."
    )
    assert "Traceback" in caplog.text


def test_interrupted_load_can_be_tried_again():
    outcomes = [KeyboardInterrupt(), "value"]

    def load():
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    loadable = Loadable("m", load)
    with pytest.raises(KeyboardInterrupt):
        loadable.get()
    assert loadable.status()["state"] == "waiting"
    assert loadable.get() == "value"


def test_background_loads_take_turns_and_survive_a_failure():
    running = []
    most = []

    def load(name):
        running.append(name)
        most.append(len(running))
        time.sleep(0.02)
        running.remove(name)
        if name == "b":
            raise SourceError("b is broken.")
        return name

    loadables = [Loadable(name, lambda name=name: load(name)) for name in "abc"]
    thread = start_all(loadables)
    assert thread.daemon
    thread.join(5)
    assert max(most) == 1
    assert [loadable.status()["state"] for loadable in loadables] == ["ready", "failed", "ready"]


def test_a_loaded_model_does_not_wait_for_another_load():
    ready = Loadable("ready", lambda: 1)
    ready.get()
    release = threading.Event()
    started = threading.Event()

    def slow():
        started.set()
        release.wait(10)

    slow_loadable = Loadable("slow", slow)
    slow_loadable.start()
    assert started.wait(5)
    assert slow_loadable.status()["state"] == "loading"
    begin = time.monotonic()
    assert ready.get() == 1
    assert time.monotonic() - begin < 1
    release.set()
    slow_loadable.get()


def test_a_load_that_needs_itself_is_an_error():
    loadable = Loadable("m", lambda: loadable.get())
    with pytest.raises(SourceError, match="itself"):
        loadable.get()
