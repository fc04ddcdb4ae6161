"""A run: records in, chunk by chunk through a model, results out, so that it can be interrupted.

Chunks are the same records whoever begins where, and nothing is remembered from one to the next,
so an interrupted run computes the very numbers of one that was not.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from tqdm import tqdm

from lit_plugins.attribution.explanation import versions_of
from lit_plugins.cli import reading, writing
from lit_plugins.cli.journal import Journal
from lit_plugins.cli.reading import Item, Source
from lit_plugins.errors import DataError, InputError, SourceError, SpecError
from lit_plugins.sources import ModelSpec

CHUNK = 32  # records computed together; what is lost at most when a run is interrupted
SOME_BAD, INTERRUPTED = 3, 130
_PACKAGES = ("torch", "transformers", "keras", "keras-hub", "numpy")  # beside ours and Captum

Result = Mapping[str, Any]
Progress = Callable[[int, int], None]
Compute = Callable[[Sequence[Mapping[str, Any]], Progress], Sequence[Result]]


@dataclass(frozen=True)
class Run:
    """What is asked for.

    Attributes:
        doing: In a word, for the progress bar.
        spec: The model.
        source: The records.
        out: Where results go; None for standard output.
        options: What else makes it the same run.
        prepare: Loads the model: (first good records) -> what computes results of records. Raises
            LitPluginsError for what is wrong with all of them.
        title: Of a page.
        force, restart: See Journal.
        quiet: No progress, no summary.

    """

    doing: str
    spec: ModelSpec
    source: Source
    out: Path | None
    prepare: Callable[[Sequence[Mapping[str, Any]]], Compute]
    options: Mapping[str, Any] = field(default_factory=dict)
    title: str = ""
    force: bool = False
    restart: bool = False
    quiet: bool = False

    def go(self) -> int:
        """Do it, or the rest of it. Returns the exit code; raises LitPluginsError."""
        if self.quiet and self.spec.framework == "hf":
            _hush()
        if self.out is None:
            return self._to_stdout()
        return self._to_file(self.out)

    def _to_file(self, out: Path) -> int:
        begin = time.monotonic()
        convert = writing.converter(out, self.title)
        path = self.source.path
        stdin = path is None
        seen = digest = count = None
        if path is not None:
            seen, count, digest = _look(path), self.source.count(), self.source.digest()
            if out.exists() and path.samefile(out):
                raise SpecError(f"{out} is the input itself. Name another file.")
            writing.check_count(out, count)
        journal = Journal(
            out,
            self._identity(digest),
            once="standard input" if stdin else None,
            force=self.force,
            restart=self.restart,
        )
        with journal:
            before = journal.done.records
            if before and not self.quiet:
                click.echo(f"Going on behind record {before:,}.", err=True)
            try:
                self._work(journal, count)
                if path is not None and _look(path) != seen:
                    raise DataError(
                        f"{path} has changed while it was read. Give the command again with "
                        "--restart."
                    )
                if stdin:
                    writing.check_count(out, journal.done.records - journal.done.bad)
                journal.finish(convert)
            except KeyboardInterrupt:
                click.echo(_stopped(journal, count, stdin), err=True)
                return INTERRUPTED
        done = journal.done
        if not self.quiet:
            seconds = time.monotonic() - begin
            bad = f", {done.bad:,} bad ones in {journal.bad}" if done.bad else ""
            click.echo(f"{done.records - done.bad:,} results in {out}{bad} ({seconds:.0f} s).",
                       err=True)  # fmt: skip
        return SOME_BAD if done.bad else 0

    def _work(self, journal: Journal, count: int | None) -> None:
        if journal.done.finishing or count == journal.done.records:
            return
        for done in self._chunks(journal.done.records, count):
            good = b"".join(writing.line(item.about, made) for item, made in done.good)
            bad = b"".join(self._bad_line(item, reason) for item, reason in done.bad)
            journal.commit(done.count, good, bad, len(done.bad))

    def _to_stdout(self) -> int:
        count = None if self.source.path is None else self.source.count()
        bad = 0
        try:
            for done in self._chunks(0, count):
                bad += len(done.bad)
                for item, reason in done.bad:
                    tqdm.write(f"{self.source.name}:{item.line}: {reason}", file=sys.stderr)
                writing.to_stdout(b"".join(writing.line(item.about, made)
                                           for item, made in done.good))  # fmt: skip
        except OSError as error:
            if error.errno not in (errno.EPIPE, errno.EINVAL):
                raise
            # Whoever read has enough, as `head` has. Nothing is left to be flushed at the end.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return 0
        except KeyboardInterrupt:
            click.echo("Stopped.", err=True)
            return INTERRUPTED
        return SOME_BAD if bad else 0

    def _chunks(self, skip: int, count: int | None) -> Iterator[Done]:
        """What became of the records behind the first `skip` ones, by chunks."""
        compute: Compute | None = None
        with contextlib.ExitStack() as stack:
            bar: tqdm | None = None
            for items in reading.chunks(self.source.items(), CHUNK):
                if items[-1].number <= skip:
                    continue
                found: dict[int, Result | str] = {}
                if readable := [item for item in items if item.problem is None]:
                    compute = compute or self.prepare([item.fields for item in readable])
                    if bar is None:
                        bar = stack.enter_context(self._bar(count, items[0].number - 1))
                    found = dict(_attempt(readable, compute, _progress(bar, len(readable))))
                done = _sorted(items, found)
                if items[0].number == 1:
                    _check_any(done)
                yield done
                if bar is not None:
                    bar.update(items[-1].number - bar.n)

    def _bar(self, count: int | None, done: int) -> tqdm:
        return tqdm(
            total=count,
            initial=done,
            desc=self.doing,
            unit=" records",
            disable=self.quiet,
            # A log file gets a line now and then, a terminal a lively bar.
            mininterval=0.2 if sys.stderr.isatty() else 10,
        )

    def _bad_line(self, item: Item, reason: str) -> bytes:
        about = dict(item.about)
        where = {"record": about.pop("number")} | {key: about[key] for key in about if key == "id"}
        where |= {"file": self.source.name, "line": item.line, "field": item.field}
        return json.dumps(where | {"reason": reason}, ensure_ascii=False).encode() + b"\n"

    def _identity(self, digest: str | None) -> dict[str, Any]:
        options = self.source.options.model_dump(exclude_defaults=True)
        return {
            "options": dict(self.options),
            "model": self.spec.text.partition("=")[2],
            "model_files": _fingerprint(self.spec),
            "input": digest,
            "reading": {**options, "further": dict(self.source.further)},
            "limit": self.source.limit,
            "versions": dict(versions_of(*_PACKAGES)),
            "chunk": CHUNK,
        }


@dataclass(frozen=True)
class Done:
    """What became of a chunk of so many records."""

    count: int
    good: list[tuple[Item, Result]] = field(default_factory=list)
    bad: list[tuple[Item, str]] = field(default_factory=list)


def _sorted(items: Sequence[Item], found: Mapping[int, Result | str]) -> Done:
    done = Done(len(items))
    for item in items:
        made = found.get(item.number, item.problem or "")
        if isinstance(made, str):
            done.bad.append((item, made))
        else:
            done.good.append((item, made))
    return done


def _attempt(
    items: Sequence[Item], compute: Compute, progress: Progress
) -> Iterator[tuple[int, Result | str]]:
    """Results by number, or why there is none: of halves, where something in the whole is bad."""
    try:
        made = compute([item.fields for item in items], progress)
    except InputError as error:
        if len(items) == 1:
            yield items[0].number, str(error)
            return
        half = len(items) // 2
        yield from _attempt(items[:half], compute, progress)
        yield from _attempt(items[half:], compute, progress)
    else:
        yield from ((item.number, one) for item, one in zip(items, made, strict=True))


def _check_any(done: Done) -> None:
    """Raise InputError if the same is wrong with each record of a first chunk that is full."""
    reasons = {reason for _, reason in done.bad}
    if len(done.bad) == CHUNK and len(reasons) == 1:
        raise InputError(f"None of the first {CHUNK} records can be processed: {reasons.pop()}")


def _progress(bar: tqdm, count: int) -> Progress:
    """Moves the bar within a chunk, as passes are done."""
    begin = bar.n

    def report(done: int, expected: int) -> None:
        now = begin + int(count * min(1.0, done / max(1, expected)))
        if now > bar.n:
            bar.update(now - bar.n)

    return report


def _stopped(journal: Journal, count: int | None, stdin: bool) -> str:
    done = journal.done.records
    of = "" if count is None else f" of {count:,}"
    if not done:
        return "Stopped. Nothing was done yet."
    if stdin:
        return (
            f"Stopped after {done:,} records, which lie in {journal.out}.partial. Standard input "
            "cannot be read again, so the run cannot be gone on with."
        )
    return f"Stopped after {done:,}{of} records. The same command goes on from there."


def _fingerprint(spec: ModelSpec) -> list[list[Any]] | None:
    """Files of a model on this disk, with size and time; None for those of a hub."""
    if spec.kind not in ("folder", "gguf"):
        return None
    place = Path(spec.source).expanduser()
    files = sorted(place.iterdir()) if place.is_dir() else [place]
    try:
        found = [(path, path.stat()) for path in files if path.is_file()]
    except OSError as error:
        raise SourceError(f"{place}: cannot be read: {error.strerror or error}.") from None
    return [[path.name, stat.st_size, stat.st_mtime_ns] for path, stat in found]


def _hush() -> None:
    """No progress of loading either."""
    from transformers.utils import logging

    logging.disable_progress_bar()


def _look(path: Path) -> tuple[int, int] | None:
    """What shows that a file has changed; None if there is none, as its reader will say."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_size, stat.st_mtime_ns
