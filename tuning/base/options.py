# SPDX-License-Identifier: Apache-2.0
"""The words that options take, in one place that costs nothing to import."""

from enum import StrEnum
from typing import Final, Literal, TypedDict


class Arithmetic(StrEnum):
    """Whose bytes a network with zero points gives: a device's, or those of LiteRT's reference kernels."""

    TFLM = "tflm"
    LITERT = "litert"


class Package(StrEnum):
    """What a network is held against."""

    TFLM = "tflm"
    LITERT = "litert"
    ONNXRUNTIME = "onnxruntime"


class Objective(StrEnum):
    """What a plan minimises."""

    LATENCY = "latency"
    SRAM = "sram"
    FLASH = "flash"
    BALANCED = "balanced"


class Score(StrEnum):
    """What a variant's cycles are: the analytic model's word, or instructions emulated and priced."""

    ESTIMATE = "estimate"
    EMULATE = "emulate"


class StrategyName(StrEnum):
    """Which variant is tried next."""

    AUTO = "auto"
    EXHAUSTIVE = "exhaustive"
    BAYESIAN = "bayesian"
    RANDOM = "random"


class Compiler(StrEnum):
    """Which C compiler; both have to give the same bytes."""

    GCC = "gcc"
    CLANG = "clang"


class Surrogate(StrEnum):
    """What the Bayesian strategy learns with."""

    GP = "gp"
    FOREST = "forest"


Memory = Literal["sram", "flash"]
"""What a budget is of."""
MEMORIES: Final[dict[Memory, str]] = {"sram": "SRAM", "flash": "flash"}
"""How people call it."""
BYTES: Final[dict[Memory, Literal["sram_bytes", "flash_bytes"]]] = {"sram": "sram_bytes", "flash": "flash_bytes"}
"""The key that has the size of it, in totals and in points of frontiers."""


class Budget(TypedDict):
    """Bytes at most; None where there is no limit."""

    sram: int | None
    flash: int | None


class Feed(StrEnum):
    """How the input of the firmware comes: as a whole, or row by row."""

    IMAGE = "image"
    ROWS = "rows"


OBJECTIVES = tuple(item.value for item in Objective)
SCORES = tuple(item.value for item in Score)
COMPILERS = tuple(item.value for item in Compiler)
Kind = Literal["gcc", "clang"]
"""One of `COMPILERS`."""
STRATEGIES = tuple(item.value for item in StrategyName)
SURROGATES = tuple(item.value for item in Surrogate)
FEEDS = tuple(item.value for item in Feed)
