"""Mooncake's conversations (kvcache-ai/Mooncake, Apache-2.0): text, with prompts that share their beginning."""

import gzip
import json
from pathlib import Path

import numpy as np

from autoscaling.simulator.trace import Trace

BLOCK = 512  # tokens of a hash


def conversations(path: Path) -> Trace:
    """Blocks that were seen before cost nothing: a prefix cache without bounds, as a cluster of replicas nearly has."""
    seen: set[int] = set()
    rows = []
    with gzip.open(path) as lines:
        for line in lines:
            request = json.loads(line)
            known = sum(block in seen for block in request["hash_ids"])
            seen.update(request["hash_ids"])
            text = max(request["input_length"] - known * BLOCK, 1)
            rows.append((request["timestamp"] / 1000, text, request["output_length"]))
    t_s, text_tokens, output = (np.array(column) for column in zip(*rows, strict=True))
    return Trace.of("mooncake-conversation", t_s, np.zeros(len(rows), np.int64), text_tokens, output)
