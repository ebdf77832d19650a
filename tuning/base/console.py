# SPDX-License-Identifier: Apache-2.0
"""The terminal as all commands use it: tables that never cut a number, and names that cannot command it."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from .units import printable

PLAIN_WIDTH = 200  # columns where the output is no terminal: nothing is cut


class _Terminal(Console):
    """A console that never cuts a number: a table that does not fit is printed wider, and the terminal wraps it.
    Names from files cannot command the terminal.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def print(self, *objects: Any, **options: Any) -> None:
        needed = max((least_width(item) for item in objects if isinstance(item, Table)), default=0)
        if needed <= self.width:
            super().print(*objects, **options)
            return
        before, self._width = self._width, needed
        try:
            super().print(*objects, **options)
        finally:
            self._width = before


def least_width(table: Table) -> int:
    """Columns of text that a table of `make_table` takes if its words may wrap and its numbers may not."""
    needed = 0
    for column in table.columns:
        texts = [str(column.header), *map(str, column.cells)]
        pieces = texts if column.no_wrap else [word for text in texts for word in text.split()]
        needed += max(map(len, pieces), default=0)
    return needed + 3 * len(table.columns) - 1


def console(no_color: bool = False, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Terminal(
        stderr=stderr, no_color=no_color, highlight=False, width=width, soft_wrap=False, markup=False, emoji=False
    )


@contextmanager
def working(what: str, *, no_color: bool = False) -> Iterator[None]:
    """Say on a terminal's stderr that something takes a while; elsewhere nothing."""
    out = console(no_color, stderr=True)
    if not out.is_terminal:
        yield
        return
    with out.status(what):
        yield


def make_table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(
            name,
            justify="right" if name in right else "left",
            no_wrap=name in right or name == columns[0],
            overflow="fold",
        )
    return table
