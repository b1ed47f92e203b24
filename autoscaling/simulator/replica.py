"""How fast a replica is: what one step of its engine takes, and how much fits into one."""

import json
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Self

from autoscaling.work import WorkModel

PUBLISHED = Path(__file__).parent.parent / "fits" / "qwen2.5-vl-7b-a100-published.json"


@dataclass(frozen=True, slots=True)
class ReplicaModel:
    """`step = step_s + sequence_s * batch + token_s * prefill tokens + vision_token_s * vision tokens + request_s * first`.

    Prefill tokens are those of text and of vision; `first` counts requests whose first chunk is in the step.
    """

    step_s: float
    sequence_s: float
    token_s: float
    vision_token_s: float
    request_s: float
    sequences: int  # in a batch, at most
    step_tokens: int  # prefilled in a step, at most
    step_vision_tokens: int  # encoded in a step, at most
    kv_tokens: int  # of all sequences that run

    @property
    def work(self) -> WorkModel:
        """The cost of a request when the batch is full: no replica of this kind does more in a second than a second of it."""
        return WorkModel(
            request_s=self.request_s,
            patch_s=0.0,
            vision_token_s=self.token_s + self.vision_token_s,
            text_token_s=self.token_s,
            output_token_s=self.step_s / self.sequences + self.sequence_s,
        )

    @classmethod
    def read(cls, path: Path = PUBLISHED) -> Self:
        """A fit, from its file."""
        fit = json.loads(path.read_bytes())
        return cls(**{field.name: fit[field.name] for field in fields(cls)})
