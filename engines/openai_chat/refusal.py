"""Why a request is refused, in words that name the field at fault. Pure."""

from pydantic import ValidationError


class FieldRefused(ValueError):
    """`param` is the field at fault."""

    def __init__(self, param: str, words: str) -> None:
        super().__init__(words)
        self.param = param
        self.words = words


def refusal(error: ValueError) -> tuple[str, str | None]:
    """The message, and the field at fault if it is one. Other errors than these two kinds are in words for the caller."""
    if isinstance(error, FieldRefused):
        return f"{error.param}: {error.words}", error.param
    if isinstance(error, ValidationError):
        faults = error.errors(include_input=False, include_url=False)
        causes = [fault.get("ctx", {}).get("error") for fault in faults]
        if named := [cause for cause in causes if isinstance(cause, FieldRefused)]:
            return refusal(named[0])
        words = "; ".join(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in faults)
        return words, str(faults[0]["loc"][0]) if faults[0]["loc"] else None
    return str(error), None
