# SPDX-License-Identifier: Apache-2.0
"""The one place of emission that touches the disk."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tuning.base.errors import OptionError
from tuning.base.files import OWN_MARKS, is_own, locked, uninterrupted, write_beside

STALE_SECONDS = 60
"""Age from which a temporary file belongs to a run that was killed; writing one takes milliseconds."""

KERNELS = "cmsisnn_x/"
"""The folder of the kernels' headers, which have the prefix of their macros as mark."""


def files_of_others(files: Mapping[str, str | bytes], directory: str | os.PathLike[str]) -> list[Path]:
    """Those of `files` whose places in `directory` hold something that no run into it wrote.

    A ``plan.json`` makes a folder this tool's: running again into it is never refused.
    """
    root = Path(directory)
    if (root / "plan.json").is_file() and is_own(root / "plan.json"):
        return []
    return [root / name for name, content in files.items() if not _is_ours(root / name, name, content)]


def _is_ours(path: Path, name: str, content: str | bytes) -> bool:
    if not path.is_file():  # nothing there, or what the writing itself refuses
        return True
    marks = (b"CXN_",) if name.startswith(KERNELS) else OWN_MARKS
    return is_own(path, marks) or path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def write_files(files: Mapping[str, str | bytes], directory: str | os.PathLike[str]) -> list[Path]:
    """Write each file by atomic rename, in the order of `files`; every other file of the directory is left alone.

    All are written beside their places first: a full disk leaves the directory as it was. The renames, well under a
    millisecond each, come at the end without a pause; those of two runs into one directory do not mix, and signals
    wait for the last one. Only ``kill -9`` or a power cut between two of them leaves new files beside old ones, each
    whole, until the next run into the directory. Exchanging whole directories would not leave that gap, but it takes
    what others put there, or are at work on (a build, a shell), away from them while it copies, and cannot be done
    where the directory is a mount point.

    Parameters
    ----------
    files : mapping of str to str or bytes
        Path relative to `directory`, with forward slashes -> content.
    directory : path
        Made if it does not exist.

    Returns
    -------
    list of pathlib.Path
        What was written.

    Raises
    ------
    OptionError
        A folder in it is a link that leads out of it: nothing was written.
    """
    root = Path(directory)
    made: list[Path] = []
    partials: dict[Path, Path] = {}
    try:
        for name, content in files.items():
            path = root / name
            _make_folder(path.parent, made)
            if not path.parent.resolve().is_relative_to(root.resolve()):
                raise OptionError(f"{path.parent}: expected a folder of {root}, got a link to {path.parent.resolve()}")
            _remove_stale(path)
            partials[path] = write_beside(path, content)
        for path in partials:
            if path.is_dir():  # found now, not after half of the renames
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        with locked(root), uninterrupted():
            for path, partial in partials.items():
                partial.replace(path)
    except BaseException:
        for partial in partials.values():
            partial.unlink(missing_ok=True)
        for folder in reversed(made):
            with suppress(OSError):  # not empty: something was put there
                folder.rmdir()
        raise
    return list(partials)


def _make_folder(folder: Path, made: list[Path]) -> None:
    """As ``mkdir -p``; what had to be made is added to `made`, parents first."""
    if folder.is_dir():
        return
    if folder.parent != folder:
        _make_folder(folder.parent, made)
    try:
        folder.mkdir()
    except FileExistsError:
        if not folder.is_dir():
            raise
    else:
        made.append(folder)


def _remove_stale(path: Path) -> None:
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        with suppress(OSError):  # another run was faster, or it is not ours
            if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
                leftover.unlink()
