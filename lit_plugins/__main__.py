"""`python -m lit_plugins` is `lit-plugins`."""

from lit_plugins.cli.main import run

if __name__ == "__main__":
    run()
