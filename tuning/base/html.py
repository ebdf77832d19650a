# SPDX-License-Identifier: Apache-2.0
"""HTML without a template: the compact tables that notebooks show. Colours are the notebook's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str, left: int = 1, foot: bool = False) -> str:
    """An HTML table; the first `left` columns are text, the others numbers, and the last row may be a sum."""

    def cells(tag: str, row: Sequence[str]) -> str:
        sides = ["left" if at < left else "right" for at in range(len(row))]
        return "".join(
            f'<{tag} style="text-align: {side}">{escape(text)}</{tag}>'
            for side, text in zip(sides, row, strict=True)
        )  # fmt: skip

    body = [f"<tr>{cells('td', row)}</tr>" for row in rows]
    last = f"<tfoot>{body.pop()}</tfoot>" if foot and body else ""
    return (
        f'<div style="overflow-x: auto"><table><caption style="text-align: left; caption-side: top">{escape(caption)}'
        f"</caption><thead><tr>{cells('th', head)}</tr></thead><tbody>{''.join(body)}</tbody>{last}</table></div>"
    )
