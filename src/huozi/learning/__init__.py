"""Concurrent learning: explore, select, label, retrain, until nothing is new."""

from huozi.learning.estimate import estimate
from huozi.learning.loop import LearnResult, learn
from huozi.learning.settings import LearnSettings
from huozi.learning.status import explain, find_runs, open_run, status

__all__ = [
    "LearnResult",
    "LearnSettings",
    "estimate",
    "explain",
    "find_runs",
    "learn",
    "open_run",
    "status",
]
