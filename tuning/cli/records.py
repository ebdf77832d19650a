# SPDX-License-Identifier: Apache-2.0
"""``cmsisnn-tune records``: what was emulated before, and what to do with it."""

from __future__ import annotations

import io
import sqlite3
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..base.errors import OptionError
from .program import Command

if TYPE_CHECKING:
    from ..measure.record import Record
    from ..measure.records import Records

LARGEST_EXPORT = 1 << 28
"""Bytes; an evaluation takes about a thousand."""
app = typer.Typer(
    help="List, export, import and prune what --score emulate and calibrate remember.", no_args_is_help=True
)
Where = Annotated[
    str | None,
    typer.Option("--records", metavar="FILE", help="Record file. Default: the one in the user's cache directory."),
]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour, whatever the terminal can do.")]


@contextmanager
def _opened(path: str | None) -> Iterator[Records]:
    """The records, their message on stderr; a file that is not there is not made."""
    from ..measure.records import Records, default_path

    where = Path(path) if path else default_path()
    if not where.is_file():
        raise OptionError(f"{where}: no such record file; --score emulate makes one")
    with closing(Records(where)) as records:
        if records.message:
            print(records.message, file=sys.stderr)
        try:
            yield records
        except (sqlite3.Error, UnicodeDecodeError) as problem:
            raise OptionError(f"{where}: a damaged record file: {problem}; move it away to begin a new one") from None


def _is_stale(record: Record) -> bool:
    """Whether kernels or tools have changed since: such a record is never found again."""
    from cmsisnn_x.op import MODEL_OPS

    from ..measure.bench import kernel_digest, tools_digest
    from ..measure.firmware import firmware_digest
    from ..measure.record import about_problem

    about = record.about
    if not about or about_problem(about):
        return True
    if about["op"] == "network":
        kernels = about["layer"].get("kernels", ())
        return about.get("kernels") != firmware_digest(kernels) or about.get("tools") != tools_digest()
    pool = about["layer"].get("pool")
    if pool and pool["op"] not in MODEL_OPS:
        return True
    kernel = about["op"] + (f"_{MODEL_OPS[pool['op']].name}" if pool else "")
    return about.get("kernels") != kernel_digest(kernel) or about.get("tools") != tools_digest()


@app.command("list", cls=Command)
def list_records(
    records: Where = None,
    failures: Annotated[bool, typer.Option("--failures", help="List every evaluation that failed, and why.")] = False,
    no_color: NoColor = False,
) -> None:
    """Count evaluations by core, operation and compiler; those whose kernels have changed since are stale."""
    from ..base.console import console, make_table

    out = console(no_color)
    with _opened(records) as store:
        found = list(store)
        path = store.path
    if failures:
        table = make_table("key", "core", "op", "variant", "failure", "problem")
        failed = [item for item in found if item.content.get("failure")]
        for item in failed:
            table.add_row(
                item.key[:12], str(item.about.get("core", "-")), str(item.about.get("op", "-")),
                _knobs(item.about.get("variant")),
                str(item.content["failure"]), str(item.content.get("problem")),
            )  # fmt: skip
        out.print(table)
        out.print(f"{len(failed):,} of {len(found):,} evaluations in {path} failed")
        return
    groups: dict[tuple[str, ...], Counter[str]] = {}
    latest: dict[tuple[str, ...], str] = {}
    for item in found:
        key = tuple(str(item.about.get(name, "-")) for name in ("core", "op", "compiler"))
        counts = groups.setdefault(key, Counter())
        counts["evaluations"] += 1
        counts["failed"] += bool(item.content.get("failure"))
        counts["stale"] += _is_stale(item)
        latest[key] = max(latest.get(key, ""), item.created)
    numbers = ("evaluations", "failed", "stale")
    table = make_table("core", "op", "compiler", *numbers, "latest", right=numbers, spare=["latest", "failed"])
    for key in sorted(groups):
        table.add_row(*key, *(f"{groups[key][name]:,}" for name in numbers), latest[key][:10])
    out.print(table)
    out.print(f"{len(found):,} evaluations, {path.stat().st_size / 1024:,.0f} KiB, in {path}")


def _knobs(variant: dict[str, Any] | None) -> str:
    from cmsisnn_x import Variant

    try:
        return str(Variant(**variant)) if variant else "-"
    except (TypeError, ValueError):
        return str(variant)


@app.command("export", cls=Command)
def export_records(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines to write; - is stdout.", show_default=False)],
    records: Where = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that others wrote, too.")] = False,
) -> None:
    """Write every evaluation as a line of JSON (schema record-1), for another machine or another program."""
    from ..base.files import check_replaced, is_of_others

    if file != "-" and not force:
        check_replaced("FILE", filter(is_of_others, [Path(file)]))
    with _opened(records) as store:
        if file == "-":
            store.export(sys.stdout)
            return
        text = io.StringIO()
        count = store.export(text)
    with open(file, "w", encoding="utf-8", newline="\n") as stream:
        stream.write(text.getvalue())
    print(f"{count:,} evaluations written to {file}")


@app.command("import", cls=Command)
def import_records(
    file: Annotated[str, typer.Argument(metavar="FILE", help="JSON lines to read; - is stdin.", show_default=False)],
    records: Where = None,
) -> None:
    """Add exported evaluations, all or none; what is known stays."""
    from ..base.files import read_bytes
    from ..measure.records import Records

    try:
        lines = sys.stdin.readlines() if file == "-" else read_bytes(file, LARGEST_EXPORT).decode("utf-8").splitlines()
    except FileNotFoundError:
        raise OptionError(f"{file}: no such file") from None
    except UnicodeDecodeError as problem:
        raise OptionError(f"{file}: expected JSON lines in UTF-8, got another file ({problem})") from None
    with closing(Records(records)) as store:
        if store.message:
            print(store.message, file=sys.stderr)
        fresh, known = store.take_in(lines, "stdin" if file == "-" else file)
        print(f"{fresh:,} evaluations added to {store.path}, {known:,} were known")


@app.command("prune", cls=Command)
def prune_records(
    records: Where = None,
    failures: Annotated[bool, typer.Option("--failures", help="Also those that failed.")] = False,
    older_than: Annotated[
        int | None, typer.Option(min=0, metavar="DAYS", help="Also those made longer ago.", show_default=False)
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="All of them.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say how many.")] = False,
) -> None:
    """Delete evaluations that no run can find again, because kernels or tools have changed since."""
    from datetime import UTC, datetime, timedelta

    with _opened(records) as store:
        found = list(store)
        limit = "" if older_than is None else (datetime.now(UTC) - timedelta(days=older_than)).isoformat()
        gone = [
            item.key
            for item in found
            if everything
            or _is_stale(item)
            or (failures and item.content.get("failure"))
            or (older_than is not None and item.created <= limit)
        ]
        if not dry_run and gone:
            store.remove(gone)
        verb = "would be deleted" if dry_run else "deleted"
        print(f"{len(gone):,} of {len(found):,} evaluations {verb}, {len(found) - len(gone):,} stay in {store.path}")
