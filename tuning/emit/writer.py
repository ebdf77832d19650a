# SPDX-License-Identifier: Apache-2.0
"""The one place of emission that touches the disk."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from tuning.files import write_atomically

STALE_SECONDS = 60
"""Age from which a temporary file belongs to a run that was killed; writing one takes milliseconds."""


def write_files(files: Mapping[str, str], directory: str | os.PathLike[str]) -> list[Path]:
    """Write each file by atomic rename, in the order of `files`; every other file of the directory is left alone.

    Parameters
    ----------
    files : mapping of str to str
        Path relative to `directory`, with forward slashes -> text.
    directory : path
        Made if it does not exist.

    Returns
    -------
    list of pathlib.Path
        What was written.
    """
    root = Path(directory)
    written = []
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path)
        write_atomically(path, text)
        written.append(path)
    return written


def _remove_stale(path: Path) -> None:
    for leftover in path.parent.glob(f".{path.name}.*.partial"):
        if time.time() - leftover.stat().st_mtime > STALE_SECONDS:
            leftover.unlink(missing_ok=True)
