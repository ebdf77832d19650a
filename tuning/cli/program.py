# SPDX-License-Identifier: Apache-2.0
"""What the package's programs have in common: how they end, and ``--version``."""

from __future__ import annotations

import errno
import signal
import sys
import tempfile
from collections.abc import Callable
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from typing import Any, NoReturn, TypeVar, get_type_hints

import typer
from typer.core import TyperCommand

from cmsisnn_x.errors import CmsisnnError

from ..base.errors import OptionError, TuningError
from ..base.units import printable

Options = TypeVar("Options")
ONE_OF = " is not one of "


class Command(TyperCommand):
    """A command that refuses values as everything else here does, and whose ``--help`` shows none beside flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except typer.BadParameter as problem:
            raise OptionError(_refusal(problem)) from None

    def get_params(self, ctx: Any) -> Any:
        parameters = super().get_params(ctx)
        for parameter in parameters:
            if getattr(parameter, "is_flag", False) and parameter.metavar is None:
                parameter.metavar = ""
        return parameters


def _refusal(problem: typer.BadParameter) -> str:
    """What an option takes and what it got: typer shows what its validator says, which may leave out both."""
    from pydantic import ValidationError

    name = max(problem.param.opts, key=len) if problem.param is not None else "options"
    if not isinstance(problem.__cause__, ValidationError):
        return f"{name}: {problem.message}"
    found = problem.__cause__.errors()[0]
    said = found["msg"].removeprefix("Value error, ").removeprefix("Input should be ").rstrip(".")
    said = f"a number {said}" if said.startswith(("greater", "less")) else said
    expected = f"one of {said.partition(ONE_OF)[2]}" if ONE_OF in said else said.partition(",")[0]
    return f"{name}: expected {expected}, got {found['input']!r}"


def takes(options: type[Options]) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """A command whose arguments and options are the fields of a dataclass, which typer reads as it reads parameters."""
    hints = get_type_hints(options, include_extras=True)
    parameters = [
        Parameter(
            item.name,
            Parameter.KEYWORD_ONLY,
            default=Parameter.empty if item.default is MISSING else item.default,
            annotation=hints[item.name],
        )
        for item in fields(options)  # type: ignore[arg-type]
    ]

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        def command(**given: Any) -> None:
            function(options(**given))

        command.__name__, command.__doc__ = function.__name__, function.__doc__
        command.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        return command

    return decorate


class _Killed(BaseException):
    """A signal that ends programs: temporary files are removed on the way out, as after Ctrl-C."""


def run(app: typer.Typer, name: str) -> None:
    """Run a program: user errors end as one message and status 1 or 2, signals as one line and 128 + their number."""
    for end in (signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)):
        if signal.getsignal(end) is signal.SIG_DFL:
            signal.signal(end, _end)
    try:
        app(prog_name=name)
    except SystemExit as problem:
        if problem.code == 128 + signal.SIGINT:  # what typer makes of Ctrl-C
            print("interrupted", file=sys.stderr)
        raise
    except _Killed as problem:
        number: int = problem.args[0]
        print(f"ended by {signal.Signals(number).name}", file=sys.stderr)
        raise SystemExit(128 + number) from None
    except TuningError as problem:
        _fail(str(problem), problem.exit_status)
    except CmsisnnError as problem:  # what a kernel refuses and the tuner let pass
        _fail(str(problem), 2)
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT) and not problem.filename:
            where = f"in {tempfile.gettempdir()} or where the output goes"
            _fail(f"{problem.strerror}, {where}: free some, or set TMPDIR to another folder", 2)
        where = f"{problem.filename}: " if problem.filename else ""
        _fail(f"{where}{problem.strerror or problem}", 2)
    except MemoryError:
        _fail("out of memory: the network, or the file, is too large for this machine", 2)


def _end(number: int, _: object) -> None:
    signal.signal(number, signal.SIG_IGN)  # once is enough
    raise _Killed(number)


def _fail(text: str, status: int) -> NoReturn:
    print(f"error: {printable(text)}", file=sys.stderr)
    raise SystemExit(status)


def show_version(name: str) -> Callable[[bool], None]:
    """The callback of a program's ``--version``."""

    def show(value: bool) -> None:
        if value:
            from cmsisnn_x import __version__

            print(f"{name} {__version__}")
            raise typer.Exit

    return show
