"""Qwen2.5-VL."""

from qwen2_vl import write_2_5 as write

__all__ = ["write"]
