"""Where our parts write: below Serve's logger, so that every line is in the replica's own log with its request id."""

import logging


def logger_for(module: str) -> logging.Logger:
    """The logger of a module that runs in a Serve replica."""
    return logging.getLogger(f"ray.serve.{module}")
