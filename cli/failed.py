"""Why a command did not work."""


class Failed(Exception):
    """The message is one line, for people: what is wrong, and what to do."""
