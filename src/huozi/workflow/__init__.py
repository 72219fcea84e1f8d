"""Runs: folders with settings, events and results, which survive any interruption."""

from huozi.workflow.run import RunFolder
from huozi.workflow.settings import (
    Duration,
    describe_mistakes,
    parse_duration,
    read_settings,
)

__all__ = ["Duration", "RunFolder", "describe_mistakes", "parse_duration", "read_settings"]
