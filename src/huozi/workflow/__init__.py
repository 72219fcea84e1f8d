"""Runs, events and files that survive any interruption."""

from huozi.workflow.files import atomic_path, digest, write_json, write_text
from huozi.workflow.run import RunFolder

__all__ = ["RunFolder", "atomic_path", "digest", "write_json", "write_text"]
