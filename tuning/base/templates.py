# SPDX-License-Identifier: Apache-2.0
"""Templates of text, compiled once: Jinja takes a quarter of a second for those of a firmware folder.

What it makes of one is kept where Python keeps what it makes of a module, by the same rules, and is used while source,
Jinja and Python are the same.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib.util import cache_from_source
from pathlib import Path

import jinja2
from jinja2.bccache import Bucket

from .files import write_atomically


class _Compiled(jinja2.BytecodeCache):
    """Files named as those of modules, beside them."""

    def get_cache_key(self, name: str, filename: str | None = None) -> str:
        return cache_from_source(f"{filename or name}.py")

    def load_bytecode(self, bucket: Bucket) -> None:
        with suppress(OSError):
            bucket.bytecode_from_string(Path(bucket.key).read_bytes())

    def dump_bytecode(self, bucket: Bucket) -> None:
        path = Path(bucket.key)
        with suppress(OSError):  # as of modules: an installation may be read-only, a disk full
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, bucket.bytecode_to_string())


def environment(folder: Path, *, escapes: bool = False) -> jinja2.Environment:
    """The templates of a folder; those that are no HTML escape nothing."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=escapes,
        bytecode_cache=None if sys.dont_write_bytecode else _Compiled(),
    )
