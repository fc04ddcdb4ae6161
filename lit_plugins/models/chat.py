"""Chat templates: what an instruction-tuned model was trained to see around a user's turn."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lit_plugins.errors import InputError, SourceError, SpecError

# For Keras presets, which carry no template. From the model card of Gemma: the turns that it
# was instruction-tuned on, with nothing for a system prompt.
GEMMA = (
    "{{ bos_token }}{% for message in messages %}"
    "<start_of_turn>{{ 'model' if message['role'] == 'assistant' else 'user' }}\n"
    "{{ message['content'] | trim }}<end_of_turn>\n{% endfor %}"
    "{% if add_generation_prompt %}<start_of_turn>model\n{% endif %}"
)


def template(option: bool | str, own: str | None) -> str | None:
    """The Jinja template to use, or None for none.

    `option` is "auto" (the model's own, if it has one), False or "off", True (its own, which it
    must have), or a path of a template file.
    """
    if option in (False, "off"):
        return None
    if option == "auto":
        return own
    if option in (True, "on"):
        if own is None:
            raise SpecError(
                "chat=true, but this model has no chat template. Give the path of a .jinja file: "
                "chat=my_template.jinja, or leave the option out."
            )
        return own
    try:
        return Path(str(option)).expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SourceError(
            f"chat={option}: the template file cannot be read ({error}). Expected auto, off, on, "
            "or the path of a Jinja template."
        ) from None


def render(template: str, prompt: str, system: str | None, variables: Mapping[str, str]) -> str:
    """The text that the model sees for one user turn, up to where its answer begins."""
    from jinja2 import TemplateError
    from transformers.utils.chat_template_utils import render_jinja_template

    messages = [{"role": "user", "content": prompt}]
    if system:
        messages.insert(0, {"role": "system", "content": system})
    try:
        settings: dict[str, Any] = {**variables, "chat_template": template}
        (rendered,), _ = render_jinja_template([messages], add_generation_prompt=True, **settings)
    except TemplateError as error:
        raise InputError(
            f"The model's chat template refuses this prompt: {error}. Serve the model with "
            "chat=off, or with a template of your own."
        ) from None
    return rendered
