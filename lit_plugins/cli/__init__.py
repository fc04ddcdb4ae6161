"""The command line: `lit-plugins COMMAND`. Its help imports nothing but click."""
