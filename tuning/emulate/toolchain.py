# SPDX-License-Identifier: Apache-2.0
"""Compile and link C for a bare Cortex-M: arm-none-eabi-gcc when it is on PATH, else Clang from the ziglang wheel."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import util
from pathlib import Path
from typing import Any

from ..base.options import Kind as Kind
from ..target.cores import CORES
from .errors import MissingToolError, ToolchainError, missing_extra
from .foreign import error_place, files_read, outside, reading_directive

RUNTIME = Path(__file__).resolve().parent / "runtime"
FIRST = RUNTIME / "first.h"
"""An empty header: GCC looks for a precompiled form of the first one that it reads, and of no other."""
_HELIUM_PROBE = "#include <arm_mve.h>\nint8x16_t cxn_sum(int8x16_t a, int8x16_t b) { return vaddq_s8(a, b); }\n"
_HELIUM_SINCE = {"gcc": "GCC 10", "clang": "the ziglang package 0.13"}
# Unless told not to, zig adds traps for undefined behaviour, frame pointers and debug information.
_CLANG_ALWAYS = (
    "-fno-sanitize=undefined",
    "-fomit-frame-pointer",
    "-g0",
)
MOST_TEXT = 1 << 28
"""Bytes that the preprocessor may make of a stranger's C: a network with its weights takes some millions."""
COMPILE_SECONDS = 300
"""After which a compiler is given up."""
_PASSING = (
    *("No space left", "annot allocate", "out of memory", "Resource temporarily"),
    "signal terminated program",  # the driver says so of the compiler that it started
)
"""In what a compiler says when the machine is to blame, not the code."""
# A loop that looks like memcpy must not become a call of itself.
_RUNTIME_CFLAGS = ("-O2", "-ffreestanding", "-fno-builtin")


@dataclass(frozen=True)
class Toolchain:
    """A C compiler for Cortex-M.

    Attributes
    ----------
    kind : {"gcc", "clang"}
    command : tuple of str
        How to start the compiler.
    version : str
        What it says of itself, one line.
    """

    kind: Kind
    command: tuple[str, ...]
    version: str
    _accepted: dict[tuple[str, str], bool] = field(default_factory=dict, repr=False, compare=False)
    _search: list[Path] = field(default_factory=list, repr=False, compare=False)

    def core_flags(self, core: str) -> tuple[str, ...]:
        """Flags that choose a core; no FPU registers for arguments, so that every core has one calling convention, but
        on those with Helium, whose vectors are in them.
        """
        row = CORES[core]
        if self.kind == "gcc":
            abi = ("-mfloat-abi=hard",) if row.helium else ()
            known = row.like_gcc is None or self._compiles("int cxn_empty;\n", (f"-mcpu={core}", "-mthumb", *abi))
            return (f"-mcpu={core if known else row.like_gcc}", "-mthumb", *abi)
        target = "thumb-freestanding-eabihf" if row.helium else "thumb-freestanding-eabi"
        return ("-target", target, *_CLANG_ALWAYS, f"-mcpu={row.zig_cpu}", "-mthumb")

    def _compiles(self, text: str, flags: Sequence[str]) -> bool:
        """Whether the compiler takes a text with these flags, without so much as a warning."""
        key = (text, "\0".join(flags))
        if key not in self._accepted:
            with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
                source, output = Path(folder) / "probe.c", Path(folder) / "probe.o"
                source.write_text(text)
                done = _run([*self.command, *flags, "-Werror", "-c", str(source), "-o", str(output)])
                self._accepted[key] = done.returncode == 0
        return self._accepted[key]

    def require(self, core: str) -> None:
        """Refuse a core that the compiler is too old for.

        Raises
        ------
        ToolchainError
            With the flag and the version that are missing.
        """
        if CORES[core].helium and not self._compiles(_HELIUM_PROBE, self.core_flags(core)):
            flag = next(flag for flag in self.core_flags(core) if flag.startswith("-mcpu="))
            raise ToolchainError(
                f"{core}: expected a compiler with Helium, which takes {flag} and has arm_mve.h: "
                f"{_HELIUM_SINCE[self.kind]} or newer, got {self.version}"
            )

    def accepts(self, flags: Sequence[str], core: str) -> bool:
        """Whether the compiler takes all these flags, without so much as a warning."""
        return self._compiles("int cxn_empty;\n", (*self.core_flags(core), *flags))

    def usable(self, cflags: Sequence[str], core: str) -> tuple[str, ...]:
        """`cflags` without those that this compiler does not know."""
        if self.accepts(cflags, core):
            return tuple(cflags)
        return tuple(flag for flag in cflags if self.accepts([flag], core))

    def compile(
        self,
        source: Path,
        output: Path,
        core: str,
        *,
        cflags: Sequence[str] = ("-O3",),
        include: Sequence[Path] = (),
        defines: Sequence[str] = (),
        foreign: bool = False,
    ) -> str:
        """Compile one translation unit to an object file.

        Paths are made absolute: none reads as an option, or as a response file. With `foreign` sources may be
        anybody's, and GCC takes no precompiled header beside theirs: those are images of its memory, and no text.

        Returns
        -------
        str
            What the compiler printed: warnings, usually nothing.

        Raises
        ------
        ToolchainError
            The compiler refused the source, or is too old for the core.
        """
        self.require(core)
        return self._check(
            [
                *self.core_flags(core),
                *self.usable(cflags, core),
                *(("-include", str(FIRST)) if foreign else ()),
                *(f"-I{path.absolute()}" for path in include),
                f"-idirafter{RUNTIME / 'include'}",
                *(f"-D{define}" for define in defines),
                "-c",
                str(source.absolute()),
                "-o",
                str(output.absolute()),
            ],
            f"compiling {source.name} for {core}",
        )

    def build(
        self,
        sources: Sequence[Path],
        output: Path,
        core: str,
        *,
        cflags: Sequence[str] = ("-O3",),
        include: Sequence[Path] = (),
        defines: Sequence[str] = (),
        script: Path | None = None,
        foreign: bool = False,
    ) -> str:
        """Compile translation units and link them, without a C library, to an executable for the emulator.

        ``memcpy``, ``memmove`` and ``memset`` come from this package, division on an M0+ from the compiler's library.
        `cflags` that the compiler does not know are left out. `script` replaces the linker script. `foreign`: see
        `compile`, and `check_foreign`, which comes first.

        Returns
        -------
        str
            What the compiler printed.

        Raises
        ------
        ToolchainError
            The compiler or the linker refused.
        """
        with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
            said = ""
            objects = []
            for index, source in enumerate(sources):
                if foreign:
                    self.check_foreign(source, core, cflags=cflags, include=include)
                objects.append(Path(folder) / f"{index}.o")
                options: dict[str, Any] = {"cflags": cflags, "include": include, "defines": defines}
                said += self.compile(source, objects[-1], core, **options, foreign=foreign)
            runtime = Path(folder) / "memory.o"
            runtime.write_bytes(_runtime(self, core))
            return said + self.link([*objects, runtime], output, core, script=script)

    def check_foreign(self, source: Path, core: str, *, cflags: Sequence[str], include: Sequence[Path]) -> None:
        """Refuse C that reads files besides those of its folder and the compiler's own; see `foreign`.

        Raises
        ------
        ToolchainError
            It names others, or its assembly could; or there is something else that the preprocessor refuses.
        """
        self.require(core)
        with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
            text, rules = Path(folder) / "source.i", Path(folder) / "source.d"
            done = _run([
                *self.command, *self.core_flags(core), *self.usable(cflags, core), "-include", str(FIRST),
                *(f"-I{path.absolute()}" for path in include), f"-idirafter{RUNTIME / 'include'}", "-w", "-E", "-MD",
                "-MF", str(rules), str(source.absolute()), "-o", str(text),
            ])  # fmt: skip
            about = f"{source.name}: expected C that reads files of its folder and the compiler's alone"
            own = [source.absolute().parent, *include, RUNTIME, *self._headers(core)]
            read = files_read(rules.read_text(encoding="utf-8", errors="replace")) if rules.exists() else None
            if read is not None and (other := outside(read, own)) is not None:
                raise ToolchainError(f"{about}, got {other}")
            if read is not None and not done.returncode:
                if (size := text.stat().st_size) > MOST_TEXT:
                    raise ToolchainError(f"{source.name}: expected C of up to {MOST_TEXT >> 20} MiB, got {size} bytes")
                if word := reading_directive(text.read_text(encoding="utf-8", errors="replace")):
                    raise ToolchainError(f"{about}, got assembly with {word!r}")
                return
        # What a message says of a file of others quotes it.
        lines = [line.strip() for line in done.stderr.splitlines()]
        said = [line for line in lines if (place := error_place(line)) is not None and outside([place], own) is None]
        raise ToolchainError(
            f"compiling {source.name} for {core} failed ({self.kind}): "
            f"{'; '.join(said[:3]) or 'in a file that is not of its folder'}",
            passing=done.returncode < 0 or any(word in done.stderr for word in _PASSING),
        )

    def _headers(self, core: str) -> list[Path]:
        """Where the compiler has headers of its own."""
        if not self._search:
            done = _run([*self.command, *self.core_flags(core), "-E", "-v", "-x", "c", os.devnull, "-o", os.devnull])
            listed = done.stderr.partition("search starts here:")[2].partition("End of search list")[0]
            self._search.extend(Path(line.strip()) for line in listed.splitlines() if line.startswith(" "))
        return self._search

    def link(self, objects: Sequence[Path], output: Path, core: str, *, script: Path | None = None) -> str:
        """Link object files; see `build`. Without `script` nothing is an entry point and everything is kept."""
        entry = () if script else ("-e", "0")
        script, output = (script or RUNTIME / "bare.ld").absolute(), output.absolute()
        arguments = ["-nostdlib", "-static", "-n", *entry, "-T", str(script), "-o", str(output)]
        files = [str(path.absolute()) for path in objects]
        if self.kind == "gcc":
            through = [f"-Wl,{','.join(arguments[1:-2])}", "-nostdlib", *files, "-lgcc", "-o", str(output)]
            # Objects are machine code: what looks like code for link-time optimisation came with somebody's assembly.
            always = ("-Wl,--no-warn-rwx-segments", "-fno-lto", "-fno-use-linker-plugin")
            return self._check([*self.core_flags(core), *always, *through], _linking(output, core))
        # The linker by itself is fast; the driver builds the compiler's library, which takes seconds the first time.
        done = _run([*self.command[:-1], "ld.lld", "--no-dependent-libraries", *arguments, *files])
        if not done.returncode:
            return done.stderr
        through = [f"-Wl,{','.join(arguments[1:-2])}", "-nostdlib", *files, "-rtlib=compiler-rt", "-o", str(output)]
        return self._check([*self.core_flags(core), "-O2", "-Wl,--no-gc-sections", *through], _linking(output, core))

    def _check(self, arguments: Sequence[str], what: str) -> str:
        done = _run([*self.command, *arguments])
        if done.returncode:
            said = done.stderr.splitlines()
            lines = [line for line in said if "error:" in line or "undefined" in line] or said or ["no message"]
            shown = "; ".join(line.strip() for line in lines[:3])
            # Who was killed says nothing more.
            passing = done.returncode < 0 or not said or any(word in shown for word in _PASSING)
            raise ToolchainError(f"{what} failed ({self.kind}): {shown}", passing=passing)
        return done.stderr


def _run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    """As `subprocess.run`; a compiler that is not waited for ends with all processes that it started."""
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
        errors="replace",  # paths in messages are spelled as the system likes
        start_new_session=True,
    ) as process:
        try:
            out, err = process.communicate(timeout=COMPILE_SECONDS)
        except BaseException as problem:
            if hasattr(os, "killpg"):
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGTERM)  # the driver removes its temporary files
            else:
                process.kill()
            if isinstance(problem, subprocess.TimeoutExpired):
                what = f"{command[0]} did not return within {COMPILE_SECONDS} s"
                raise ToolchainError(what, failure="timeout", passing=True) from None
            raise
    return subprocess.CompletedProcess(command, process.returncode, out, err)


@lru_cache(maxsize=16)
def _runtime(toolchain: Toolchain, core: str) -> bytes:
    with tempfile.TemporaryDirectory(prefix="cmsisnn-x-") as folder:
        output = Path(folder) / "memory.o"
        toolchain.compile(RUNTIME / "memory.c", output, core, cflags=_RUNTIME_CFLAGS)
        return output.read_bytes()


def _linking(output: Path, core: str) -> str:
    return f"linking {output.name} for {core}"


@lru_cache(maxsize=4)
def find_toolchain(kind: Kind | None = None) -> Toolchain:
    """The compiler to use: GCC from PATH, else Clang from the ziglang wheel; or the one that `kind` names.

    Raises
    ------
    MissingToolError
        Neither is installed.
    """
    gcc = shutil.which("arm-none-eabi-gcc")
    if gcc and kind in (None, "gcc"):
        return _identify("gcc", (gcc,))
    if kind in (None, "clang") and util.find_spec("ziglang") is not None:
        return _identify("clang", (sys.executable, "-P", "-m", "ziglang", "cc"))  # not of the current directory
    if kind == "gcc":
        raise MissingToolError("arm-none-eabi-gcc is not installed: put it on PATH, or take --compiler clang")
    if kind == "clang":
        or_else = ", or take --compiler gcc" if gcc else ""
        raise MissingToolError(f"{missing_extra('the ziglang package is not installed')}{or_else}")
    raise missing_extra("neither arm-none-eabi-gcc nor the ziglang package is installed")


def prefer_toolchain(kind: Kind, asked: Kind | None = None) -> Toolchain:
    """The compiler that is `asked` for; without, that which `kind` names where it is installed, else the other.

    Raises
    ------
    MissingToolError
        It is not installed, or neither is.
    """
    if asked is not None:
        return find_toolchain(asked)
    try:
        return find_toolchain(kind)
    except MissingToolError:
        return find_toolchain()


def toolchain_of(core: str, kind: Kind | None = None) -> Toolchain:
    """The compiler that `kind` names; None for the core's own (`Core.compiler`), or else the one that is installed."""
    return prefer_toolchain(CORES[core].compiler, kind)


def _identify(kind: Kind, command: tuple[str, ...]) -> Toolchain:
    done = _run([*command, "--version"])
    if done.returncode:
        raise ToolchainError(f"{' '.join(command)} --version failed: {done.stderr.strip() or 'no message'}")
    return Toolchain(kind, command, done.stdout.splitlines()[0].strip())
