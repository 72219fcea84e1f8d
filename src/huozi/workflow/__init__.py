"""Runs: folders with settings, events and results, which survive any interruption."""

from huozi.workflow.run import RunFolder

__all__ = ["RunFolder"]
