# SPDX-License-Identifier: Apache-2.0
"""Evaluations that were paid for once: an SQLite file in the user's cache directory, safe under concurrent writers."""

from __future__ import annotations

import json
import os
import sqlite3
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

SCHEMA = 1


def default_path() -> Path:
    """``$CMSISNN_X_CACHE``, else the platform's cache directory, then ``cmsisnn-x/records.sqlite``."""
    if folder := os.environ.get("CMSISNN_X_CACHE"):
        return Path(folder) / "records.sqlite"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "cmsisnn-x" / "records.sqlite"


class Records:
    """A persistent mapping of digests to evaluations (JSON objects).

    A file that is corrupt or of another version is set aside; one that cannot be written is replaced by memory:
    records make runs faster, they are never needed.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self.message: str | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._database = self._open()
        except (OSError, sqlite3.Error) as problem:
            self._forget(problem)

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as problem:
            if isinstance(problem, sqlite3.OperationalError):
                raise
            aside = self.path.with_suffix(".unreadable")
            self.path.replace(aside)
            self.message = f"{self.path}: not a record file of this version; set aside as {aside.name}"
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=30)
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, SCHEMA):
                raise sqlite3.DatabaseError(f"version {version}")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("CREATE TABLE IF NOT EXISTS evaluation (key TEXT PRIMARY KEY, content TEXT NOT NULL)")
            database.execute(f"PRAGMA user_version={SCHEMA}")
            database.commit()
        except BaseException:
            database.close()
            raise
        return database

    def _forget(self, problem: Exception) -> None:
        self.message = f"{self.path}: records cannot be kept: {problem}"
        self._database = sqlite3.connect(":memory:")
        self._database.execute("CREATE TABLE evaluation (key TEXT PRIMARY KEY, content TEXT NOT NULL)")

    def get(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What is known of `keys`."""
        found = {}
        for key in keys:
            row = self._database.execute("SELECT content FROM evaluation WHERE key = ?", (key,)).fetchone()
            if row:
                found[key] = json.loads(row[0])
        return found

    def put(self, entries: Mapping[str, Mapping[str, Any]]) -> None:
        """Add or replace entries, all or none."""
        rows = [(key, json.dumps(content, sort_keys=True)) for key, content in entries.items()]
        try:
            with self._database:
                self._database.executemany("INSERT OR REPLACE INTO evaluation VALUES (?, ?)", rows)
        except sqlite3.Error as problem:
            self._forget(problem)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM evaluation").fetchone()[0])

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
