"""What is done of a run, so that an interrupted one goes on where it was.

Beside `OUT` lie, while a run is under way, `OUT.partial` and `OUT.bad.jsonl.partial` with the lines
written so far, and `OUT.journal`: in its first line what the run is, then a line for each chunk of
records that is safely on the disk. What is behind the last of them belongs to a chunk that was not
finished; it is cut off, and that chunk is done again.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import filelock

from lit_plugins.errors import DataError, SpecError
from lit_plugins.packaged import is_disk_full

FORMAT = 1


@dataclass(frozen=True)
class Done:
    """What is safely on the disk: records, bad ones among them, and bytes of the two files."""

    records: int = 0
    bad: int = 0
    out_bytes: int = 0
    bad_bytes: int = 0
    finishing: bool = False


class Journal:
    """The files of one run.

    Args:
        out: What the run makes in the end.
        run: What makes it the same run, as JSON; a run with another one is not gone on with.
        once: Why this run cannot be gone on with later; None if it can.
        force: Replace an `out` that exists already.
        restart: Forget what is done.

    Use it as a context manager: no other process can work on `out` meanwhile.

    Raises:
        SpecError: `out` exists, or what is done belongs to another run.
        DataError: The files cannot be written.

    """

    def __init__(
        self,
        out: Path,
        run: Mapping[str, Any],
        *,
        once: str | None = None,
        force: bool = False,
        restart: bool = False,
    ):
        self.out = out
        self.bad = Path(f"{out}.bad.jsonl")
        self.done = Done()
        self._run = json.loads(json.dumps({"journal": FORMAT, "once": once, **run}))
        self._force = force
        self._restart = restart
        self._partial = Path(f"{out}.partial")
        self._bad_partial = Path(f"{self.bad}.partial")
        self._parts = (self._partial, self._bad_partial)
        self._journal = Path(f"{out}.journal")
        self._lock = filelock.FileLock(f"{out}.lock")
        self._files: list[int] = []

    def __enter__(self) -> Journal:
        with self._writing():
            check_place(self.out)
            try:
                self._lock.acquire(timeout=0)
            except filelock.Timeout:
                raise SpecError(
                    f"{self.out}: another process is writing it. Wait for that one, or name "
                    "another file."
                ) from None
            try:
                self._open()
            except BaseException:
                self._close()
                raise
        return self

    def __exit__(self, *_: object) -> None:
        if not self.done.records:  # nothing worth going on with
            with contextlib.suppress(OSError):
                self._forget()
        self._close()

    def commit(self, records: int, good: bytes, bad: bytes, bad_records: int) -> None:
        """Write the lines of the next records; once this returns, they survive."""
        with self._writing():
            for file, data in zip(self._files, (good, bad), strict=False):
                if data:
                    _write(file, data)
            done = Done(
                self.done.records + records,
                self.done.bad + bad_records,
                self.done.out_bytes + len(good),
                self.done.bad_bytes + len(bad),
            )
            self._note(done)

    def finish(self, convert: Callable[[Path, Path], None] | None = None) -> None:
        """Give the files their final names; `convert` makes the final one, (lines, path)."""
        with self._writing():
            if not self.done.finishing:
                self._note(replace(self.done, finishing=True))
            self._close_files()
            # From here on in any order again and again: whoever is killed goes on here.
            if self._bad_partial.exists():
                if self.done.bad_bytes:
                    self._bad_partial.replace(self.bad)
                else:
                    self._bad_partial.unlink()
                    self.bad.unlink(missing_ok=True)  # of a run before
            if self._partial.exists():
                if convert is None:
                    self._partial.replace(self.out)
                else:
                    made = Path(f"{self.out}.tmp")
                    try:
                        convert(self._partial, made)
                        _sync(made)
                        made.replace(self.out)
                    finally:
                        made.unlink(missing_ok=True)
                    self._partial.unlink()
            self._journal.unlink()
            _sync(self.out.parent)

    def _open(self) -> None:
        """Go on with what is there, or begin."""
        found = None if self._restart else self._read()
        if found is not None and found[0].finishing:
            self.done = found[0]
            return  # nothing is left to do but to give the files their names
        if self.out.exists() and not self._force:
            raise SpecError(
                f"{self.out} exists already. Name another file, or replace it with --force."
            )
        self.done, length = found or (Done(), self._begin())
        sizes = (self.done.out_bytes, self.done.bad_bytes, length)
        for path, size in zip(
            (self._partial, self._bad_partial, self._journal), sizes, strict=True
        ):
            file = os.open(path, os.O_WRONLY | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
            self._files.append(file)
            os.ftruncate(file, size)
            os.lseek(file, size, os.SEEK_SET)

    def _begin(self) -> int:
        """Write the journal's first line, whole or not at all; return its length."""
        self._forget()
        data = json.dumps(self._run, ensure_ascii=False).encode() + b"\n"
        made = Path(f"{self._journal}.tmp")
        try:
            made.write_bytes(data)
            made.replace(self._journal)
        finally:
            made.unlink(missing_ok=True)
        return len(data)

    def _read(self) -> tuple[Done, int] | None:
        """What is done and how long the journal of it is; None if nothing is."""
        try:
            # Without the last line, which was cut off if there is anything in it.
            lines = self._journal.read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            if self._partial.exists() or self._bad_partial.exists():
                raise SpecError(
                    f"{self._partial} lies there without the journal that says what it is. "
                    "Replace it with --restart, or name another file."
                ) from None
            return None
        try:
            run, *rest = map(json.loads, lines)
            notes = [Done(**one) for one in rest]
        except (ValueError, TypeError):
            raise SpecError(
                f"{self._journal} is no journal, or a damaged one. Begin again with --restart."
            ) from None
        self._compare(run)
        sizes = [path.stat().st_size if path.exists() else 0 for path in self._parts]
        for number in range(len(notes), 0, -1):
            done = notes[number - 1]
            # After a loss of power there may be less than was noted. What has its name is whole.
            if done.finishing or (done.out_bytes <= sizes[0] and done.bad_bytes <= sizes[1]):
                return done, sum(len(line) + 1 for line in lines[: number + 1])
        return Done(), len(lines[0]) + 1

    def _compare(self, run: Any) -> None:
        """Raise SpecError if what is done belongs to another run."""
        run = run if isinstance(run, dict) else {}
        if run.get("once"):
            raise SpecError(
                f"{self._partial} is what an interrupted run made of {run['once']}, which cannot "
                "be read again. Keep it under another name, or begin again with --restart."
            )
        for key in {**self._run, **run}:
            before, now = run.get(key), self._run.get(key)
            if before != now:
                raise SpecError(
                    f"{self._partial} is of another run. Its {key.replace('_', ' ')}: "
                    f"{_what_differs(before, now)}; now: {_what_differs(now, before)}. Give that "
                    "run's command, begin again with --restart, or name another file."
                )

    def _note(self, done: Done) -> None:
        *data, journal = self._files
        for file in data:
            os.fsync(file)
        _write(journal, json.dumps(asdict(done)).encode() + b"\n")
        os.fsync(journal)
        self.done = done

    def _forget(self) -> None:
        for path in (self._journal, *self._parts):
            path.unlink(missing_ok=True)

    def _close_files(self) -> None:
        while self._files:
            os.close(self._files.pop())

    def _close(self) -> None:
        self._close_files()
        if self._lock.is_locked:
            with contextlib.suppress(OSError):
                Path(self._lock.lock_file).unlink()
            self._lock.release()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            kept = f" {self.done.records:,} records are kept." if self.done.records else ""
            raise unwritable(self.out, error, kept) from error


def unwritable(out: Path, error: OSError, kept: str = "") -> DataError:
    """What to say of a file that cannot be written."""
    if is_disk_full(error):
        return DataError(
            f"The disk of {out.parent} became full while {out.name} was written.{kept} Free some "
            "space and give the same command again."
        )
    return DataError(
        f"{error.filename or out}: cannot be written: {error.strerror or error}.{kept} Name a file "
        "in a folder that you may write to."
    )


def check_place(out: Path) -> None:
    """Raise SpecError where no file can be."""
    if not out.parent.is_dir():
        raise SpecError(f"{out}: there is no folder {out.parent}. Make it, or name another file.")
    if out.exists() and not out.is_file():
        raise SpecError(f"{out} is no file that could be replaced. Name another one.")


def _write(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def _sync(path: Path) -> None:
    """Have what was written on the disk; a folder: the names in it."""
    with contextlib.suppress(PermissionError):  # Windows opens no folders
        file = os.open(path, os.O_RDONLY)
        try:
            os.fsync(file)
        finally:
            os.close(file)


def _what_differs(value: Any, other: Any) -> str:
    """A value in short; of a mapping what is not so in the other one."""
    if isinstance(value, dict) and isinstance(other, dict):
        value = {key: one for key, one in value.items() if other.get(key) != one}
        return _short(", ".join(f"{key}={_short(one)}" for key, one in value.items()) or "nothing")
    return _short(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else f"{text[:79]}…"
