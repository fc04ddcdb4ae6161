"""`python -m lit_plugins` is `python launch.py`."""

from lit_plugins.server.main import run

if __name__ == "__main__":
    run()
