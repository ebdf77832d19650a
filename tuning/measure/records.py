# SPDX-License-Identifier: Apache-2.0
"""Evaluations that were paid for once: an SQLite file in the user's cache directory, safe under concurrent writers.

What is put is on the disk when `put` returns, so that neither an interrupt nor a killed process loses it. Where the
disk is full, evaluations go to a file in the temporary directory instead, and into the records when they are next
opened.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO, TypeVar

from ..base.errors import OptionError
from ..base.files import is_pipe
from ..base.units import one_line
from .record import Record, parse_line

SCHEMA = 2
WAIT_SECONDS = 30
"""For another process that writes."""
_TABLE = """CREATE TABLE IF NOT EXISTS evaluation (
    key TEXT PRIMARY KEY, created TEXT NOT NULL, about TEXT NOT NULL, content TEXT NOT NULL) WITHOUT ROWID"""
_ASKED = "CREATE TABLE IF NOT EXISTS asked (key TEXT PRIMARY KEY, proposals TEXT NOT NULL) WITHOUT ROWID"
_CHUNK = 500
_Result = TypeVar("_Result")


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

    A file that is corrupt or of an older version is set aside; one that cannot be used is replaced by memory: records
    make runs faster, they are never needed. `message` says so.

    Parameters
    ----------
    path : path, optional
        Default: `default_path`.
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = Path(path) if path is not None else default_path()
        self.message: str | None = None
        self._unwritten: dict[str, tuple[str, str, str]] = {}
        self._is_memory = False
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            if is_pipe(self.path):
                raise OSError(errno.EINVAL, "a pipe, no file", str(self.path))
            self._database = self._open()
        except (OSError, sqlite3.Error) as problem:
            self._use_memory(f"records cannot be kept: {problem}")
        else:
            self._take_in_spilled()

    # -- opening ------------------------------------------------------------------------------------------------------

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except _NewerVersion:
            raise
        except sqlite3.DatabaseError as problem:
            if isinstance(problem, sqlite3.OperationalError):
                raise
            try:
                return self._connect()  # another process may just have set it aside
            except sqlite3.DatabaseError as still:
                if isinstance(still, sqlite3.OperationalError):
                    raise
            self._set_aside(problem)
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        """Open the file, once more where another process is making it: of that SQLite tells at once, timeout or not."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                return self._connect_once()
            except sqlite3.OperationalError as problem:
                # Python 3.11 and later have the code; the low byte is the primary one.
                busy = getattr(problem, "sqlite_errorcode", 0) & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
                if not busy or time.monotonic() > deadline:
                    raise
            time.sleep(0.02)

    def _connect_once(self) -> sqlite3.Connection:
        database = sqlite3.connect(self.path, timeout=WAIT_SECONDS, check_same_thread=False)
        database.text_factory = lambda data: data.decode("utf-8", "replace")
        try:
            version = database.execute("PRAGMA user_version").fetchone()[0]
            if version > SCHEMA:
                raise _NewerVersion(f"written by a newer version of cmsisnn-x (format {version}); left alone")
            if 0 < version < SCHEMA:
                raise sqlite3.DatabaseError(f"it has format {version}, this version writes {SCHEMA}")
            database.execute("PRAGMA journal_mode=WAL")
            database.execute(_TABLE)
            database.execute(_ASKED)
            database.execute("SELECT key, created, about, content FROM evaluation LIMIT 1")
            database.execute(f"PRAGMA user_version={SCHEMA}")
            database.commit()
        except UnicodeDecodeError as problem:  # what SQLite says quotes what is damaged
            database.close()
            raise sqlite3.DatabaseError(f"its tables are damaged: {problem.reason}") from None
        except BaseException:
            database.close()
            raise
        return database

    def _set_aside(self, problem: Exception) -> None:
        """Rename the file, with SQLite's own beside it, to a name that is free."""
        number = 1
        while (aside := self.path.with_suffix(f".unreadable{'' if number == 1 else f'-{number}'}")).exists():
            number += 1
        self.path.replace(aside)
        for ending in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                Path(f"{self.path}{ending}").replace(f"{aside}{ending}")
        said = one_line(str(problem))  # SQLite quotes what is damaged
        self.message = f"{self.path}: not a record file of this version ({said}); set aside as {aside.name}"

    def _use_memory(self, message: str) -> None:
        self.message = f"{self.path}: {message}"
        self._is_memory = True
        self._database = sqlite3.connect(":memory:", check_same_thread=False)
        self._database.execute(_TABLE)
        self._database.execute(_ASKED)

    def _guarded(self, work: Callable[[], _Result]) -> _Result:
        """`work`, once more on a fresh file where it meets a corrupt one."""
        try:
            return work()
        except sqlite3.OperationalError:
            raise
        except (sqlite3.DatabaseError, UnicodeDecodeError) as problem:
            self._database.close()
            try:
                self._set_aside(problem)  # opening proves nothing: the first page may be whole where another is not
                self._database = self._open()
            except (OSError, sqlite3.Error) as further:
                self._use_memory(f"records cannot be kept: {further}")
            return work()

    # -- a full disk --------------------------------------------------------------------------------------------------

    def _spill_name(self, process: object) -> str:
        where = hashlib.sha256(str(self.path.absolute()).encode()).hexdigest()[:16]
        return f"cmsisnn-x-records-{where}-{process}.jsonl"

    @property
    def spill_path(self) -> Path:
        """Where this process puts evaluations that the disk of the records has no room for."""
        return Path(tempfile.gettempdir()) / self._spill_name(os.getpid())

    def _spill(self, rows: Sequence[tuple[str, str, str, str]], problem: Exception) -> None:
        self._unwritten.update({key: rest for key, *rest in rows})  # type: ignore[misc]
        where = "in memory only"
        try:
            # Nobody else's file, and nothing that a link points to.
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
            with os.fdopen(os.open(self.spill_path, flags, 0o600), "w", encoding="utf-8") as file:
                for key, created, about, content in rows:
                    record = Record(key, created, json.loads(about), json.loads(content))
                    file.write(json.dumps(record.to_dict()) + "\n")
                file.flush()
                os.fsync(file.fileno())
            where = f"in {self.spill_path} until there is room"
        except OSError:
            pass
        self.message = f"{self.path}: cannot be written ({problem}); evaluations are kept {where}"

    def _take_in_spilled(self) -> None:
        """Add what earlier runs could not write; a line that was cut short is left out."""
        for path in sorted(Path(tempfile.gettempdir()).glob(self._spill_name("*"))):
            try:
                if hasattr(os, "getuid") and path.lstat().st_uid != os.getuid():
                    continue
                lines = path.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError):
                continue
            rows = []
            for line in lines:
                with suppress(ValueError, KeyError, TypeError):
                    item = json.loads(line)
                    rows.append((item["key"], item["created"], json.dumps(item["about"]), json.dumps(item["result"])))
            try:
                self._insert(rows)
                path.unlink()
            except (OSError, sqlite3.Error):
                self._unwritten.update({key: (created, about, content) for key, created, about, content in rows})

    # -- the mapping --------------------------------------------------------------------------------------------------

    def get(self, keys: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What is known of `keys`."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, dict[str, Any]] = {}

        def look() -> None:
            for at in range(0, len(wanted), _CHUNK):
                part = wanted[at : at + _CHUNK]
                marks = ",".join("?" * len(part))
                rows = self._database.execute(f"SELECT key, content FROM evaluation WHERE key IN ({marks})", part)
                read = ((key, _object(content)) for key, content in rows)
                found.update((key, content) for key, content in read if content is not None)

        try:
            self._guarded(look)
        except sqlite3.Error as problem:
            self.message = f"{self.path}: cannot be read: {problem}"
        found |= {key: json.loads(self._unwritten[key][2]) for key in wanted if key in self._unwritten}
        return {key: found[key] for key in wanted if key in found}

    def put(
        self, entries: Mapping[str, Mapping[str, Any]], about: Mapping[str, Mapping[str, Any]] | None = None
    ) -> None:
        """Add or replace entries, all or none; they are on the disk when this returns.

        Parameters
        ----------
        entries : mapping
            Key -> result.
        about : mapping, optional
            Key -> what the result is about, see `Record`.
        """
        now = datetime.now(UTC).isoformat(timespec="seconds")
        rows = [
            (key, now, json.dumps((about or {}).get(key, {}), sort_keys=True), json.dumps(content, sort_keys=True))
            for key, content in entries.items()
        ]
        waiting = [(key, *rest) for key, rest in self._unwritten.items()]
        try:
            self._guarded(lambda: self._insert([*waiting, *rows]))
        except sqlite3.Error as problem:
            self._spill(rows, problem)
        else:
            if self._unwritten:
                self._unwritten.clear()
                with suppress(OSError):
                    self.spill_path.unlink()

    def _insert(self, rows: Sequence[tuple[str, str, str, str]]) -> None:
        with self._database:
            self._database.executemany("INSERT OR REPLACE INTO evaluation VALUES (?, ?, ?, ?)", rows)

    def __iter__(self) -> Iterator[Record]:
        """Every record, oldest first; rows that are none, as of a damaged file, are left out."""
        rows = self._database.execute("SELECT key, created, about, content FROM evaluation ORDER BY created, key")
        for key, created, *texts in rows:
            about, content = map(_object, texts)
            if isinstance(key, str) and isinstance(created, str) and about is not None and content is not None:
                yield Record(key, created, about, content)

    def __len__(self) -> int:
        return int(self._database.execute("SELECT COUNT(*) FROM evaluation").fetchone()[0])

    def remove(self, keys: Sequence[str]) -> None:
        """Delete records, and give their space back."""
        with self._database:
            self._database.executemany("DELETE FROM evaluation WHERE key = ?", [(key,) for key in keys])
            self._database.execute("DELETE FROM asked")
        self._database.execute("VACUUM")

    def recall(self, key: str) -> list[int] | None:
        """What a strategy proposed when it knew what `key` digests; see `note`."""
        try:
            row = self._guarded(
                lambda: self._database.execute("SELECT proposals FROM asked WHERE key = ?", (key,)).fetchone()
            )
        except sqlite3.Error:
            return None
        found = _json(row[0]) if row else None
        is_known = isinstance(found, list) and all(type(item) is int for item in found)
        return found if is_known else None

    def note(self, key: str, proposals: Sequence[int]) -> None:
        """Remember proposals: the next run need not learn what this one learned."""
        with suppress(sqlite3.Error), self._database:
            self._database.execute("INSERT OR REPLACE INTO asked VALUES (?, ?)", (key, json.dumps(list(proposals))))

    # -- lines --------------------------------------------------------------------------------------------------------

    def export(self, file: TextIO) -> int:
        """Write every record as a line of JSON that keeps to the published schema ``record-1``; returns how many."""
        count = 0
        for record in self:
            if record.about:
                file.write(json.dumps(record.to_dict()) + "\n")
                count += 1
        return count

    def take_in(self, lines: Iterable[str], name: str) -> tuple[int, int]:
        """Add exported records, all or none; what is known stays.

        Parameters
        ----------
        lines : iterable of str
        name : str
            Of the file, for messages.

        Returns
        -------
        new, known : int

        Raises
        ------
        OptionError
            A line is no record, or its key does not belong to what it says it is about.
        """
        rows = [parse_line(line, f"{name}:{number}") for number, line in enumerate(lines, 1) if line.strip()]
        records = {record.key: record for record in rows}
        known = self.get(records)
        fresh = [record for key, record in records.items() if key not in known]
        try:
            self._insert([(r.key, r.created, json.dumps(r.about), json.dumps(r.content)) for r in fresh])
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            raise OptionError(f"{self.path}: cannot be written: {problem}") from None
        return len(fresh), len(known)

    def close(self) -> None:
        self._database.close()

    def __enter__(self) -> Records:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _NewerVersion(sqlite3.DatabaseError):
    pass


def _json(text: Any) -> Any:
    """What a field of the file says; None for what is no JSON."""
    try:
        return json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return None


def _object(text: Any) -> dict[str, Any] | None:
    found = _json(text)
    return found if isinstance(found, dict) else None
