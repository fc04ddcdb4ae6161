"""Serves language models in LIT: `python launch.py --help`."""

from lit_plugins.server.main import run

if __name__ == "__main__":
    run()
