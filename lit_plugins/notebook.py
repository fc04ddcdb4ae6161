"""LIT's page inside a notebook: Jupyter, JupyterLab or Colab.

from lit_plugins.notebook import widget

w = widget(models=["smollm2=hf:packaged:smollm2-135m-instruct"])
w.render(data=[{"prompt": "The capital of France is"}])
w.ui_state.primary      # what is selected on the page
w.models["smollm2"]     # the model, for Python
w.stop()
"""

from __future__ import annotations

import contextlib
import functools
import re
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_nlp import app as lit_app
from lit_nlp import dev_server
from lit_nlp import notebook as lit_notebook
from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types
from lit_nlp.lib import ui_state
from tqdm.auto import tqdm

from lit_plugins import backends, datasets, explaining, plugins, resources, sources
from lit_plugins.attribution.explanation import Explanation
from lit_plugins.components import language_models
from lit_plugins.components.loading import Loadable
from lit_plugins.errors import InputError, LitPluginsError, SpecError
from lit_plugins.models import kinds
from lit_plugins.server import build, lit_client, serving
from lit_plugins.sources import ModelOptions, ModelSpec
from lit_plugins.toml_file import did_you_mean

_TURN = threading.Lock()  # for LIT's table of servers, which is everybody's


class LitWidget(lit_notebook.LitWidget):
    """LIT's widget on our threaded server. Made by `widget`."""

    def __init__(
        self,
        group: Mapping[str, lit_model.Model],
        data: Mapping[str, lit_dataset.Dataset],
        models: Mapping[str, Any],
        height: int,
        **lit_kwargs: Any,
    ) -> None:
        self._models = dict(models)
        self._group = dict(group)
        self._data = dict(data)
        with _our_server():
            super().__init__(group, data, height=height, **lit_kwargs)

    @property
    def models(self) -> dict[str, Any]:
        """The models by name. Take `model.lock` around a use while the page may use it too.

        Each is a LanguageModel, or an HFEncoder.
        """
        return dict(self._models)

    @property
    def lit_models(self) -> dict[str, lit_model.Model]:
        """What the page asks: `NAME`, and `_NAME_salience` and `_NAME_tokenizer` of prompts."""
        return dict(self._group)

    @property
    def url(self) -> str:
        """The page's address on the machine that runs the notebook.

        Raises:
            LitPluginsError: The widget has been stopped.

        """
        try:
            return f"http://127.0.0.1:{self._server.port}/"
        except RuntimeError:
            raise LitPluginsError("The widget has been stopped; make another.") from None

    @property
    def ui_state(self) -> ui_state.UIState:
        """What is selected on the page: `primary`, `selection`, `pinned`, `dataset_name`."""
        return super().ui_state

    def render(
        self,
        height: int | None = None,
        open_in_new_tab: bool = False,
        ui_params: lit_notebook.RenderConfig | None = None,
        data: Sequence[str | Mapping[str, Any]] | None = None,
    ) -> None:
        """Show the page in the cell's output, or in a tab of its own.

        Args:
            height: In pixels; the widget's if not given.
            open_in_new_tab: Whether to open a tab instead.
            ui_params: What to open the page with; `dataset` names the set that `data` joins.
            data: Examples to begin with, as text or as `{"prompt": …, "target": …}`, by the names
                of a dataset's fields. They are added to the first dataset that has their fields,
                and selected. Plain text is a `prompt`, or a `text` where no dataset has prompts.

        Raises:
            InputError: No dataset of the widget has the fields of `data`.
            LitPluginsError: The widget has been stopped.

        """
        _ = self.url  # raises
        parameters = lit_notebook.RenderConfig()
        if ui_params is not None:
            vars(parameters).update(vars(ui_params))  # LIT would change the caller's
        if data:
            shown = [
                self._data[name].spec() for name in self._data if parameters.dataset in (None, name)
            ]
            field = "text" if shown and not any("prompt" in spec for spec in shown) else "prompt"
            examples = [_example(entry, field) for entry in data]
            parameters.dataset = self._dataset_for(examples, parameters.dataset)
            parameters.datapoints = examples
        super().render(height, open_in_new_tab, parameters)

    def _dataset_for(self, examples: Iterable[Mapping[str, Any]], wanted: str | None) -> str | None:
        """Return the dataset of the page that shows all the fields."""
        fields = {field for example in examples for field in example}
        if wanted is not None and wanted not in self._data:
            raise InputError(f"Unknown dataset {wanted!r}. Available: {_names(self._data)}.")
        for name in [wanted] if wanted else self._data:
            if fields <= set(self._data[name].spec()):
                return name
        if not self._data and fields <= {"prompt"}:
            return None  # the page makes a dataset of what the model needs
        shown = {name: list(self._data[name].spec()) for name in self._data}
        raise InputError(
            f"No dataset has all the fields {_names(sorted(fields))}, and the page shows only a "
            f"dataset's own. Fields: {shown or {'(no dataset)': ['prompt']}}."
        )

    def __repr__(self) -> str:
        try:
            state = f"at {self.url}"
        except LitPluginsError:
            state = "stopped"
        return f"<LitWidget {state}: models {_names(self._models)}; datasets {_names(self._data)}>"


def widget(
    models: Any = None,
    datasets: Any = None,
    layout: str = "prompt_left_right",
    *,
    height: int = 1000,
    keras_backend: str | None = None,
    **lit_kwargs: Any,
) -> LitWidget:
    """Load models and data, and serve the page for this notebook; `render` shows it.

    Args:
        models: A list of specs (`"gemma3=keras:packaged:gemma3-270m"`, see
            `lit_plugins.sources`), of `ModelSpec`s, or of pairs (name, model); or a mapping from
            name to spec or model. A model is one that is loaded already: a `LanguageModel` or
            `HFEncoder`, a keras-hub `CausalLM`, or a pair (`transformers` model, tokenizer) of any
            task. Its parameters are frozen. Default: SmolLM2.
        datasets: A list of names of sample sets, of paths and specs (`"mine=prompts.csv"`, see
            `lit_plugins.datasets`); or a mapping from name to one of these, to a list of examples
            (`{"prompt": …}`, `{"text": …, "label": …}` and so on, or text: of a `prompt`, or a
            `text` if no model takes prompts), or to a LIT `Dataset`. An empty list: none, for
            `render` to bring them. Default: all sample sets.
        layout: Which layout the page opens with, one of ours, of LIT's or of `layouts=`.
        height: Of the page, in pixels.
        keras_backend: `torch` or `tensorflow`; default: what Keras already runs on, else
            $KERAS_BACKEND, else torch.
        **lit_kwargs: Of `lit_nlp.notebook.LitWidget` (`render`, `proxy_url`, `layouts`,
            `warm_start`), of LIT's app (`page_title`, `metrics`, `generators`, …), and `host` and
            `port` of the server.

    Raises:
        LitPluginsError: Something cannot be understood, found or loaded. Nothing is served then.

    """
    _check_keywords(lit_kwargs)
    plugins.load()
    wanted = _wanted_models(list(build.DEFAULT_MODELS[:1]) if models is None else models)
    profiles = {name: _profile(name, entry) for name, entry in wanted.items()}
    prompts = any(one.task == "text-generation" for one in profiles.values())
    data = _datasets(_samples() if datasets is None else datasets, "prompt" if prompts else "text")
    page_layouts = build.page_layouts(
        [resources.folder("layouts")],
        layout,
        lit_kwargs.pop("layouts", None),
        ours=lit_client.is_known(Path(lit_kwargs.get("client_root") or lit_client.ROOT)),
    )
    specs = [entry for entry in wanted.values() if isinstance(entry, ModelSpec)]
    for spec in specs:
        language_models.require(spec.framework)
    if keras_backend or any(spec.framework == "keras" for spec in specs):
        backends.keras_backend(keras_backend)  # now: before anything is downloaded

    loaded: dict[str, Any] = {}
    group: dict[str, lit_model.Model] = {}
    with tqdm(wanted.items(), "Loading models", disable=not specs, leave=False) as bar:
        for name, entry in bar:
            bar.set_postfix_str(name)
            profile = build.with_labels(profiles[name], list(data.values()))
            loadable = Loadable(name, functools.partial(_open, name, entry, profile))
            loaded[name] = loadable.get()
            group |= build.lit_models(name, loadable, profile, loaded[name].description)

    render = lit_kwargs.pop("render", False)
    arguments: dict[str, Any] = {
        **build.LIT_DEFAULTS,
        **build.loaders(build.allowed_models(specs), []),
        "interpreters": build.interpreters(group),
        "metrics": build.metrics(),
        "generators": build.generators(),
        "onboard_start_doc": build.SPLASH,
        "warm_start_progress_indicator": tqdm,
        # Not 'localhost': that may be IPv6 alone, which 127.0.0.1 in the page's address is not.
        "host": "127.0.0.1",
        **lit_kwargs,
        "default_layout": layout,
        "layouts": page_layouts,
    }
    made = LitWidget(group, data, loaded, height, **arguments)
    if render:
        made.render()
    return made


def show(
    explanations: Iterable[Explanation], *, name: str | None = None, **arguments: Any
) -> LitWidget:
    """LIT's page with what was explained: the model, and the inputs as a dataset.

    In a notebook it is shown in the cell's output; elsewhere `.url` of what is returned is its
    address, for as long as the process runs.

    Args:
        explanations: Of one model, at least one.
        name: What the dataset is called. Default: `explained`.
        **arguments: Of `widget`.

    Raises:
        InputError: There is no explanation, or they are of several models.
        LitPluginsError: The model cannot be loaded again.

    """
    found = list(explanations)
    models = {one.model for one in found}
    if len(models) != 1:
        got = ", ".join(sorted(models)) or "no explanation"
        raise InputError(
            f"The page shows explanations of one model, at least one of them. Got {got:.200}."
        )
    explainer = explaining.explainer_of(found[0])
    # An input that was explained by several methods is one example.
    inputs = list({repr(one.inputs): dict(one.inputs) for one in found}.values())
    arguments = {"layout": kinds.KINDS[explainer.task].layout, **arguments}
    made = widget(
        models={re.sub(r"[^A-Za-z0-9_.-]+", "_", explainer.name).strip("_.-"): explainer.model},
        datasets={name or "explained": inputs},
        **arguments,
    )
    made.render()
    return made


@contextlib.contextmanager
def _our_server() -> Iterator[None]:
    """Within the context, LIT's widget gets our server: LIT returns none of another type."""
    with _TURN:
        theirs = dev_server.WSGI_SERVERS["notebook"]
        dev_server.WSGI_SERVERS["notebook"] = serving.NotebookServer
        try:
            yield
        finally:
            dev_server.WSGI_SERVERS["notebook"] = theirs


def _check_keywords(given: Collection[str]) -> None:
    # LIT's servers ignore what they do not know, and with it every misspelling.
    known = {*dev_server.get_available_keywords(lit_app.LitApp), "host", "port"}
    known |= {"render", "proxy_url", "layouts", "warm_start"}
    known -= {"self", "models", "datasets", "default_layout", "sync_state"}
    known -= {"warm_start_progress_indicator"}
    for name in given:
        if name not in known:
            mine = known | {"models", "datasets", "layout", "height", "keras_backend"}
            hint = did_you_mean(name, mine)
            raise SpecError(f"widget() has no argument {name!r}.{hint} See its documentation.")


# ------------------------------------------------------------------- models


def _wanted_models(given: Any) -> dict[str, Any]:
    """Return by name a ModelSpec, or a model that is loaded already."""
    if isinstance(given, str):
        given = sources.split_models(given)
    if isinstance(given, ModelSpec):
        given = [given]
    if isinstance(given, Mapping):
        pairs = [_model(name, value) for name, value in given.items()]
    elif isinstance(given, Iterable):
        pairs = [_listed_model(entry) for entry in given]
    else:
        raise SpecError(_no_model(given))
    if not pairs:
        raise SpecError("widget() needs a model at least. Leave models out for SmolLM2.")
    build.check_unique("model", [name for name, _ in pairs])
    return dict(pairs)


def _listed_model(entry: Any) -> tuple[str, Any]:
    if isinstance(entry, str):
        entry = sources.parse_model(entry)
    if isinstance(entry, ModelSpec):
        return entry.name, entry
    if isinstance(entry, tuple) and len(entry) == 2 and isinstance(entry[0], str):
        return _model(*entry)
    raise SpecError(_no_model(entry))


def _model(name: Any, value: Any) -> tuple[str, Any]:
    # The parser knows what a name may be.
    sources.parse_model("hf:gpt2", name=str(name))
    if isinstance(value, str):
        return name, sources.parse_model(value, name=name)
    loaded = bool(kinds.task_of(value)) or kinds.is_keras_lm(value) or _is_hf_pair(value)
    if not (isinstance(value, ModelSpec) or loaded):
        raise SpecError(_no_model(value, name))
    return name, value


def _is_hf_pair(value: Any) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and hasattr(value[0], "get_input_embeddings")
        and hasattr(value[1], "convert_ids_to_tokens")
    )


def _no_model(value: Any, name: str = "NAME") -> str:
    got = type(value).__name__
    if hasattr(value, "get_input_embeddings"):
        got += f" alone: write ({name!r}, (model, tokenizer))"
    return (
        "A model is 'NAME=FRAMEWORK:SOURCE', a ModelSpec, or a pair (NAME, model) where model is a "
        f"LanguageModel, a keras-hub CausalLM, or (transformers model, tokenizer). Got {got}."
    )


def _profile(name: str, entry: Any) -> kinds.Profile:
    """Return what the model does."""
    if isinstance(entry, ModelSpec):
        return kinds.profile_of(entry)
    if kinds.is_keras_lm(entry):
        return kinds.Profile("text-generation")
    return kinds.profile_of_loaded(entry[0] if isinstance(entry, tuple) else entry, name)


def _open(name: str, entry: Any, profile: kinds.Profile) -> Any:
    if kinds.task_of(entry):
        return entry
    if isinstance(entry, ModelSpec):
        return kinds.open_model(entry, profile)
    if isinstance(entry, tuple):
        model, tokenizer = entry
        return profile.kind.make(model, tokenizer, profile.options, name)
    from lit_plugins.models.keras_text import KerasCausalLM

    return KerasCausalLM(entry, ModelOptions(), name)


# ------------------------------------------------------------------- data


def _samples() -> list[str]:
    return list(datasets.samples())


def _datasets(given: Any, field: str) -> dict[str, lit_dataset.Dataset]:
    """Return the datasets by name; `field` is what plain text is."""
    if isinstance(given, str | Path):
        given = datasets.split_datasets(str(given))
    if isinstance(given, Mapping):
        return {_dataset_name(name): _dataset(name, value, field) for name, value in given.items()}
    found = [_listed_dataset(entry) for entry in given]
    build.check_unique("dataset", [name for name, _ in found])
    return dict(found)


def _listed_dataset(entry: Any) -> tuple[str, lit_dataset.Dataset]:
    if isinstance(entry, str | Path):
        entry = _parsed(str(entry))
    if isinstance(entry, datasets.DatasetSpec):
        return entry.name, entry.load()
    if isinstance(entry, datasets.RecordDataset):
        return entry.name, entry
    raise SpecError(
        "A dataset is a sample set's name, a path, or 'NAME=PATH'; prompts and LIT Datasets need "
        f"a name: datasets={{'mine': …}}. Got {type(entry).__name__}."
    )


def _dataset(name: str, value: Any, field: str) -> lit_dataset.Dataset:
    if isinstance(value, lit_dataset.Dataset):
        if not any(isinstance(kind, lit_types.TextSegment) for kind in value.spec().values()):
            raise SpecError(f"Dataset {name!r} has no field of type TextSegment.")
        return value
    if isinstance(value, str | Path):
        return _parsed(str(value)).load()
    if isinstance(value, datasets.DatasetSpec):
        return value.load()
    if not isinstance(value, Iterable) or isinstance(value, Mapping):
        raise SpecError(
            f"Dataset {name!r} is {type(value).__name__}; expected a list of examples, a path, a "
            "sample set's name, or a LIT Dataset."
        )
    return datasets.from_records([_example(entry, field) for entry in value], name)


def _parsed(text: str) -> datasets.DatasetSpec:
    """Parse a spec, and say what the sample sets are if it is neither one nor a file."""
    spec = datasets.parse_dataset(text)
    bare = not spec.path.suffix and len(spec.path.parts) == 1
    if bare and not spec.path.exists():
        hint = did_you_mean(str(spec.path), _samples())
        raise SpecError(
            f"Unknown sample set {str(spec.path)!r}.{hint} Available: {_names(_samples())}; or "
            f"a file ({', '.join(datasets.extensions())})."
        )
    return spec


def _dataset_name(name: Any) -> str:
    return datasets.parse_dataset(f"{name}={_samples()[0]}").name  # which checks it


def _example(entry: Any, field: str) -> dict[str, Any]:
    """Return an example: LIT's field names and values; plain text is `field`."""
    example = {field: entry} if isinstance(entry, str) else entry
    if not isinstance(example, Mapping) or not isinstance(example.get("prompt", ""), str):
        raise InputError(
            f"An example is text, or {{{field!r}: text}} with further fields. Got {entry!r:.60}."
        )
    for name, value in example.items():
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                raise InputError(f"{name!r} holds half a surrogate pair. Remove it.") from None
    return dict(example)


def _names(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
