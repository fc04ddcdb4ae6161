"""The command line of the server: flags, help, `--check`, and putting everything together."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import logging
import os
import re
import sys
import textwrap
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from absl import flags
from absl import logging as absl_logging
from lit_nlp import server_flags

from lit_plugins import datasets, layouts, plugins, resources, sources
from lit_plugins.backends import KERAS_BACKENDS
from lit_plugins.components.loading import start_all
from lit_plugins.components.shared import Explainable, Wanted
from lit_plugins.errors import ConfigError, LitPluginsError, SpecError
from lit_plugins.models import kinds
from lit_plugins.server import build, config, lit_client

_EXAMPLES = """\
launch.py serves language models, classifiers, taggers and question answerers in LIT, the Learning
Interpretability Tool.

  python launch.py
      SmolLM2 (Hugging Face), Gemma 3 (Keras) and a model of each other task, with the sample sets
  python launch.py --models=gpt2=hf:openai-community/gpt2 --datasets=mine=prompts.jsonl
      a model of the Hugging Face hub with prompts of yours
  python launch.py --models='a=keras:gemma3_instruct_270m,b=hf:./weights?dtype=bfloat16'
      a Keras preset and a folder, side by side
  python launch.py --models=sentiment=hf:packaged:sentiment --default_layout=classification
      a text classifier with the sample reviews; a model's config says what its task is
  python launch.py --config=lit.toml --check
      load everything that a config file names, show a table, and stop
"""

# Defaults of LIT's flags that differ here.
_LIT_DEFAULTS = {"server_type": "lit_plugins", **build.LIT_DEFAULTS}

_log = logging.getLogger(__name__)


def run(argv: Sequence[str] | None = None) -> NoReturn:
    """Run `main` as a program: end the process with its exit code."""
    try:
        code = main(argv)
    except BaseException:  # a defect of ours, which must not leave a process hanging either
        with contextlib.suppress(OSError):
            traceback.print_exc()
        code = 1
    _exit(code)


def _exit(code: int) -> NoReturn:
    """End the process with an exit code, without waiting for daemon threads.

    A load or a prediction may still run in one. The interpreter would be torn down under
    native code (torch, TensorFlow), which then hangs or aborts the process. Nothing of ours
    is left to be saved at this point, so if there is such a thread, the exit hooks are skipped.
    """
    with contextlib.suppress(OSError):  # whoever read our output may be gone
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
    if any(thread.daemon and thread.is_alive() for thread in threading.enumerate()):
        os._exit(code)
    sys.exit(code)


def main(argv: Sequence[str] | None = None) -> int:
    """Serve, check or show help, as the arguments say (default: those of the process).

    Returns:
        The exit code: 0; 1 if `--check` found something that does not work; 2 for errors in
        flags, config, data or the address, with one line on stderr; 130 for Ctrl-C before
        the server listens.

    """
    try:
        return _main(list(sys.argv[1:] if argv is None else argv))
    except (LitPluginsError, flags.Error) as error:
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
        return 130


def _main(argv: list[str]) -> int:
    plugins.load()
    values = _define_flags()
    for argument in argv:
        if argument in ("--helpfull", "-helpfull"):
            print(_EXAMPLES + values.get_help())
            return 0
        if argument in ("-h", "-help", "--help", "--helpshort"):
            print(_help(values))
            return 0
    setup = _read(values, argv)
    _set_up_logging()
    if values["check"].value:
        return _check(setup)
    _serve(setup)
    return 0


# ------------------------------------------------------------------- flags


def _define_flags() -> flags.FlagValues:
    """Return LIT's flags and ours, apart from absl's global ones: main may run again."""
    values = copy.deepcopy(flags.FLAGS)
    lit = server_flags.get_flag_holders()
    for name in list(values):
        if name not in lit and name != "verbosity":
            delattr(values, name)  # of whatever else is imported
    for name, default in _LIT_DEFAULTS.items():
        values.set_default(name, default)
    multi = functools.partial(flags.DEFINE_multi_string, default=None, flag_values=values)
    multi(
        "models",
        help="NAME=FRAMEWORK:SOURCE?options, FRAMEWORK is hf or keras; several divided by commas "
        "or by repeating the flag. The option task= says what a model does, if its config does "
        f"not. (default: {','.join(build.DEFAULT_MODELS)})",
    )
    multi(
        "datasets",
        help="NAME=PATH?options of .jsonl, .csv, .tsv or .txt, or the name of a sample set; "
        "several as for --models. (default: all sample sets)",
    )
    flags.DEFINE_integer(
        "max_examples",
        None,
        "Most examples of each dataset. (default: 1000)",
        lower_bound=1,
        flag_values=values,
    )
    multi("layouts_dir", help="Folder with layouts (*.toml) to add to ours; repeatable.")
    flags.DEFINE_string(
        "config", None, "File (lit.toml) that says it all; flags win.", flag_values=values
    )
    flags.DEFINE_bool(
        "check", False, "Load everything, show a table, and stop.", flag_values=values
    )
    flags.DEFINE_enum(
        "load",
        "background",
        ["background", "first_use", "before"],
        "When models are loaded: in the background once the page is up, each on its first use, "
        "or all before the page is up.",
        flag_values=values,
    )
    flags.DEFINE_enum(
        "keras_backend",
        None,
        list(KERAS_BACKENDS),
        "What Keras models run on. (default: $KERAS_BACKEND, else torch)",
        flag_values=values,
    )
    flags.DEFINE_list(
        "allowed_models",
        None,
        "Patterns of FRAMEWORK:SOURCE that the page's Configure dialog may load, such as "
        "'hf:google/*'. (default: packaged ones and those of --models)",
        flag_values=values,
    )
    multi(
        "data_folders",
        help="Folder from which the Configure dialog may load datasets; repeatable. "
        "(default: none, sample sets only)",
    )
    return values


def _help(values: flags.FlagValues) -> str:
    """Return examples, our flags and LIT's, in that order."""
    lit = server_flags.get_flag_holders()
    ours = [name for name in values if name not in lit and name != "verbosity"]
    parts = [_EXAMPLES, "What to serve:", *(_flag_help(values[name]) for name in ours)]
    parts += ["", "How to serve it (LIT's flags):"]
    parts += [_flag_help(values[name]) for name in [*lit, "verbosity"]]
    return "\n".join([*parts, "", "--helpfull says more about the flags."])


def _flag_help(flag: flags.Flag) -> str:
    # Without what absl adds: the choices (shown with the name) and how to repeat a flag.
    text = re.sub(r"^<[^>]*>: |;\s+repeat this option.*", "", flag.help or "", flags=re.DOTALL)
    if flag.name == "verbosity":
        text = "What to log: -1 warnings, 0 information, 1 everything."
    if flag.default not in (None, "", False) and flag.name != "client_root":
        text += " (default: " + str(flag.default_as_str).strip("'") + ")"
    name = f"--[no]{flag.name}" if flag.boolean else f"--{flag.name}"
    if isinstance(flag.parser, flags.EnumParser):
        name += "=" + "|".join(flag.parser.enum_values)
    if isinstance(flag.parser, flags.EnumClassParser):
        name += "=" + "|".join(flag.parser.enum_class.__members__).lower()
    text = " ".join(text.split())
    lines = textwrap.wrap(text, 96, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return "\n".join([f"  {name}", *lines])


@dataclasses.dataclass(frozen=True)
class _Setup:
    """What flags and config file ask for."""

    models: tuple[sources.ModelSpec, ...]
    datasets: tuple[datasets.DatasetSpec, ...]
    layout_folders: tuple[Path, ...]
    data_folders: tuple[Path, ...]
    allowed_models: tuple[str, ...]
    load: str
    lit: dict[str, Any]


def _read(values: flags.FlagValues, argv: Sequence[str]) -> _Setup:
    """Parse arguments and config file; import nothing heavy."""
    rest = values(["launch.py", *argv])[1:]
    if rest:
        raise SpecError(f"Unexpected argument {rest[0]!r}; flags are written --name=value.")
    file = config.Config({}, (), ())
    if values["config"].value:
        known = {name: values[name] for name in values}
        file = config.read(Path(values["config"].value), known)
        for name, value in file.server.items():
            if not values[name].present:
                values[name].value = value
    value: dict[str, Any] = {name: values[name].value for name in values}

    texts = [spec for text in value["models"] or () for spec in sources.split_models(text)]
    models = tuple(map(sources.parse_model, texts)) or file.models
    models = models or _default_models()
    build.check_unique("model", [spec.name for spec in models])
    texts = [spec for text in value["datasets"] or () for spec in datasets.split_datasets(text)]
    chosen = tuple(map(datasets.parse_dataset, texts)) or file.datasets
    chosen = chosen or tuple(map(datasets.parse_dataset, datasets.samples()))
    if value["max_examples"]:
        chosen = tuple(_with_limit(spec, value["max_examples"]) for spec in chosen)
    build.check_unique("dataset", [spec.name for spec in chosen])

    if not 0 <= value["port"] < 65536:
        raise SpecError(f"--port={value['port']} must be from 0 to 65535.")
    if not 0 <= value["warm_start"] <= 1:
        raise SpecError(f"--warm_start={value['warm_start']} must be from 0 to 1.")
    if not (Path(value["client_root"]) / "static" / "index.html").is_file():
        raise ConfigError(f"--client_root={value['client_root']} holds no build of LIT's client.")
    folders = tuple(map(Path, value["data_folders"] or ()))
    for folder in folders:
        if not folder.is_dir():
            raise ConfigError(f"--data_folders: {str(folder)!r} is no folder.")
    if value["keras_backend"]:
        os.environ["KERAS_BACKEND"] = value["keras_backend"]
    allowed = value["allowed_models"]
    if allowed is None:
        allowed = build.allowed_models(models)
    return _Setup(
        models=models,
        datasets=chosen,
        layout_folders=(resources.folder("layouts"), *map(Path, value["layouts_dir"] or ())),
        data_folders=folders,
        allowed_models=tuple(allowed),
        load=value["load"],
        lit={name: value[name] for name in server_flags.get_flag_holders()},
    )


def _default_models() -> tuple[sources.ModelSpec, ...]:
    """Return those of the demo's models whose framework is installed; all if none is."""
    from lit_plugins.components import language_models

    specs = tuple(map(sources.parse_model, build.DEFAULT_MODELS))
    missing = []
    for spec in specs:
        try:
            language_models.require(spec.framework)
        except LitPluginsError as error:
            missing.append(spec)
            _log.warning("%s is not served. %s", spec.name, error)
    return tuple(spec for spec in specs if spec not in missing) or specs


def _with_limit(spec: datasets.DatasetSpec, max_examples: int) -> datasets.DatasetSpec:
    if "max_examples" in spec.options.model_fields_set:
        return spec
    options = spec.options.model_copy(update={"max_examples": max_examples})
    return dataclasses.replace(spec, options=options)


def _set_up_logging() -> None:
    """Show warnings, or what --verbosity asks for, on stderr."""
    absl_logging.use_absl_handler()
    flags.FLAGS.mark_as_parsed()  # else absl warns that it does not know its flags
    if absl_logging.get_verbosity() < absl_logging.INFO:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's own log
        # LIT's remarks about requests that its own client makes all the time.
        noise = ("Attmepting to", "Error: model '%s' has no compatible")
        absl_logging.get_absl_logger().addFilter(
            lambda record: not str(record.msg).startswith(noise)
        )
        # Metrics of a selection without some label, and the logarithm of a probability of 0.
        for source in ("sklearn", "lit_nlp"):
            warnings.filterwarnings("ignore", module=source)


# ------------------------------------------------------------------- serving


def _serve(setup: _Setup) -> None:
    """Serve until stopped."""
    lit = dict(setup.lit)
    # LIT's own servers know nothing of our client, and an unknown module is an empty page.
    ours = lit["server_type"] == _LIT_DEFAULTS["server_type"]
    ours = ours and lit_client.is_known(Path(lit["client_root"]))
    page_layouts = build.page_layouts(setup.layout_folders, lit["default_layout"], ours=ours)
    data = {spec.name: spec.load() for spec in setup.datasets}
    loadables, models = build.models(setup.models, data.values())

    # The slow import of the start, so after everything that can be wrong.
    from lit_nlp import dev_server

    from lit_plugins.server import serving

    serving.register()
    if lit["server_type"] not in (*dev_server.WSGI_SERVERS, "prebake"):
        known = ", ".join([*dev_server.WSGI_SERVERS, "prebake"])
        raise ConfigError(f"Unknown --server_type={lit['server_type']}. Available: {known}.")
    if lit["server_type"] != serving.SERVER_TYPE:
        _log.warning(
            "--server_type=%s is LIT's own server: it lets clients write files and shows them "
            "tracebacks. Use it only where nobody else can reach it.",
            lit["server_type"],
        )
    if lit["data_dir"]:
        _log.warning(
            "--data_dir: LIT's cache in %r is in pickle format, which runs code when it is read. "
            "Let nobody else write there.",
            lit["data_dir"],
        )
    if setup.load == "before":
        for loadable in loadables.values():
            loadable.get()

    def on_listen() -> None:
        if setup.load == "background":
            start_all(loadables.values())

    dev_server.Server(
        models,
        data,
        layouts=page_layouts,
        interpreters=build.interpreters(models),
        metrics=build.metrics(),
        generators=build.generators(),
        **build.loaders(setup.allowed_models, setup.data_folders),
        onboard_start_doc=build.SPLASH,
        status=lambda: {name: loadable.status() for name, loadable in loadables.items()},
        on_listen=on_listen,
        **lit,
    ).serve()


# ------------------------------------------------------------------- checking


def _check(setup: _Setup) -> int:
    """Load and try everything, print a table; return 1 if anything fails."""
    rows: list[tuple[str, str, str, str, str]] = []

    def attempt(kind: str, name: str, work: Callable[[], str]) -> None:
        begin = time.monotonic()
        try:
            state, details = "ok", work()
        except LitPluginsError as error:
            state, details = "failed", " ".join(str(error).split())
        except Exception as error:
            _log.exception("%s %r", kind, name)
            state, details = "failed", f"{type(error).__name__}: {error}".splitlines()[0]
        seconds = f"{time.monotonic() - begin:.1f} s"
        rows.append((name, kind, state, seconds, details))
        print(f"{kind} {name}: {state}, {seconds}", file=sys.stderr)

    for folder in setup.layout_folders:
        attempt("layouts", folder.name, lambda folder=folder: ", ".join(layouts.load([folder])))
    for data in setup.datasets:
        attempt("dataset", data.name, lambda data=data: f"{len(data.load())} examples")
    for spec in setup.models:
        attempt("model", spec.name, lambda spec=spec: _try_model(spec))

    head = ("name", "kind", "status", "time", "details")
    widths = [max(len(row[column]) for row in [head, *rows]) for column in range(4)]
    for row in [head, *rows]:
        cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=False)]
        print("  ".join([*cells, row[4]]).rstrip())
    return int(any(row[2] == "failed" for row in rows))


def _try_model(spec: sources.ModelSpec) -> str:
    """Load a model, ask it something of its task, and explain it; return what came out."""
    options = spec.options.model_copy(
        update={
            "max_new_tokens": min(4, spec.options.max_new_tokens),
            "embeddings": False,
            "attention": False,
        }
    )
    spec = dataclasses.replace(spec, options=options)
    _, models = build.models([spec])
    # Not kept: the next model may need the memory.
    model = models[spec.name]
    task = kinds.profile_of(spec).task
    example = dict(kinds.KINDS[task].sample)
    if task == "zero-shot" and options.candidate_labels:
        example["candidate_labels"] = list(options.candidate_labels)
    [output] = model.predict([example])
    if "response" in output:
        example["target"] = output["response"] or " Paris"  # of nothing, nothing can be explained
    assert isinstance(model, Explainable)
    [made] = model.explanations([example], [output], Wanted("grad_dot_input"))
    return f"{model.in_words(output)}, salience of {len(made.tokens)} tokens"
