"""Runs: folders with settings, events and results, which survive any interruption."""

from huozi.workflow.run import RunFolder
from huozi.workflow.settings import describe_mistakes, read_settings

__all__ = ["RunFolder", "describe_mistakes", "read_settings"]
