"""A command line, read back."""

from deployments.engines.launch import Launch

TRUE = "true"


def flags(launch: Launch) -> dict[str, str]:
    """The flags of a command line by name; a flag without a value is `TRUE`."""
    found: dict[str, str] = {}
    name = ""
    for word in launch.command[3:]:
        if word.startswith("--"):
            name = word.removeprefix("--")
            found[name] = TRUE
        else:
            found[name] = word
    return found
