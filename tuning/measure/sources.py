# SPDX-License-Identifier: Apache-2.0
"""Digests of our own sources: what a figure depends on is what the module that makes it imports, directly or not."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Iterator
from importlib.util import find_spec, resolve_name
from pathlib import Path

PACKAGES = ("cmsisnn_x", "tuning")


def digest_of(roots: Iterable[str], others: Iterable[Path] = ()) -> str:
    """SHA-256 over the sources of the modules `roots` and of all modules of ours that they import, and over `others`.

    A change of any of them gives another digest; a module that is moved or renamed gives the same.
    """
    digest = hashlib.sha256()
    texts = sorted(path.read_bytes() for path in {*sources_of(roots), *others})
    for text in texts:
        digest.update(len(text).to_bytes(8, "little") + text)
    return digest.hexdigest()


def sources_of(roots: Iterable[str]) -> set[Path]:
    """Files of the modules `roots` and of those that they import at any depth; imports inside functions count, those
    for type checkers alone do not. A compiled module is its ``.pyx``, where that is installed. A package by itself is
    its ``__init__`` alone: what it gathers counts where it is imported by name.
    """
    found: dict[str, Path] = {}
    todo = list(roots)
    while todo:
        name = todo.pop()
        if name in found or name.partition(".")[0] not in PACKAGES or (path := _file(name)) is None:
            continue
        found[name] = path
        if path.suffix == ".py" and name not in PACKAGES:
            package = name if path.name == "__init__.py" else name.rpartition(".")[0]
            todo += _imported(ast.parse(path.read_text(encoding="utf-8")), package)
    return set(found.values())


def _file(name: str) -> Path | None:
    try:
        spec = find_spec(name)
    except ModuleNotFoundError:  # a name inside a module, not a module
        return None
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin)
    if path.suffix == ".py":
        return path
    parent = find_spec(name.rpartition(".")[0])
    if parent is None or parent.origin is None:
        return None
    source = Path(parent.origin).with_name(f"{name.rpartition('.')[2]}.pyx")
    return source if source.is_file() else None


def _imported(tree: ast.AST, package: str) -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), package) if node.level else str(node.module)
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)
        yield from _imported(node, package)
