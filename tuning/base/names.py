# SPDX-License-Identifier: Apache-2.0
"""Which names a model and its layers may have: they become C identifiers, macros and file names."""

from __future__ import annotations

import re

LONGEST = 63
RESERVED_LAYERS = ("run", "config", "weights")
KEYWORDS = frozenset(
    # C99 to C23, then what C++ adds up to C++23.
    """auto break case char const continue default do double else enum extern float for goto if inline int long register
    restrict return short signed sizeof static struct switch typedef typeof typeof_unqual union unsigned void volatile
    while

    alignas alignof and and_eq asm bitand bitor bool catch char8_t char16_t char32_t class co_await co_return co_yield
    compl concept const_cast consteval constexpr constinit decltype delete dynamic_cast explicit export false friend
    mutable namespace new noexcept not not_eq nullptr operator or or_eq private protected public reinterpret_cast
    requires static_assert static_cast template this thread_local throw true try typeid typename using virtual wchar_t
    xor xor_eq""".split()  # noqa: SIM905
)
STANDARD_HEADERS = frozenset(
    """alloca arm_acle arm_mve arm_neon assert complex ctype errno fenv float inttypes iso646 limits locale malloc math
    memory setjmp signal stdalign stdarg stdatomic stdbool stddef stdint stdio stdlib stdnoreturn string strings tgmath
    threads time uchar unistd wchar wctype""".split()  # noqa: SIM905
)
"""Stems of header names that ``<model>.h`` must not take."""
DEVICES = frozenset(["con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))])
"""Stems of file names that Windows keeps to itself."""


def name_problem(name: object) -> str | None:
    """What is wrong with `name` as part of a C identifier; ``None`` if nothing is.

    >>> name_problem("class")
    "expected a C identifier: 'class' is a C or C++ keyword; try 'class_'"
    """
    if not isinstance(name, str):
        return f"expected a C identifier, got {name!r}"
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        better = re.sub(r"[\W_]+", "_", name, flags=re.ASCII)
        better = f"n{better}" if better[:1].isdigit() else better
        hint = f"; try {better!r}" if better.strip("_") and not name_problem(better) else ""
        return f"expected a C identifier (letters, digits, underscores), got {name!r}{hint}"
    if len(name) > LONGEST:
        return f"expected at most {LONGEST} characters, got {len(name)}"
    if name.lower() in KEYWORDS:
        return f"expected a C identifier: {name!r} is a C or C++ keyword; try '{name}_'"
    if "__" in name or re.match(r"_[A-Z]", name):
        why = "reserved by the C and C++ standards (double underscore, or underscore and capital)"
        return f"expected a C identifier of your own: {name!r} is {why}"
    return None


def model_name_problem(name: str) -> str | None:
    """As `name_problem`, for a model: its name is that of files, and the prefix of everything in them."""
    if problem := name_problem(name):
        return problem
    if name.lower() in STANDARD_HEADERS:
        return f"{name}.h would hide the system header of that name; choose another name"
    if name.lower() in DEVICES:
        return f"Windows takes {name}.c for a device; choose another name"
    if re.match(r"cxn(_|$)", name, re.IGNORECASE):
        return f"the kernels keep names with cxn to themselves, got {name!r}; choose another name"
    return None


def layer_name_problem(name: str, earlier: dict[str, str]) -> str | None:
    """As `name_problem`, for a layer; `earlier` maps the lower case of the names before it to themselves."""
    if problem := name_problem(name):
        return problem
    if name.lower() in RESERVED_LAYERS:
        return f"{name!r} is taken by the emitted files; choose another name, for example '{name}1'"
    if name.lower() in earlier:
        return f"two layers are called {earlier[name.lower()]!r} (case is ignored); choose another name"
    return None


def identifier(text: str) -> str:
    """A C identifier like `text`.

    >>> identifier("my-net.v2"), identifier("2d"), identifier("-")
    ('my_net_v2', 'n2d', 'model')
    """
    made = "".join(letter if letter.isalnum() and letter.isascii() else "_" for letter in text)
    made = "_".join(part for part in made.split("_") if part)[:60] or "model"
    made = f"n{made}" if made[0].isdigit() else made
    return next(name for name in (made, f"{made}_", "model") if not model_name_problem(name))
