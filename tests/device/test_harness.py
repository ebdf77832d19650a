# SPDX-License-Identifier: Apache-2.0
"""The harness itself: kernels that break a rule are caught, on the emulated cores and under the sanitizers."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from helpers import device
from helpers.device import Case, check_on_host, compile_cases, compilers, host_compiler
from helpers.layers import make_layer

KERNEL = """
#include "cmsisnn_x/config.h"
CXN_KERNEL_FN void CXN_KERNEL(const CXN_IN_T *input, CXN_OUT_T *output, void *scratch)
{
    (void)scratch;
    BODY
}
#include "cmsisnn_x/detail/undef.h"
"""
COPY = "for (int i = 0; i < CXN_GET(IN_CH); ++i) { output[i] = (CXN_OUT_T)(input[i] < 0 ? 0 : input[i]); }"
HALF = "for (int i = 1; i < CXN_GET(IN_CH); ++i) { output[i] = (CXN_OUT_T)(input[i] < 0 ? 0 : input[i]); }"
OUTSIDE = {
    "writes past the end": (f"{COPY} output[CXN_GET(IN_CH)] = 0;", "past the end"),
    "writes before the start": (f"{COPY} output[-1] = 0;", "before the start"),
    "reads past the end": (
        f"{COPY} output[0] = (CXN_OUT_T)(output[0] + 0 * *(const volatile CXN_IN_T *)(input + CXN_GET(IN_CH)));",
        "past the end",
    ),
}
WRONG = {
    "leaves an element out": (HALF, r"1 of 8 differ, first at \(0,\)"),
    "writes to its input": (f"{COPY} *(CXN_IN_T *)input = 0;", "constant|read-only|differ"),
    "does not return": ("for (;;) { __asm__ volatile(\"\"); } (void)input; (void)output;", "did not return"),
    "clobbers r11": (f"{COPY} __asm__ volatile(\"mov r11, sp\");", "a register of the caller changed"),
    "loads a word from an odd address": (
        f"{COPY} {{ uint32_t x; __asm__ volatile(\"ldr %0, [%1]\" : \"=l\"(x) : \"l\"(input + 1)); (void)x; }}",
        "unaligned",
    ),
}  # fmt: skip


@pytest.fixture
def sabotage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Replace the ReLU kernel of the headers by one with the given body."""
    shutil.copytree(device.INCLUDE, tmp_path / "include")
    monkeypatch.setattr(device, "INCLUDE", tmp_path / "include")

    def replace(body: str) -> Case:
        (tmp_path / "include/cmsisnn_x/relu.h").write_text(KERNEL.replace("BODY", body))
        return Case(make_layer("relu", (8,)))

    return replace


@pytest.mark.parametrize(("body", "message"), [*OUTSIDE.values(), *WRONG.values()], ids=[*OUTSIDE, *WRONG])
def test_a_broken_kernel_fails_in_the_emulator(sabotage, body: str, message: str) -> None:
    case = sabotage(body)
    machine = compile_cases([case], "cortex-m0plus", compilers()[0], ["-O2"])
    with pytest.raises(AssertionError, match=message):
        machine.check()


def test_a_sound_kernel_passes(sabotage) -> None:
    compile_cases([sabotage(COPY)], "cortex-m0plus", compilers()[0], ["-O2"]).check()


@pytest.mark.parametrize("name", ["writes past the end", "writes before the start", "reads past the end"])
def test_a_broken_kernel_fails_under_the_sanitizers(sabotage, name: str) -> None:
    with pytest.raises(AssertionError, match="heap-buffer-overflow"):
        check_on_host([sabotage(OUTSIDE[name][0])], host_compiler())


def test_a_division_by_the_compilers_library_is_refused(sabotage) -> None:
    case = sabotage(f"{COPY} output[0] = (CXN_OUT_T)(output[0] / (*(const volatile CXN_IN_T *)input | 1));")
    with pytest.raises(AssertionError, match="idiv"):
        compile_cases([case], "cortex-m0plus", compilers()[0], ["-O2"])
