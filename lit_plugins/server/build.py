"""What the command line's server and a notebook's have in common: models, layouts, loaders."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from lit_nlp.api import dataset as lit_dataset
from lit_nlp.api import layout as lit_layout
from lit_nlp.api import model as lit_model
from lit_nlp.api import types as lit_types

from lit_plugins import datasets, layouts, plugins, sources
from lit_plugins.components.loading import Loadable
from lit_plugins.errors import ConfigError, SpecError
from lit_plugins.models import kinds
from lit_plugins.toml_file import did_you_mean

DEFAULT_MODELS = (
    "smollm2=hf:packaged:smollm2-135m-instruct",
    # A base model goes on with more examples; in the sample sets a blank line ends each.
    r"gemma3=keras:packaged:gemma3-270m?max_new_tokens=48&stop=\n\n",
    "sentiment=hf:packaged:sentiment?gradients=on",
    "reranker=hf:packaged:reranker",
    "pii-ner=hf:packaged:pii-ner",
    "tiny-qa=hf:packaged:tiny-qa",
    "tiny-nli=hf:packaged:tiny-nli",
)

# Arguments of LIT's app whose defaults differ here.
LIT_DEFAULTS = {
    "page_title": "Prompt debugging",
    "default_layout": "prompt_left_right",
    # Else a client could store a wrong answer for everybody under a made-up id.
    "strict_cache_id_validation": True,
}

SPLASH = """
# Prompt debugging

Choose an example, then click a part of the answer (a word, a sentence, …). What comes before it is
coloured by how much it drove that part. Edit the prompt, add it, and look again.

Of classifiers, taggers and question answerers, *Methods* shows what drove a label, tag or answer.
"""

# What a client may say about a model that it loads. `trust_remote_code`, `revision` and a
# file as chat template are left to whoever starts the server.
_CLIENT_OPTIONS = frozenset(sources.ModelOptions.model_fields) - {
    "trust_remote_code",
    "revision",
    "max_explanation_seconds",
    "tokens_per_pass",
}


def check_unique(what: str, names: Iterable[str]) -> None:
    """Raise SpecError if a name is there twice."""
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise SpecError(f"Two {what}s are named {name!r}; rename one.")
        seen.add(name)


def page_layouts(
    folders: Sequence[Path],
    default: str,
    more: Mapping[str, lit_layout.LitCanonicalLayout] | None = None,
    *,
    ours: bool = True,
) -> dict[str, lit_layout.LitCanonicalLayout]:
    """Return LIT's layouts, those of plugins and of the folders, and `more`, by name.

    Args:
        folders: Of layout files.
        default: The layout that the page opens with.
        more: Layouts that somebody has made in Python.
        ours: Whether the page gets our client; without it, LIT's modules stand in for ours.

    Raises:
        ConfigError: A file is invalid, or none of them is called `default`.

    """
    found = lit_layout.DEFAULT_LAYOUTS | layouts.load([*plugins.LAYOUT_FOLDERS, *folders])
    found |= dict(more or {})
    if default not in found:
        hint = did_you_mean(default, found)
        raise ConfigError(f"Unknown layout {default!r}.{hint} Available: {', '.join(found)}.")
    return found if ours else layouts.without_ours(found)


def loaders(allowed_models: Sequence[str], data_folders: Sequence[Path]) -> dict[str, Any]:
    """Return what LIT's Configure dialog offers, as arguments of its app."""
    return {
        "model_loaders": {"model": model_loader(allowed_models)},
        "dataset_loaders": datasets.loaders(data_folders),
    }


def interpreters(models: Mapping[str, lit_model.Model]) -> dict[str, Any]:
    """Return our methods, attention, and LIT's own components that explain, by name."""
    from lit_nlp.components import core

    from lit_plugins.components import interpreters as components
    from lit_plugins.components.attention import AttentionInterpreter

    own = components.interpreters() | {"Attention": AttentionInterpreter()}
    return own | dict(core.default_interpreters(dict(models)))


def metrics() -> dict[str, Any]:
    """Return LIT's metrics, and ours of answers and tags, by name."""
    from lit_plugins.components import metrics as components

    return components.metrics()


def generators() -> dict[str, Any]:
    """Return LIT's generators of counterfactual examples, by name."""
    from lit_plugins.components import generators as components

    return components.generators()


def allowed_models(specs: Iterable[sources.ModelSpec]) -> list[str]:
    """Return patterns for the models that may be loaded unasked: packaged ones and these."""
    packaged = [f"{framework}:packaged:*" for framework in sources.FRAMEWORKS]
    return list(dict.fromkeys([*packaged, *(f"{it.framework}:{it.source}" for it in specs)]))


def models(
    specs: Iterable[sources.ModelSpec], data: Iterable[lit_dataset.Dataset] = ()
) -> tuple[dict[str, Loadable], dict[str, lit_model.Model]]:
    """Return for each spec what loads its model, and the LIT models around them.

    Args:
        specs: Of any task.
        data: What will be shown: labels of zero-shot models are taken from it where the spec gives
            none, and all of it has the same.

    """
    from lit_plugins.components import language_models

    data = list(data)
    loadables: dict[str, Loadable] = {}
    made: dict[str, lit_model.Model] = {}
    for spec in specs:
        # Now, rather than once the page is up.
        language_models.require(spec.framework)
        sources.check(spec)
        profile = with_labels(kinds.profile_of(spec), data)
        loadables[spec.name] = Loadable(
            spec.name, functools.partial(kinds.open_model, spec, profile)
        )
        description = f"{spec.framework}:{spec.source}"
        made |= lit_models(spec.name, loadables[spec.name], profile, description)
    return loadables, made


def lit_models(
    name: str, loaded: Any, profile: kinds.Profile, description: str
) -> dict[str, lit_model.Model]:
    """Return the LIT models around a model that `loaded.get()` gives."""
    return profile.kind.lit_models(name, loaded, profile, description)


def with_labels(profile: kinds.Profile, data: Sequence[lit_dataset.Dataset]) -> kinds.Profile:
    """Return the profile with the candidate labels that all records have, if they do."""
    if profile.task != "zero-shot" or profile.labels:
        return profile
    own = [one for one in data if getattr(one, "task", None) == profile.task]
    found = {
        tuple(example.get("candidate_labels") or ()) for one in own for example in one.examples
    }
    if len(found) != 1 or not (labels := found.pop()):
        return profile
    options = profile.options.model_copy(update={"candidate_labels": labels})
    return dataclasses.replace(profile, labels=labels, options=options)


def model_loader(
    allowed: Sequence[str],
) -> tuple[Callable[..., Mapping[str, lit_model.Model]], lit_types.Spec]:
    """Return a loader of models of any task for LIT's Configure dialog, and its fields.

    Args:
        allowed: Patterns (`fnmatch`) of FRAMEWORK:SOURCE that it accepts.

    """

    # LIT looks at the annotation to see that these are several models.
    def model(new_name: str, source: str = "", options: str = "") -> Mapping[str, lit_model.Model]:
        text = f"{source}?{options}" if options else source
        spec = sources.parse_model(text, name=new_name)
        asked = f"{spec.framework}:{spec.source}"
        inside = ".." not in Path(spec.source).parts
        if not (inside and any(fnmatch.fnmatchcase(asked, pattern) for pattern in allowed)):
            raise SpecError(
                f"{asked[:200]!r} may not be loaded from here. Allowed: {', '.join(allowed)}. "
                "More can be allowed with --allowed_models when the server is started."
            )
        for option in spec.options.model_fields_set:
            if option not in _CLIENT_OPTIONS or (
                option == "chat" and str(spec.options.chat).endswith((".jinja", ".jinja2"))
            ):
                raise SpecError(f"The option {option!r} can only be given with --models.")
        loadables, made = models([spec])
        for loadable in loadables.values():
            loadable.get()  # now, so that the dialog shows what goes wrong
        return made

    plain = [pattern for pattern in allowed if not set(pattern) & set("*?[")]
    default = plain[0] if plain else "hf:packaged:smollm2-135m-instruct"
    return model, {
        "source": lit_types.String(default=default),
        "options": lit_types.String(default="", required=False),
    }
