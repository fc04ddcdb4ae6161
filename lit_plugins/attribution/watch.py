"""Progress, cancellation and the count of passes of one explanation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from lit_plugins.errors import Cancelled


class Watch:
    """What a caller sees of an explanation while it is computed.

    Args:
        progress: Called with the passes done and the passes expected, after each batch.
        cancel: Set it, from any thread, to stop before the next batch.

    """

    def __init__(
        self,
        progress: Callable[[int, int], None] | None = None,
        cancel: threading.Event | None = None,
    ):
        self._progress = progress
        self._cancel = cancel
        self.forward = 0
        self.backward = 0
        self.expected = 0
        self._began = time.perf_counter()

    @property
    def seconds(self) -> float:
        """Seconds since the explanation began."""
        return time.perf_counter() - self._began

    def check(self) -> None:
        """Raise Cancelled if the caller does not want the explanation any more."""
        if self._cancel is not None and self._cancel.is_set():
            raise Cancelled(
                f"Cancelled after {self.seconds:.1f} s and {self.forward + self.backward} passes."
            )

    def tick(self, forward: int, backward: int = 0) -> None:
        """Count passes of one example each that are done."""
        self.forward += forward
        self.backward += backward
        if self._progress is not None:
            done = self.forward + self.backward
            self._progress(done, max(done, self.expected))
        self.check()

    def finish(self) -> None:
        """Report the end, where fewer passes were needed than expected."""
        done = self.forward + self.backward
        if self._progress is not None and done < self.expected:
            self._progress(done, done)
        self.expected = done
