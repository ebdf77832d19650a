# SPDX-License-Identifier: Apache-2.0
"""What can be asked about a call of one of Arm's functions without making it."""

from __future__ import annotations

import difflib
import inspect
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Literal

from ..errors import CmsisnnError
from ._prototypes import PROTOTYPES, SCRATCH, Profile
from ._rules import C_RANGES, RULES, Rule

Kind = Literal["mismatch", "unsafe", "wrong", "fault", "note"]


@dataclass(frozen=True)
class Finding:
    """What a call does that its caller may not expect.

    Attributes
    ----------
    kind : str
        ``"mismatch"``: returns ``ARM_MATH_SIZE_MISMATCH`` (-3) and does nothing. ``"unsafe"``: reads or writes outside
        its arrays, or does not return. ``"wrong"``: returns success, and other values than the layer means.
        ``"fault"``: may end in a HardFault, depending on the compiler. ``"note"``: right, with a condition.
    text : str
        The rule, with the values of the call.
    """

    kind: Kind
    text: str


def check(function: str, *, profile: Profile = "dsp", **numbers: int) -> tuple[Finding, ...]:
    """What a call of one of Arm's 5.4.0 functions would do that its caller may not expect, without making it.

    Parameters
    ----------
    function : str
        Arm's name: ``"arm_convolve_HWC_q7_fast"``.
    profile : {"dsp", "scalar"}
        The code that runs: ``"dsp"`` on Cortex-M4, M7, M33 with the DSP extension; ``"scalar"`` on Cortex-M0 and M3.
    **numbers : int
        Every scalar argument by Arm's name.

    Returns
    -------
    tuple of Finding
        Empty where the call is right without conditions. Where the function returns a mismatch, that alone.

    Raises
    ------
    ValueError
        No such function, an argument that it does not have, or one that is missing.

    Examples
    --------
    >>> check("arm_relu_q7", size=65536)
    (Finding(kind='wrong', text='size 65536 does not fit uint16_t: the function sees 0'),)
    """
    if function not in RULES:
        close = difflib.get_close_matches(str(function), RULES, n=1)
        hint = f"; did you mean {close[0]}?" if close else ""
        raise CmsisnnError(f"function: expected one of the {len(RULES)} of CMSIS-NN 5.4.0, got {function!r}{hint}")
    if profile not in ("dsp", "scalar"):
        raise CmsisnnError(f"{function}: profile: expected 'dsp' or 'scalar', got {profile!r}")
    expected = scalar_names(function)
    for name in numbers:
        if name not in expected:
            raise CmsisnnError(f"{function}: no argument is called {name!r}; expected {', '.join(expected)}")
    if missing := [name for name in expected if name not in numbers]:
        raise CmsisnnError(f"{function}: {missing[0]}: missing; expected {', '.join(expected)}")
    if beyond := [text for name, value in numbers.items() if (text := _beyond(name, value))]:
        return tuple(Finding("wrong", text) for text in beyond)

    rules, dsp = RULES[function], profile == "dsp"
    if text := rules.mismatch(numbers):
        return (Finding("mismatch", text),)
    found: list[Finding] = []

    def ask(kind: Kind, *asked: Rule) -> None:
        found.extend(Finding(kind, text) for rule in asked if (text := rule(numbers)))

    ask("unsafe", rules.endless, *((rules.unsafe,) if dsp else ()))
    if not found:
        ask("wrong", *rules.wrong, *(rules.wrong_dsp if dsp else rules.wrong_scalar))
        ask("fault", *(rules.faults if dsp else ()))
    found += [Finding("note", text) for text in (*rules.notes, *(rules.notes_dsp if dsp else ()))]
    return tuple(found)


def scratch_bytes(function: str, *, profile: Profile = "dsp", **numbers: int) -> int:
    """Bytes that a call uses of its scratch argument (`bufferA` or `vec_buffer`); Arm's headers give elements without
    their size, or nothing.

    Parameters
    ----------
    function : str
        Arm's name.
    profile : {"dsp", "scalar"}
        The code that runs, as in :func:`check`.
    **numbers : int
        Every scalar argument by Arm's name.

    Returns
    -------
    int
        0 where the buffer is never touched: everywhere under ``"scalar"``, and `bufferB` always.

    Raises
    ------
    ValueError
        As :func:`check`.

    Examples
    --------
    >>> scratch_bytes("arm_fully_connected_q7", dim_vec=1024, num_of_rows=10, bias_shift=0, out_shift=7)
    2048
    """
    check(function, profile=profile, **numbers)
    return RULES[function].scratch(numbers) if profile == "dsp" else 0


def _beyond(name: str, value: int) -> str | None:
    low, high, c_type = C_RANGES.get(name, (0, 65535, "uint16_t"))
    if low <= value <= high:
        return None
    return f"{name} {value} does not fit {c_type}: the function sees {value % (high - low + 1)}"


@cache
def argument_names(function: str) -> tuple[str, ...]:
    """Arm's names of all arguments of a function.

    Parameters
    ----------
    function : str
        Arm's name: ``"arm_relu_q7"``.

    Returns
    -------
    tuple of str
        In Arm's order, arrays included.

    Examples
    --------
    >>> argument_names("arm_relu_q7")
    ('data', 'size')
    """
    signature = inspect.signature(getattr(import_module(__package__), function))
    return tuple(name for name in signature.parameters if name != "profile")


def scalar_names(function: str) -> tuple[str, ...]:
    """Arm's names of the arguments of a function that are numbers: what :func:`check` takes.

    Parameters
    ----------
    function : str
        Arm's name: ``"arm_relu_q7"``.

    Returns
    -------
    tuple of str
        In Arm's order.
    """
    return tuple(name for name in argument_names(function) if name not in (*PROTOTYPES[function], *SCRATCH))
