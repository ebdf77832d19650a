# SPDX-License-Identifier: Apache-2.0
"""Reading files that may be anything, and writing files that are whole or not there."""

from __future__ import annotations

import errno
import io
import json
import os
import secrets
import signal
import stat
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors import OptionError

if TYPE_CHECKING:
    import numpy as np

LARGEST_BYTES = 1 << 26
"""Above any plan or table of results, far below what hurts."""
OWN_MARKS = (
    b"enerated by cmsisnn-x", b"cmsisnn-quantize", b"fitted: cycles of",
    *(b'"schema": "%s-' % name for name in (b"plan", b"coefficients", b"fetch", b"record")),
)  # fmt: skip
"""One of these stands in every file of this project's commands that can say where it comes from."""


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether the path is a pipe or a socket, whose other end reading would wait for."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode)


def check_own(path: Path) -> None:
    """Refuse a file of a folder that is a link to one elsewhere.

    Raises
    ------
    OptionError
        It names both.
    """
    if path.is_file() and not path.resolve().is_relative_to(path.parent.resolve()):
        raise OptionError(f"{path}: expected a file of the folder, got a link to {path.resolve()}")


def read_bytes(path: str | os.PathLike[str], largest: int = LARGEST_BYTES) -> bytes:
    """The content of a file.

    Raises
    ------
    OSError
        It cannot be read, or has more than `largest` bytes, which are then not read: devices never end.
    """
    with open(path, "rb") as stream:
        content = stream.read(largest + 1)
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"larger than {largest} bytes", os.fspath(path))
    return content


def read_json(path: str | os.PathLike[str], largest: int = LARGEST_BYTES) -> Any:
    """The content of a JSON file.

    Raises
    ------
    OSError
        As `read_bytes`.
    ValueError
        Not JSON in UTF-8, nested too deep, or with numbers of thousands of digits.
    """
    try:
        return json.loads(read_bytes(path, largest).decode("utf-8"))
    except RecursionError:
        raise ValueError("nested too deep") from None


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write `content` so that readers, and a crash, see the old file or the new one, never a part."""
    partial = write_beside(path, content)
    try:
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def is_own(path: Path, marks: Iterable[bytes] = OWN_MARKS) -> bool:
    """Whether the file says that a command of this project wrote it."""
    with path.open("rb") as stream:
        content = stream.read(LARGEST_BYTES)
    return any(mark in content for mark in marks)


def is_of_others(path: Path) -> bool:
    """Whether replacing the file would lose what somebody else wrote."""
    return path.is_file() and path.stat().st_size > 0 and not is_own(path)


def check_replaced(option: str, others: Iterable[Path]) -> None:
    """Refuse to replace files that somebody else wrote.

    Raises
    ------
    OptionError
        There are some; it names them.
    """
    names = [str(path) for path in others]
    if names:
        shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        verb = "is" if len(names) == 1 else "are"
        raise OptionError(
            f"{option}: {shown} {verb} not of this tool and would be replaced; choose another place, or replace with "
            "--force"
        )


def npz_bytes(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The content of an ``.npz`` file."""
    import numpy as np

    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]
    return stream.getvalue()


def write_beside(path: Path, content: str | bytes) -> Path:
    """Write `content` to a new file beside `path`, to be renamed to it; a failed write leaves nothing."""
    partial = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.partial")
    try:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return partial


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among the processes that lock `folder`, where the system can lock folders (Linux, macOS)."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        # A file system without locks (some network ones) is no reason to write nothing.
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Ctrl-C and other signals that ask to end take effect afterwards. Only for what takes no time."""
    if threading.current_thread() is not threading.main_thread():
        yield  # the main thread is told of signals, and ends by itself
        return
    heard: list[int] = []
    numbers = {signal.SIGINT, signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)}
    before = {
        n: signal.signal(n, lambda number, _: heard.append(number)) for n in numbers if signal.getsignal(n) is not None
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for number in heard[:1]:
            signal.raise_signal(number)
