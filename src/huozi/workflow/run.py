"""A run is a folder: ``config.yaml``, ``events.jsonl``, checkpoints and results."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import yaml

from huozi.files import write_text


@contextmanager
def held(folder: Path, wait: bool) -> Iterator[None]:
    """Hold a folder, made if missing, by a lock that ends with this process, also by a kill.

    Raises
    ------
    ValueError
        If another process holds it, unless told to `wait`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise ValueError(f"another process is at work in {folder}") from None
        except OSError:  # some network file systems have no locks
            pass
        yield


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run; any viewer may read it while it grows.

    Parameters
    ----------
    path : Path
        Created on demand.
    """

    path: Path

    @property
    def events_path(self) -> Path:
        """The append-only log."""
        return self.path / "events.jsonl"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the folder, so that two commands do not work in it at once; it is made if missing.

        Raises
        ------
        ValueError
            If another process holds it.
        """
        fresh, place = not self.path.exists(), self.path / "lock"
        with held(self.path, wait=False):
            try:
                yield
            finally:
                if fresh and [*self.path.iterdir()] == [place]:  # nothing came of it
                    place.unlink()
                    self.path.rmdir()

    def stored_config(self, verb: str) -> dict[str, Any] | None:
        """Return the configuration of an earlier session; None if there is none.

        Raises
        ------
        ValueError
            If it is that of another verb.
        """
        path = self.path / "config.yaml"
        if not path.exists():
            return None
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
        if not isinstance(found, dict) or found.get("verb") != verb:
            raise ValueError(f"{self.path} holds another kind of run; choose another folder")
        return found

    def write_config(self, config: dict[str, Any]) -> None:
        """Store the resolved configuration as ``config.yaml``."""
        text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
        write_text(self.path / "config.yaml", text)

    def log(self, event: str, **values: Any) -> None:
        """Append one event with the time of day."""
        self.path.mkdir(parents=True, exist_ok=True)
        line = json.dumps({"event": event, "time": round(time.time(), 3), **values}) + "\n"
        with self.events_path.open("ab+") as stream:
            if stream.tell() and not _ends_a_line(stream):
                stream.write(b"\n")
            stream.write(line.encode())

    def events(self, event: str | None = None) -> Iterator[dict[str, Any]]:
        """Yield logged events, all or of one kind; a line cut off by a kill is passed over."""
        if not self.events_path.exists():
            return
        with self.events_path.open(encoding="utf-8") as stream:
            for line in stream:
                try:
                    record = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if event is None or record["event"] == event:
                    yield record


def _ends_a_line(stream: BinaryIO) -> bool:
    stream.seek(-1, os.SEEK_END)
    return stream.read(1) == b"\n"
