"""The crash harness: real processes, killed where it hurts most, then a count of who paid for what they saw."""

from torture.command import main

__all__ = ["main"]
