# SPDX-License-Identifier: Apache-2.0
"""The terminal as all commands use it: tables that never cut a number but leave out what they can spare, and names that
cannot command it.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.segment import Segment
from rich.status import Status
from rich.table import Table
from rich.text import Text

from .units import printable

PLAIN_WIDTH = 200  # columns where the output is no terminal: nothing is cut


class _Terminal(Console):
    """A console that never cuts a number: a table that does not fit is printed wider, and the terminal wraps it.
    Names from files cannot command the terminal: not as text, in a cell or a status line, nor as a `Text`; and no
    bracket in them is markup.
    """

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)

    def render(self, renderable: Any, options: Any = None) -> Iterator[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)

    def status(self, status: Any, **options: Any) -> Status:
        return _Status(_plain(status), console=self, **options)

    def print(self, *objects: Any, **options: Any) -> None:
        objects = tuple(item.within(self.width) if isinstance(item, _Table) else item for item in objects)
        needed = max((least_width(item) for item in objects if isinstance(item, Table)), default=0)
        if needed <= self.width:
            super().print(*objects, **options)
            return
        before, self._width = self._width, needed
        try:
            super().print(*objects, **options)
        finally:
            self._width = before


class _Status(Status):
    """A status line that takes text for text, where rich takes it for markup."""

    def update(self, status: Any = None, **options: Any) -> None:
        super().update(None if status is None else _plain(status), **options)


def _plain(text: Any) -> Any:
    return Text(printable(text)) if isinstance(text, str) else text


def least_width(table: Table) -> int:
    """Columns of text that a table takes if its words may wrap; numbers, and what it can spare, may not."""
    needed = 0
    spare = table.spare if isinstance(table, _Table) else ()
    for column in table.columns:
        texts = [str(column.header), *map(str, column.cells)]
        is_whole = column.no_wrap or column.header in spare
        pieces = texts if is_whole else [word for text in texts for word in text.split()]
        needed += max(map(len, pieces), default=0)
    return needed + 3 * len(table.columns) - 1


def console(no_color: bool = False, stderr: bool = False) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else PLAIN_WIDTH
    return _Terminal(
        stderr=stderr, no_color=no_color, highlight=False, width=width, soft_wrap=False, markup=False, emoji=False
    )


def as_text(show: Callable[[Console], None]) -> str:
    """What `show` prints, without colours."""
    out = console(no_color=True)
    with out.capture() as captured:
        show(out)
    return captured.get().rstrip()


@contextmanager
def working(what: str, *, no_color: bool = False) -> Iterator[None]:
    """Say on a terminal's stderr that something takes a while; elsewhere nothing."""
    out = console(no_color, stderr=True)
    if not out.is_terminal:
        yield
        return
    with out.status(what):
        yield


class _Table(Table):
    """A table in which no text begins a line of its own, and which can do without some columns."""

    def __init__(self, names: Sequence[str], right: Collection[str], spare: Sequence[str]) -> None:
        super().__init__(box=SIMPLE_HEAD, pad_edge=False, header_style="bold")
        self.names, self.right, self.spare = tuple(names), right, tuple(spare)
        self.lines: list[tuple[tuple[Any, ...], dict[str, Any]] | None] = []
        """Rows, None between sections."""
        for name in names:
            self.add_column(
                name,
                justify="right" if name in right else "left",
                no_wrap=name in right or name == names[0],
                overflow="fold",
            )

    def add_row(self, *cells: Any, **options: Any) -> None:
        cells = tuple(" ".join(cell.splitlines()) if isinstance(cell, str) else cell for cell in cells)
        super().add_row(*cells, **options)
        self.lines.append((cells, options))

    def add_section(self) -> None:
        super().add_section()
        self.lines.append(None)

    def within(self, width: int) -> _Table:
        """The table without as many of its spare columns as do not fit."""
        if not self.spare or least_width(self) <= width:
            return self
        gone, *spare = self.spare
        at = self.names.index(gone)
        narrower = _Table([name for name in self.names if name != gone], self.right, spare)
        for line in self.lines:
            if line is None:
                narrower.add_section()
            else:
                narrower.add_row(*line[0][:at], *line[0][at + 1 :], **line[1])
        return narrower.within(width)


def make_table(*columns: str, right: tuple[str, ...] = (), spare: Sequence[str] = ()) -> Table:
    """A table whose columns in `right` are numbers; where it is too wide, those in `spare` go, the first one first."""
    return _Table(columns, right, spare)
