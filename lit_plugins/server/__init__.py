"""The server: flags and config file, the guard around LIT's app, the threaded servers."""
