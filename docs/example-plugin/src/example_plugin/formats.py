"""A file format: .ini files, a section a record."""

import configparser
import io
from collections.abc import Iterator, Mapping
from typing import IO, Any


def read_ini(file: IO[bytes]) -> Iterator[Mapping[str, Any]]:
    """Yield each section's keys and values."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_file(io.TextIOWrapper(file, encoding="utf-8"))
    for section in parser.sections():
        yield dict(parser[section])
