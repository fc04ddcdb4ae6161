"""An interrupted run goes on where it was, and ends with the same bytes; or says why it cannot."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from cli_texts import write_texts

from lit_plugins.cli import explain, journal
from lit_plugins.cli.main import main
from lit_plugins.cli.running import CHUNK

RECORDS = 3 * CHUNK + 5  # four chunks, the last of them not full
BAD = {4, CHUNK + 1, 2 * CHUNK, RECORDS - 1}  # records without text


def write_data(folder):
    path = write_texts(folder / "in.jsonl", RECORDS)
    lines = path.read_text("utf-8").splitlines()
    for number in BAD:
        lines[number - 1] = '{"title": "no text"}'
    lines[RECORDS - 1] = lines[0]  # the same text in two chunks, which an engine would remember
    path.write_text("\n".join(lines), "utf-8")
    return path


@pytest.fixture
def data(here):
    return write_data(here)


@pytest.fixture
def explained(data, give, model):
    """Gives the command; ends as it ends."""

    def command(*more, out="out.jsonl", method="grad_dot_input"):
        return give("explain", model, data, "-o", out, f"--method={method}", *more)

    return command


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """The bytes of both files of a run that nothing interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    arguments = ["explain", model, write_data(folder), "-o", folder / "out.jsonl"]
    assert main([*map(str, arguments), "--method=grad_dot_input", "--quiet"]) == 3
    return found(folder / "out.jsonl")


def found(out="out.jsonl"):
    return Path(out).read_bytes(), Path(f"{out}.bad.jsonl").read_bytes()


def left(out="out.jsonl"):
    """What lies there beside the input, by name."""
    return {path.name for path in Path().glob(f"{out}*")}


DONE = {"out.jsonl", "out.jsonl.bad.jsonl"}
UNDER_WAY = {"out.jsonl.journal", "out.jsonl.partial", "out.jsonl.bad.jsonl.partial"}


class Killed(BaseException):
    """A kill: nothing is tidied up after it."""


def not_tidying(patch):
    patch.setattr(journal.Journal, "__exit__", lambda self, *_: self._close())


@pytest.fixture
def interrupt(monkeypatch):
    """Have the nth computation of a chunk raise something, once."""
    counted = [0]
    real = explain._forget

    def arm(number, error):
        def forget(explainer):
            counted[0] += 1
            if counted[0] == number:
                raise error
            real(explainer)

        monkeypatch.setattr(explain, "_forget", forget)

    return arm


def test_whole_run(whole):
    results, bad = ([json.loads(line) for line in part.splitlines()] for part in whole)
    good = [number for number in range(1, RECORDS + 1) if number not in BAD]
    assert [one["record"]["number"] for one in results] == good
    assert [one["record"] for one in bad] == sorted(BAD)
    assert all("seconds" not in one for one in results)


@pytest.mark.parametrize("chunk", [1, 2, 4])
def test_interrupted_run_goes_on(explained, whole, interrupt, chunk):
    interrupt(chunk, KeyboardInterrupt())
    code, _, err = explained()
    assert code == 130
    done = (chunk - 1) * CHUNK
    if done:
        assert f"Stopped after {done} of {RECORDS} records." in err
        assert left() == UNDER_WAY
    else:
        assert "Nothing was done yet." in err
        assert left() == set()
    code, _, err = explained()
    assert code == 3
    assert (f"Going on behind record {done}." in err) == bool(done)
    assert found() == whole
    assert left() == DONE


@pytest.mark.parametrize("place", range(1, 13))
def test_killed_while_writing(explained, whole, monkeypatch, place):
    """At the nth write, in the middle of it: results, bad ones and journal, chunk by chunk."""
    real, count = os.write, [0]

    def write(file, data):
        count[0] += 1
        if count[0] == place:
            real(file, bytes(data)[: len(data) // 2])
            raise Killed
        return real(file, data)

    with monkeypatch.context() as patch:
        not_tidying(patch)
        patch.setattr(journal.os, "write", write)
        with pytest.raises(Killed):
            explained()
    assert count[0] == place
    assert left() >= {"out.jsonl.journal"}
    assert explained()[0] == 3
    assert found() == whole
    assert left() == DONE


@pytest.mark.parametrize(
    ("out", "place"),
    [("out.jsonl", place) for place in range(1, 7)]
    + [("out.parquet", place) for place in range(1, 11)],
)
def test_killed_while_finishing(explained, monkeypatch, out, place):
    """At each renaming and removing, before it and after it."""
    if out.endswith("parquet"):
        pytest.importorskip("pyarrow")
    explained(out=f"whole{Path(out).suffix}")
    count = [0]
    reals = {"replace": Path.replace, "unlink": Path.unlink}
    finishing = [False]

    def killing(name):
        def one(path, *arguments, **options):
            if finishing[0]:
                count[0] += 1
                if count[0] == (place + 1) // 2 and place % 2:
                    raise Killed
            reals[name](path, *arguments, **options)
            if finishing[0] and count[0] == place // 2 and not place % 2:
                raise Killed

        return one

    finish = journal.Journal.finish

    def finishes(self, convert=None):
        finishing[0] = True
        try:
            finish(self, convert)
        finally:
            finishing[0] = False

    with monkeypatch.context() as patch:
        not_tidying(patch)
        patch.setattr(journal.Journal, "finish", finishes)
        for name in reals:
            patch.setattr(Path, name, killing(name))
        with pytest.raises(Killed):
            explained(out=out)
    # Behind the last step all is done, and the same command would be another run.
    last = not Path(f"{out}.journal").exists()
    assert last == (place == (6 if out == "out.jsonl" else 10))
    assert explained(out=out)[0] == (2 if last else 3)
    assert found(out) == found(f"whole{Path(out).suffix}")
    assert left(out) == {out, f"{out}.bad.jsonl"}


def test_loss_of_power(explained, whole, interrupt):
    """The journal knows of more than there is: the last chunk that is there counts."""
    interrupt(4, KeyboardInterrupt())
    explained()
    partial = Path("out.jsonl.partial")
    partial.write_bytes(partial.read_bytes()[:-10])
    _, _, err = explained()
    assert f"Going on behind record {2 * CHUNK}." in err
    assert found() == whole


@pytest.mark.parametrize("where", [0, 1, 2])
def test_damaged_journal(explained, interrupt, fails, data, model, where):
    interrupt(3, KeyboardInterrupt())
    explained()
    path = Path("out.jsonl.journal")
    lines = path.read_bytes().splitlines(keepends=True)
    lines[where] = b"x" + lines[where]
    path.write_bytes(b"".join(lines))
    line = fails("explain", model, data, "-o", "out.jsonl", "--method=grad_dot_input")
    assert "damaged" in line
    assert "--restart" in line


@pytest.mark.parametrize(
    ("more", "what"),
    [
        (["--target=MIXED"], "Its options: target=null; now: target=MIXED."),
        (["--limit=5"], "Its limit: null; now: 5."),
        (["--id-column=title"], 'Its reading: further={"id": "id"}; now: further={"id": "title"}.'),
        (["--unit=token"], "Its options: unit=word; now: unit=token."),
    ],
)
def test_another_command_does_not_go_on(explained, interrupt, whole, more, what):
    interrupt(3, KeyboardInterrupt())
    explained()
    before = {name: Path(name).read_bytes() for name in left()}
    code, _, err = explained(*more)
    assert code == 2
    assert what in err
    assert "--restart" in err
    assert {name: Path(name).read_bytes() for name in left()} == before
    code, _, err = explained(*more, "--restart")
    assert code in (0, 3)
    assert "Going on" not in err
    explained(*more, out="other.jsonl")
    assert Path("out.jsonl").read_bytes() == Path("other.jsonl").read_bytes()


def test_another_input_does_not_go_on(explained, interrupt, data, whole):
    interrupt(3, KeyboardInterrupt())
    explained()
    text = data.read_text("utf-8")
    data.write_text(text + "\n", "utf-8")
    code, _, err = explained()
    assert code == 2
    assert "Its input: " in err
    data.write_text(text, "utf-8")
    assert explained()[0] == 3
    assert found() == whole


def test_input_that_changes_meanwhile(explained, data, monkeypatch):
    real = explain._forget

    def forget(explainer):
        real(explainer)
        with data.open("a") as file:
            file.write("\n")

    monkeypatch.setattr(explain, "_forget", forget)
    code, _, err = explained()
    assert code == 2
    assert "has changed while it was read" in err
    assert not Path("out.jsonl").exists()


def test_full_disk(explained, whole, monkeypatch):
    real = os.write
    space = [60_000]

    def write(file, data):
        if space[0] <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        written = real(file, bytes(data)[: space[0]])
        space[0] -= written
        return written

    monkeypatch.setattr(journal.os, "write", write)
    code, _, err = explained()
    assert code == 2
    assert "became full" in err
    assert f"{CHUNK} records are kept" in err
    assert left() == UNDER_WAY
    space[0] = 10**9
    assert explained()[0] == 3
    assert found() == whole


def test_two_at_once(explained, model, data):
    run = {"other": 1}
    with journal.Journal(Path("out.jsonl"), run):
        code, _, err = explained()
    assert code == 2
    assert "another process is writing it" in err
    assert explained()[0] == 3


def test_what_lies_there_already(explained, whole):
    Path("out.jsonl").write_text("mine")
    code, _, err = explained()
    assert code == 2
    assert "exists already" in err
    assert Path("out.jsonl").read_text() == "mine"
    assert left() == {"out.jsonl"}
    assert explained("--force")[0] == 3
    assert found() == whole
    Path("two.jsonl.partial").write_text("mine")
    code, _, err = explained(out="two.jsonl")
    assert code == 2
    assert "without the journal" in err
    assert Path("two.jsonl.partial").read_text() == "mine"
    assert explained("--restart", out="two.jsonl")[0] == 3
    assert found("two.jsonl") == whole


def test_forced_run_replaces_at_its_end(explained, whole, interrupt):
    Path("out.jsonl").write_text("mine")
    interrupt(3, KeyboardInterrupt())
    explained("--force")
    assert Path("out.jsonl").read_text() == "mine"
    assert explained("--force")[0] == 3
    assert found() == whole


def test_bad_records_of_a_run_before_are_gone(explained, texts):
    explained()
    texts(3)
    assert explained("--force")[0] == 0
    assert left() == {"out.jsonl"}


def test_a_model_that_changed_does_not_go_on(explained, interrupt, model):
    interrupt(2, KeyboardInterrupt())
    explained()
    weights = Path(model.removeprefix("hf:")) / "model.safetensors"
    stat = weights.stat()
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    code, _, err = explained()
    os.utime(weights, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert code == 2
    assert "Its model files: " in err
    assert explained()[0] == 3
