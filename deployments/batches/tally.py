"""What became of lines, added up: of one, or of a whole batch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Tally:
    """Lines by how they ended, tokens, and nano-dollars."""

    completed: int = 0
    failed: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    charged_nano: int = 0

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(
            self.completed + other.completed,
            self.failed + other.failed,
            self.input_tokens + other.input_tokens,
            self.cached_tokens + other.cached_tokens,
            self.output_tokens + other.output_tokens,
            self.charged_nano + other.charged_nano,
        )


NOTHING = Tally()
FAILED = Tally(failed=1)
