"""How many tokens of prompts may be with an engine at once, and how fast they go through: both learnt from its answers. Pure.

Additive increase, multiplicative decrease, as TCP does with its window (Jacobson 1988): while requests wait and answers come
in time, the budget grows; an answer that began late cuts it, once for all that were with the engine at that moment.
"""

from dataclasses import dataclass

# A quarter of the card's target is the engine's time, the rest is for waiting here, where turns are fair.
ENGINE_SHARE = 0.25
START_TOKENS = 2048.0
# Below that an engine would be idle between two prompts; one large image fills it.
FLOOR_TOKENS = 1024.0
CEILING_TOKENS = 1_000_000.0
STEP_TOKENS = 1024.0
CUT = 0.7
# Below this a rate is too uncertain; a slow engine's single answer takes longer anyway.
WINDOW_S = 1.0
NEWEST_SHARE = 0.5


@dataclass(frozen=True, slots=True)
class Answered:
    """When an answer began, measured from the moment its request left the queue.

    `limited`: others were waiting then, so the budget was what kept more from the engine.
    """

    tokens: int
    asked_s: float
    began_s: float
    target_ms: float
    in_flight_tokens: int
    limited: bool

    @property
    def is_late(self) -> bool:
        return 1000 * (self.began_s - self.asked_s) > ENGINE_SHARE * self.target_ms


class Budget:
    """Tokens of prompts whose answer has not begun, for one replica."""

    def __init__(self) -> None:
        self.tokens = START_TOKENS
        self._doubling = True
        self._cut_s = float("-inf")

    def learn(self, answered: Answered, replicas: int) -> None:
        """One answer of one of `replicas` has begun."""
        if answered.is_late:
            self._cut(answered, replicas)
        elif answered.limited:
            windows = answered.tokens / (self.tokens * replicas)
            self.tokens += windows * (self.tokens if self._doubling else STEP_TOKENS)
            self.tokens = min(self.tokens, CEILING_TOKENS)

    def _cut(self, answered: Answered, replicas: int) -> None:
        """A request that was asked before the last cut was late for the same reason."""
        if answered.asked_s < self._cut_s:
            return
        used = min(self.tokens, answered.in_flight_tokens / replicas)
        self.tokens = max(FLOOR_TOKENS, CUT * used)
        self._cut_s = answered.began_s
        self._doubling = False


class DrainRate:
    """Tokens a second that go through while others wait: only then is it the engines that set the pace. None: not known yet."""

    def __init__(self) -> None:
        self.tokens_per_s: float | None = None
        self._since_s: float | None = None
        self._tokens = 0

    def left(self, tokens: int, now_s: float, *, others_wait: bool) -> None:
        """A prompt is through."""
        if not others_wait:
            self._since_s = None
            return
        if self._since_s is None:
            self._since_s, self._tokens = now_s, 0
            return
        self._tokens += tokens
        passed_s = now_s - self._since_s
        if passed_s >= WINDOW_S:
            newest = self._tokens / passed_s
            known = newest if self.tokens_per_s is None else self.tokens_per_s
            self.tokens_per_s = known + NEWEST_SHARE * (newest - known)
            self._since_s, self._tokens = now_s, 0
