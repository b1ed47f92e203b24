"""What callers saw, and from when on they had answers again. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Call:
    """One request of a caller, who asks again only when it has ended. Times by one clock."""

    caller: str
    began_s: float
    ended_s: float
    answered: bool


def answered_again_s(calls: Iterable[Call], callers: Iterable[str], killed_s: float) -> float | None:
    """When the last of the callers had its first answer after its last failure, of requests that began after the kill.

    None while that is not so.
    """
    answers_s: dict[str, float | None] = dict.fromkeys(callers)
    for call in calls:
        if call.began_s < killed_s:
            continue
        if not call.answered:
            answers_s[call.caller] = None
        elif answers_s[call.caller] is None:
            answers_s[call.caller] = call.ended_s
    times_s = [time_s for time_s in answers_s.values() if time_s is not None]
    return max(times_s) if len(times_s) == len(answers_s) else None
