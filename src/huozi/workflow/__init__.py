"""Runs: folders with settings, events and results, which survive any interruption."""

from huozi.workflow.executors import (
    THREAD_VARIABLES,
    LocalExecutor,
    available_cores,
    open_executor,
)
from huozi.workflow.run import RunFolder
from huozi.workflow.settings import (
    Duration,
    describe_mistakes,
    parse_duration,
    read_settings,
)
from huozi.workflow.stage import QuorumError, Runner, all_outcomes, clear_failed
from huozi.workflow.task import Outcome, Task, task

__all__ = [
    "THREAD_VARIABLES",
    "Duration",
    "LocalExecutor",
    "Outcome",
    "QuorumError",
    "RunFolder",
    "Runner",
    "Task",
    "all_outcomes",
    "available_cores",
    "clear_failed",
    "describe_mistakes",
    "open_executor",
    "parse_duration",
    "read_settings",
    "task",
]
