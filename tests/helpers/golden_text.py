# SPDX-License-Identifier: Apache-2.0
"""The committed text of a tiny network's firmware folder; run as a script, it is written anew."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

GOLDEN = Path(__file__).parents[1] / "emit" / "golden"


@cache
def golden_files() -> dict[str, str]:
    """What the emitter makes of the tiny network, without kernels, plan and report, which have tests of their own."""
    from cmsisnn_x import Variant
    from helpers.networks import conv, dense, pool
    from helpers.plans import chain, make_plan
    from tuning.emit import render

    layers = chain(
        (6, 5, 2), "q7", conv(4, 3, pad=1, name="conv1", activation="relu"), pool("max", 2, name="pool1"),
        {"op": "sigmoid", "int_bits": 2, "name": "squash"}, dense(3, name="fc"), {"op": "softmax", "name": "prob"},
    )  # fmt: skip
    plan = make_plan("tiny", layers, variant={"conv1": Variant(unroll=2, block_rows=2, block_cols=4, im2col_cols=4)})
    skipped = ("cmsisnn_x/", "plan.json", "report.html")
    return {path: text for path, text in render(plan).items() if not path.startswith(skipped)}


def main() -> None:
    for path, text in golden_files().items():
        (GOLDEN / path).parent.mkdir(parents=True, exist_ok=True)
        (GOLDEN / path).write_text(text, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
