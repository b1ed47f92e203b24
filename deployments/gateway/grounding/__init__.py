"""Boxes and points of an answer as fractions of the image, whatever the model's own way to write them.

| module | |
|---|---|
| `ask` | what a request asks for, and what its engine is asked instead |
| `formats` | the six ways in which models write places |
| `places` | boxes and points |
| `read` | an engine's answer with its places beside the text |
"""

from deployments.gateway.grounding.ask import ANSWER_HEADER, for_engine, kind_asked
from deployments.gateway.grounding.read import Grounded, Reading, reading

__all__ = ["ANSWER_HEADER", "Grounded", "Reading", "for_engine", "kind_asked", "reading"]
