"""Work that a request begins and others ask about: bounded, cancellable, forgotten in time.

An answer that takes minutes would look like a failure to a browser, and could not be stopped. So
a job computes in a thread of its own, and a client asks how far it is.
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from lit_plugins.attribution.watch import Watch
from lit_plugins.errors import Cancelled, LitPluginsError

State = Literal["running", "done", "failed", "cancelled"]

MOST = 16  # jobs that compute at the same time
MOST_WAITING = 16  # requests that wait for a job's end; others are told at once how far it is
MOST_KEPT = 64  # jobs that ended, with their results
MOST_SIZE = 8_000_000  # of these results together
WAIT = 1.0  # seconds that a request waits for the end
GONE = 20.0  # seconds after which a client that does not ask is taken to be gone
KEPT = 60.0  # seconds for which the result of an ended job is kept

_log = logging.getLogger(__name__)

# What a job does: passes are counted by the watch, which also says when to stop.
Work = Callable[[Watch], Any]


class Busy(LitPluginsError):
    """Too many jobs run."""


class Unknown(LitPluginsError):
    """There is no such job, or no longer."""


@dataclass
class _Job:
    id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    watch: Watch = field(init=False)
    state: State = "running"
    working: bool = True  # its thread is: a cancelled job's may go on to the end of a batch
    result: Any = None
    size: int = 0
    error: str | None = None
    began: float = field(default_factory=time.monotonic)
    ended: float | None = None
    asked: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.watch = Watch(cancel=self.cancel)

    def end(self, state: State) -> None:
        self.state, self.ended = state, time.monotonic()

    @property
    def over(self) -> bool:
        """Whether nothing is left of it but its result."""
        return self.ended is not None and not self.working

    def due(self, gone: float, kept: float) -> float | None:
        """When something is to be done about it; None where only its thread's end counts."""
        if self.ended is None:
            return self.asked + gone
        return None if self.working else self.ended + kept


class Jobs:
    """Jobs by their ids, each of them in a daemon thread.

    Args:
        wait, gone, kept: Seconds, as WAIT, GONE and KEPT.
        size: Of a result, in the unit of MOST_SIZE.

    """

    def __init__(
        self,
        wait: float = WAIT,
        gone: float = GONE,
        kept: float = KEPT,
        size: Callable[[Any], int] = lambda result: 1,
    ) -> None:
        self._wait, self._gone, self._kept = wait, gone, kept
        self._size = size
        self._jobs: dict[str, _Job] = {}  # oldest first
        self._changed = threading.Condition()
        self._waiting = 0
        self._sweeping = False

    def start(self, work: Work) -> dict[str, Any]:
        """Begin a job and tell how far it is, at its end if that is soon. Raises Busy."""
        with self._changed:
            if sum(job.working for job in self._jobs.values()) >= MOST:
                raise Busy(f"Busy: {MOST} explanations are in work. Try again later.")
            # Not to be guessed: who knows it may read the result.
            job = _Job(secrets.token_hex(16))
            threading.Thread(
                target=self._run, args=(job, work), name="lit_plugins-job", daemon=True
            ).start()
            self._jobs[job.id] = job  # now that it will end
            self._sweep_soon()
        return self.look(job.id)

    def look(self, identity: str) -> dict[str, Any]:
        """Tell how far a job is; wait a moment for its end. Raises Unknown."""
        with self._changed:
            job = self._find(identity)
            job.asked = time.monotonic()
            if self._waiting < MOST_WAITING:
                self._waiting += 1
                try:
                    self._changed.wait_for(lambda: job.state != "running", self._wait)
                finally:
                    self._waiting -= 1
                job.asked = time.monotonic()
            return _told(job)

    def cancel(self, identity: str) -> dict[str, Any]:
        """Stop a job before its next batch; one that has ended stays as it is. Raises Unknown."""
        with self._changed:
            job = self._find(identity)
            self._cancel(job)
            return _told(job)

    def stop(self) -> None:
        """Stop all jobs, each before its next batch."""
        with self._changed:
            for job in self._jobs.values():
                self._cancel(job)

    def _find(self, identity: str) -> _Job:
        if identity not in self._jobs:
            raise Unknown(
                f"There is no job {identity[:40]!r}: its result was kept for {self._kept:g} s, or "
                "the server was started again. Ask anew."
            )
        return self._jobs[identity]

    def _cancel(self, job: _Job) -> None:
        job.cancel.set()
        if job.state == "running":
            job.end("cancelled")
            self._changed.notify_all()

    def _run(self, job: _Job, work: Work) -> None:
        state: State = "failed"
        result, size, error = None, 0, None
        try:
            job.watch.check()
            result = work(job.watch)
            size = self._size(result)
            state = "done"
        except Cancelled:
            state = "cancelled"
        except LitPluginsError as problem:
            error = " ".join(str(problem).split())
        except Exception:
            reference = secrets.token_hex(3)
            _log.exception("Internal error (reference %s) in a job", reference)
            error = f"Internal error (reference {reference}); see the server's log."
        with self._changed:
            job.working = False
            if job.state == "running":
                job.result, job.size, job.error = result, size, error
                job.end(state)
            self._changed.notify_all()

    # Jobs that nobody asks about.

    def _sweep_soon(self) -> None:
        if self._sweeping:
            self._changed.notify_all()  # the new job may be the first whose time comes
            return
        self._sweeping = True
        threading.Thread(target=self._sweep, name="lit_plugins-jobs", daemon=True).start()

    def _sweep(self) -> None:
        """Cancel and forget jobs as their time comes; ends when there is none."""
        with self._changed:
            while self._jobs:
                due = [job.due(self._gone, self._kept) for job in self._jobs.values()]
                known = [moment for moment in due if moment is not None]
                self._changed.wait(max(0.0, min(known) - time.monotonic()) if known else None)
                self._forget()
            self._sweeping = False

    def _forget(self) -> None:
        now = time.monotonic()
        kept = [job for job in self._jobs.values() if job.over]
        over, size = len(kept), sum(job.size for job in kept)
        for job in list(self._jobs.values()):
            due = job.due(self._gone, self._kept)
            late = due is not None and due <= now
            if late and job.state == "running":
                self._cancel(job)
            elif job.over and (late or over > MOST_KEPT or size > MOST_SIZE):
                del self._jobs[job.id]
                over, size = over - 1, size - job.size


def _told(job: _Job) -> dict[str, Any]:
    """What a client is told of a job."""
    done = job.watch.forward + job.watch.backward
    return {
        "id": job.id,
        "state": job.state,
        "done": done,
        "expected": max(done, job.watch.expected),
        "seconds": round((job.ended or time.monotonic()) - job.began, 3),
        "error": job.error,
        "result": job.result,
    }
