# SPDX-License-Identifier: Apache-2.0
"""The format of a softmax's input: probabilities that are right, or answers that no other class ties with."""

from __future__ import annotations

import numpy as np

from cmsisnn_x import Network
from cmsisnn_x.layers import NUMPY_DTYPES

from ...base.errors import OptionError
from ..rewrites import origin as scale_origin
from .formats import to_integers
from .integers import FixedPoint, Formats

MOST_MOVED = 0.25
"""Of the probability of a sample, in the mean, that may be other classes' before the values mean something else."""


def settle_softmax(fixed: FixedPoint, formats: Formats, wish: str) -> list[str]:
    """Fraction bits of what enters the softmax, and what to say about it.

    Raises
    ------
    OptionError
        `wish` is ``auto``, and with the answers kept the values would be no probabilities.
    """
    seen = fixed.seen
    places = [index for index, layer in enumerate(seen.layers) if layer.op == "softmax"]
    if not places:
        return []
    name = seen.layers[places[-1]].name
    if seen.network.softmax_base != 2.0:
        return [
            f"{name}: the kernel computes 2**integer; no layer with weights in front of it could take up log2(e) "
            f"and the format, so its values are no probabilities. The order of the classes holds."
        ]
    start = scale_origin(seen.network.layers, places[-1])
    assert start is not None
    full = formats.output[start]
    if places[-1] != len(seen.layers) - 1:
        return _soften_inner(fixed, formats, start, name)
    found = {}
    for fraction in sorted({full, *range(min(0, full), max(full, 0) + 1)}) if wish != "answers" else [full]:
        trial = formats.copy()
        trial.output[start] = fraction
        found[fraction] = _probabilities(fixed, trial)
    right, chosen = found[full][0], full
    if wish == "probabilities":
        chosen = min(found, key=lambda fraction: (abs(fraction), fraction))
    elif wish == "auto" and full > 0:
        chosen = min(fraction for fraction, (share, *_) in found.items() if fraction >= 0 and share >= right)
    formats.output[start] = chosen
    share, error, moved = _probabilities(fixed, formats)
    actual = fixed.fix(formats)[-1].input
    text = f"{name}: mean absolute error of the probabilities {error:.4f} against base e"
    if actual == 0:
        lost = round((right - share) * len(seen.chosen))
        cost = f", {abs(lost)} answer{'s' if abs(lost) != 1 else ''} {'lost' if lost > 0 else 'gained'}" if lost else ""
        return [f"{text}; log2(e) and the format are folded into {seen.layers[start].name}{cost}"]
    power = f"2**{actual}" if actual < 0 else str(2**actual)
    effect = "too sure" if actual > 0 else "not sure enough"
    hint = ""
    if 0 in found and wish != "probabilities":
        lost = round((right - found[0][0]) * len(seen.chosen))
        hint = f"--softmax probabilities: error {found[0][1]:.4f}, {max(lost, 0)} of {len(seen.chosen)} answers lost"
    if wish == "auto" and moved > MOST_MOVED:
        raise OptionError(
            f"softmax: {name} computes 2**integer in {seen.dtype}: where no answer is lost, its values are the "
            f"probabilities to the power of {power}, with {moved:.0%} of the sum at other classes; expected --scheme "
            "int8, whose softmax has base e; or --softmax answers, if their order is enough"
            + (f"; or {hint}" if hint else "")
        )
    hint = f" {hint}." if hint else ""
    return [f"{text}: they are raised to the power of {power} ({effect}); the order of the classes holds.{hint}"]


def _soften_inner(fixed: FixedPoint, formats: Formats, start: int, name: str) -> list[str]:
    # The layers behind it were given base-e values: only the exact format keeps their input right.
    trial = formats.copy()
    trial.output[start] = 0
    if fixed.fix(trial)[start].output == 0:
        formats.output[start] = 0
        return [f"{name}: log2(e) and the format are folded into {fixed.layers[start].name}"]
    return [f"{name}: its input cannot have 0 fraction bits, so its values differ from the float network's"]


def _probabilities(fixed: FixedPoint, formats: Formats) -> tuple[float, float, float]:
    """Share of right answers that no other class ties with, mean absolute error of the softmax's values, and how much
    of a sample's probability is other classes' in the mean.
    """
    seen = fixed.seen
    x = to_integers(seen.sample, formats.input, NUMPY_DTYPES[seen.dtype])
    out = Network([item.layer for item in fixed.fix(formats)]).run(x).reshape(len(x), -1)
    right = seen.right(out, seen.chosen)
    assert right is not None
    alone = (out == out.max(axis=1, keepdims=True)).sum(axis=1) == 1
    errors = np.abs(np.ldexp(out.astype(np.float64), 1 - seen.bits) - seen.float_output[seen.chosen])
    return float((right & alone).mean()), float(errors.mean()), float(errors.sum(axis=1).mean() / 2)
