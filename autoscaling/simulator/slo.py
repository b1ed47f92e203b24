"""What a request was promised."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Slo:
    """Interactive: a first token within `ttft_s` and so much for each vision token, then `tpot_s` a token on average."""

    ttft_s: float = 2.0
    ttft_s_per_vision_token: float = 0.25e-3
    tpot_s: float = 0.1
    target: float = 0.99  # of all arrivals
