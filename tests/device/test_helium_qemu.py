# SPDX-License-Identifier: Apache-2.0
"""The second opinion on vectors: QEMU's Cortex-M55 runs every kernel that cores with Helium have, over their inputs and
on bands of rows too, and must equal the definitions.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence

import numpy as np
import pytest

from cmsisnn_x.op import OPS
from helpers.cores import helium_variants
from helpers.device import LEVELS, Case, compilers
from helpers.qemu import BOARDS, check_in_qemu

from . import test_depthwise_helium, test_fully_connected, test_helium_convolve, test_helium_elements

pytestmark = pytest.mark.skipif(
    shutil.which("qemu-system-arm") is None, reason="qemu-system-arm, an optional second emulator, is not installed"
)
(BOARD,) = (board for board in BOARDS if board.core == "cortex-m55")
FAMILIES: dict[str, Callable[[], Sequence[Case]]] = {
    "convolve": test_helium_convolve.cases,
    "convolve at the ends": test_helium_convolve.ends,
    "convolve in place": test_helium_convolve.in_place,
    "convolve with its pooling": test_helium_convolve.fused,
    "depthwise": lambda: test_depthwise_helium.cases(77, test_depthwise_helium.FULL),
    "fully connected": test_fully_connected.vectors,
    **test_helium_elements.WHOLE,
    "convolve in bands": test_helium_convolve.bands,
    "depthwise in bands": lambda: test_depthwise_helium.bands(78, test_depthwise_helium.FULL),
    "elements in bands": lambda: test_helium_elements.bands(np.random.default_rng(79)),
}
BANDS = tuple(name for name in FAMILIES if name.endswith("bands"))


@pytest.mark.full
@pytest.mark.emulated
@pytest.mark.parametrize("compiler", compilers())
@pytest.mark.parametrize("in_bands", [False, True], ids=["whole", "bands"])
def test_every_family_equals_its_definition(compiler: str, in_bands: bool, full: bool) -> None:
    """A case of each, another one for each compiler; the product takes all."""
    turn = compilers().index(compiler)
    level = LEVELS[(turn + in_bands) % 3]
    names = [name for name in FAMILIES if (name in BANDS) == in_bands]
    chosen: list[Case] = []
    for at, name in enumerate(names):
        cases = FAMILIES[name]()
        first = (7 * at + 11 * turn + 5 * in_bands) % len(cases)
        chosen += cases if full else cases[first : first + 1]
    check_in_qemu(chosen, BOARD, compiler, level)


def test_every_operation_and_kernel_is_among_them() -> None:
    cases = [case for make in FAMILIES.values() for case in make()]
    assert {case.layer.python_op for case in cases} == set(OPS)
    for op in ("convolve", "depthwise_convolve", "fully_connected"):
        for dtype in ("q7", "q15"):
            run = {case.variant for case in cases if case.op == op and case.layer.type.twin == dtype}
            assert run >= set(helium_variants(op, dtype)), (op, dtype)
