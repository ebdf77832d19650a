# SPDX-License-Identifier: Apache-2.0
"""What a search tells whoever waits for it: the dicts that `progress` of :func:`tuning.tune` is called with."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypedDict, final


@final
class Evaluation(TypedDict):
    """A variant of a layer was emulated, or found in the records.

    `trial` of `trials` of the layer, which is the network's `index`-th; its `best` cycles so far, with the `estimate`
    and the `variant` they belong to; variants that failed. Of all layers: evaluations `done`, of them `known` before,
    of at most `expected`.
    """

    layer: str
    index: int
    trial: int
    trials: int
    best: int | None
    estimate: int | None
    variant: str | None
    failures: int
    done: int
    expected: int
    known: int
    seconds_left: float | None


@final
class Message(TypedDict):
    """A sentence for people."""

    message: str


@final
class Interruption(TypedDict):
    """The search ends before its time; `estimated_layers` have nothing emulated."""

    interrupted: bool
    done: int
    expected: int
    estimated_layers: list[str]


Event = Evaluation | Message | Interruption
Progress = Callable[[Event], None]
