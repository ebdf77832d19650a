# SPDX-License-Identifier: Apache-2.0
"""Text of strangers on the terminal: it neither commands it nor looks like a line of ours."""

from __future__ import annotations

import io
import re

import pytest
from rich.text import Text

from tuning.base import console as terminal

COMMANDS = [
    "\x1b[31mred",
    "\x9b2J",
    "\x1b]0;title\x07",
    "a\u202eb",
    "a\rb",
    "[bold]x[/bold]",
    "[link=x:y]z[/link]",
    "[/]",
]


@pytest.mark.parametrize("text", COMMANDS, ids=ascii)
def test_no_text_commands_the_terminal(text: str) -> None:
    out, stream = terminal.console(), io.StringIO()
    out.file = stream
    table = terminal.make_table("a", "b")
    table.add_row(text, f"{text}\nforged")
    table.add_row(Text(text), "x")
    table.caption = text
    out.print(text)
    out.print(Text(text))
    out.print(table)
    status = out.status(text)
    out.print(status.renderable)
    status.update(text)
    out.print(status.renderable)
    written = stream.getvalue()
    assert all(c == "\n" or c.isprintable() for c in written), repr(written)
    assert not re.search("^ *forged", written, re.MULTILINE)
    if text.isprintable():
        assert written.count(text) == 8
