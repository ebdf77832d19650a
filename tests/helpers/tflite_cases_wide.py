# SPDX-License-Identifier: Apache-2.0
"""Cases whose sums or products 32 bits do not hold, and what LiteRT and TensorFlow Lite Micro make of them.

Nobody defines it: the packages wrap, saturate or convert as the code does that their compilers made for x86. It is part
of an arithmetic nonetheless, and kernels are held against it. ``cd tests && python -m helpers.tflite_cases_wide``,
with the extra ``against`` installed, writes anew what the packages give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from helpers import int8_tables as tables
from helpers.int8_oracle import Arithmetic
from helpers.tflite_cases import Case
from helpers.tflite_cases_elements import curve, leaky, pair, requantize, rescaling
from helpers.tflite_cases_layers import conv, dense, mean

GIVEN = Path(__file__).parents[1] / "tuning" / "importers" / "tflite" / "beyond_32_bits.npz"
SEEDS = (1, 2, 4, 5)
"""Of inputs; of two of them every number is at an end of its range."""


def _ends(count: int, dtype: type = np.int32, bits: int = 31) -> np.ndarray:
    """Biases next to what so many bits hold, of both signs in turn."""
    near = (1 << bits) - 1 - 50 * np.arange(count)
    return np.where(np.arange(count) % 2, -near, near).astype(dtype)


def _conv(name: str, **options: Any) -> Case:
    return conv(name, (1, 4, 3, 2), (3, 2), 4, **options)


LONG: dict[str, Callable[[np.ndarray], Case]] = {
    "dense int16, sums": lambda bias: dense("far wide", (2, 12), 4, out=(2, 4), dtype="INT16", scales=1e-4, data=bias),
    "conv int16, sums": lambda bias: _conv("far wide", dtype="INT16", scales=1e-4, data=bias),
    "depthwise int16, sums": lambda bias: _conv("far dw", dtype="INT16", depthwise=True, scales=1e-4, data=bias),
}
"""Sums of 64 bits, made from four biases."""
LONG_BIASES = _ends(4, np.int64, 38)

WIDE: dict[str, Case] = {
    **{name: made(LONG_BIASES) for name, made in LONG.items()},
    # The zero point is added to -2^31, which products beyond 32 bits become: below 0 the sum wraps.
    **{
        f"dense, products, zero point {zero}": dense(
            f"far {zero}", scales=1e9, per_channel=True, output_zero_point=zero
        )
        for zero in (-3, 0, 4, -128, 127)
    },
    "dense, sums": dense("far sums", data=_ends(5)),
    "dense, sums and products": dense("far both", scales=1e6, per_channel=True, data=_ends(5)),
    "dense int16, products": dense("far wide products", dtype="INT16", scales=3e6),
    "conv, sums": _conv("far", data=_ends(4)),
    "conv, shifted": _conv("far shifted", scales=1e9),
    "conv int16, products": _conv("far wide products", dtype="INT16", scales=3e6),
    "depthwise, sums": _conv("far dw", depthwise=True, data=_ends(4)),
    "depthwise, shifted": _conv("far dw shifted", depthwise=True, scales=1e8),
    "MUL": pair("MUL", "far", own=(0.5, 0.3, 1e-7)),
    "MUL int16": pair("MUL", "far wide", dtype="INT16", own=(0.5, 0.3, 1e-2)),
    "QUANTIZE": requantize("far", "INT8", "INT8", scale=1e-10),
    "QUANTIZE of int16": requantize("far wide", "INT16", "INT8", scale=1e-7),
    "RELU": curve("RELU", rescaling(tables.relu), "far", out=(1e-10, 5)),
    "LEAKY_RELU": curve("LEAKY_RELU", leaky(10.0), "far", out=(1e-9, -5), alpha=10.0),
    "MEAN": mean("far", (1, 6, 5, 3), (1, 2), output_scale=1e-9),
    "MEAN int16": mean("far wide", (1, 6, 5, 3), (1, 2), dtype="INT16", output_scale=1e-7),
}  # fmt: skip
PAIRS = [(name, arithmetic) for name, case in WIDE.items() for arithmetic in case.arithmetics]


def given(case: Case, seed: int) -> list[np.ndarray]:
    """The inputs of a case, in the order of the file."""
    values = case.draw(seed)
    return [values[name] for name in case.inputs]


def package_outputs(case: Case, arithmetic: Arithmetic) -> np.ndarray:
    """What the package that defines an arithmetic gives for every seed."""
    from tuning.base.options import Arithmetic as Package
    from tuning.check.against.packages import Piece, runner

    package = runner(Package(arithmetic))
    samples = [given(case, seed) for seed in SEEDS]
    ran = package.run(package.kernels[0], Piece(case.content(), 1, 1 << 16), samples)
    return np.stack([np.asarray(outputs[0]).reshape(-1) for outputs in ran])


def stored() -> Mapping[str, np.ndarray]:
    """What they gave, by the name of the case and the arithmetic."""
    with np.load(GIVEN) as data:
        return dict(data)


def main() -> None:
    made = {f"{name}/{one}": package_outputs(WIDE[name], one) for name, one in PAIRS}
    np.savez_compressed(GIVEN, allow_pickle=False, **made)


if __name__ == "__main__":
    main()
