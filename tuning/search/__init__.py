# SPDX-License-Identifier: Apache-2.0
"""Strategies: which variant to try next. They know indices and scores, nothing of layers."""

from .base import Strategy, make_strategy, run
from .exhaustive import Exhaustive
from .random_search import RandomSearch

__all__ = ["Exhaustive", "RandomSearch", "Strategy", "make_strategy", "run"]
