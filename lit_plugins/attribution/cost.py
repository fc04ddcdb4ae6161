"""What an explanation will cost, before it is computed."""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

SHORT, LONG = 16, 64  # tokens of the texts that calibrate


@dataclass(frozen=True)
class Passes:
    """Forward and backward passes of one text each."""

    forward: float
    backward: float = 0.0


@dataclass(frozen=True)
class Size:
    """What the number of passes depends on: numbers explained, segments, texts of a contrast."""

    outputs: int
    segments: int
    branches: int = 1


@dataclass(frozen=True)
class Estimate:
    """What an explanation is expected to cost on this machine.

    forward, backward: passes of one text each; seconds: of wall-clock time; memory: bytes beyond
    what the model itself takes, at the peak. From a calibration of this model on two short texts:
    seconds are right within a factor of two or so if nothing else runs.
    """

    forward: float
    backward: float
    seconds: float
    memory: float

    def __str__(self) -> str:
        return (
            f"{self.forward:,.0f} forward and {self.backward:,.0f} backward passes, "
            f"about {in_words(self.seconds)} and {max(1, self.memory / 2**20):,.0f} MB"
        )


def in_words(seconds: float) -> str:
    """A duration as a person says it."""
    for size, unit in ((31_557_600, "years"), (86_400, "days"), (3600, "hours"), (60, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:,.0f} {unit}"
    return f"{seconds:.0f} seconds" if seconds >= 10 else f"{seconds:.1f} seconds"


class Calibration:
    """Seconds and bytes that one pass takes, by the tokens of the text: measured once, on demand.

    Args:
        run: Does one pass of a text of so many tokens, with its backward pass or without.
        longest: The longest text that the model takes.

    """

    def __init__(self, run: Callable[[int, bool], None], longest: int = LONG):
        self._run = run
        self._long = max(2, min(LONG, longest))
        self._short = min(SHORT, self._long // 2)
        self._lock = threading.Lock()
        self._lines: dict[bool, tuple[float, float]] = {}
        self._bytes_per_token = 0.0

    @property
    def measured(self) -> bool:
        """Whether an estimate costs no pass."""
        return bool(self._lines)

    def estimate(self, passes: Passes, tokens: int, tokens_per_pass: int) -> Estimate:
        """The cost of so many passes over a text of so many tokens."""
        with self._lock:
            if not self._lines:
                self._measure()
        forward = self._seconds(False, tokens)
        backward = max(0.0, self._seconds(True, tokens) - forward)
        together = max(1, min(passes.forward, tokens_per_pass // max(1, tokens)))
        return Estimate(
            passes.forward,
            passes.backward,
            passes.forward * forward + passes.backward * backward,
            self._bytes_per_token * tokens * together * (1.0 if passes.backward else 0.3),
        )

    def _seconds(self, backward: bool, tokens: int) -> float:
        fixed, each = self._lines[backward]
        return fixed + each * tokens

    def _measure(self) -> None:
        for tokens in (self._short, self._long):
            self._run(tokens, True)  # the first pass of a size is slower
        lines = {}
        for backward in (False, True):
            short, long = (
                _timed(functools.partial(self._run, size, backward))
                for size in (self._short, self._long)
            )
            each = max(0.0, (long - short) / (self._long - self._short))
            lines[backward] = (max(0.0, short - each * self._short), each)
        self._bytes_per_token = _growth(lambda: self._run(self._long, True)) / self._long
        self._lines = lines


def _timed(function: Callable[[], None]) -> float:
    """Seconds that the function takes: the better of two, for others may be using the machine."""
    found = []
    for _ in range(2):
        begin = time.perf_counter()
        function()
        found.append(time.perf_counter() - begin)
    return min(found)


def _growth(function: Callable[[], None]) -> float:
    """Bytes by which the process grows at most while the function runs."""
    import psutil  # comes with torch models only

    process = psutil.Process()
    seen = [process.memory_info().rss]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            seen.append(process.memory_info().rss)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        function()
    finally:
        done.set()
        watcher.join()
    return float(np.max(seen) - seen[0])
