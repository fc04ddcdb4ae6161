"""Load a model once: on its first use, or in the background while the page is already up.

All loads of the process take turns. On the few cores of a laptop two loads at once are
slower than one after the other, and two threads that import torch, keras or transformers
at the same time can meet half-initialised modules.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from typing import Generic, Literal, TypedDict, TypeVar

from lit_plugins.errors import LitPluginsError, SourceError

T = TypeVar("T")

State = Literal["waiting", "loading", "ready", "failed"]


class Status(TypedDict):
    """What a page or a table shows of one model; seconds since its loading began."""

    state: State
    message: str
    seconds: float


_log = logging.getLogger(__name__)

# Re-entrant, so that a load may use another Loadable.
_TURN = threading.RLock()


class Loadable(Generic[T]):
    """A value that is loaded once, by whoever needs it first.

    `get` may be called from any number of threads; all but the first wait. A load that
    fails is not tried again: every caller gets the same error, since the usual reasons
    (a misspelt name, a missing file, too little memory) need somebody to act.
    """

    def __init__(self, name: str, load: Callable[[], T]) -> None:
        self.name = name
        self._load = load
        self._value: T
        self._state: State = "waiting"
        self._error: LitPluginsError | None = None
        self._began = 0.0
        self._seconds = 0.0

    def start(self) -> None:
        """Load in the background."""
        start_all([self])

    def get(self) -> T:
        """Return the value, loading it or waiting for it if need be.

        Raises:
            LitPluginsError: It cannot be loaded.

        """
        # No lock once it is there: a prediction must not wait for another model's load.
        if self._state not in ("ready", "failed"):
            with _TURN:
                if self._state == "waiting":
                    self._run()
        if self._error is not None:
            # Without the traceback of the callers that raised it before.
            raise self._error.with_traceback(None)
        if self._state != "ready":
            raise SourceError(f"Loading {self.name!r} needs {self.name!r} itself.")
        return self._value

    def status(self) -> Status:
        """Return state, message (why it failed) and seconds."""
        state = self._state
        seconds = time.monotonic() - self._began if state == "loading" else self._seconds
        message = str(self._error) if self._error is not None else ""
        return {"state": state, "message": message, "seconds": round(seconds, 1)}

    def _run(self) -> None:
        self._began = time.monotonic()
        self._state = "loading"
        # The state is set last: it is what other threads look at without a lock.
        try:
            self._value = self._load()
            outcome: State = "ready"
        except LitPluginsError as error:
            self._error = error
            outcome = "failed"
        except Exception as error:
            _log.exception("Loading %r failed.", self.name)
            lines = str(error).strip().splitlines()
            reason = type(error).__name__ + (f": {lines[0]}" if lines else "")
            self._error = SourceError(
                f"{self.name!r} cannot be loaded ({reason}). The log has the details."
            )
            outcome = "failed"
        except BaseException:  # Ctrl-C: nothing is known about the model
            self._state = "waiting"
            raise
        self._seconds = time.monotonic() - self._began
        self._state = outcome


def start_all(loadables: Iterable[Loadable]) -> threading.Thread:
    """Load one after another in one background thread, which it returns.

    A daemon thread: it does not keep a stopped server alive.
    """

    def run(waiting: tuple[Loadable, ...] = tuple(loadables)) -> None:
        for loadable in waiting:
            try:
                loadable.get()
            except LitPluginsError as error:
                _log.error("%s", error)

    thread = threading.Thread(target=run, name="lit_plugins-loading", daemon=True)
    thread.start()
    return thread
