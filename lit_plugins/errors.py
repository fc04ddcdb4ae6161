"""The errors a user can meet.

Every message is one sentence or two that a user can act on: the value, what was
expected, and the remedy. `launch.py` prints it and exits with code 2; the server sends
it with status 400. Anything that is not a `LitPluginsError` is a defect of ours.
"""


class LitPluginsError(Exception):
    """Base of all errors that are the input's fault and not the program's."""


class SpecError(LitPluginsError):
    """A model or dataset specification, an option or a flag is malformed."""


class ConfigError(LitPluginsError):
    """A config file or a layout file is invalid."""


class SourceError(LitPluginsError):
    """Weights or a tokenizer cannot be found, fetched, verified or loaded."""


class DataError(LitPluginsError):
    """A dataset file cannot be read."""


class InputError(LitPluginsError):
    """An example cannot be processed: too long, of a wrong type, mask of another length."""


class Cancelled(LitPluginsError):
    """Whoever asked for an explanation stopped it."""
