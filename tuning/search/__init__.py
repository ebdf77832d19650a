# SPDX-License-Identifier: Apache-2.0
"""Strategies: which variant to try next. They know indices and scores, nothing of layers.

Which one is the default was decided by replaying recorded evaluations (``benchmarks/search_replay.py``): six layers on
two cores, every variant of each emulated, 21 seeds. Mean regret, in per cent above the fastest variant there is:

===================================  ====  ====  ====  ====
after so many evaluations               4     8    16    32
===================================  ====  ====  ====  ====
random                               94.2  51.0  37.9  19.4
Gaussian process, no estimate         2.2   0.1   0.1   0.0
ranking by an unfitted estimate       6.5   3.9   3.9   0.0
the same, and a Gaussian process      3.9   3.9   0.0   0.0
ranking by the fitted estimate        0.0   0.0   0.0   0.0
===================================  ====  ====  ====  ====

Where the estimate is fitted, its favourites hold the best variant and nothing is left to be learned; where it is not,
the Gaussian process finds what the ranking misses. The forest needs more evaluations (without an estimate 62.5 after 8,
17.8 after 16) and more time for each.
"""

from .base import Strategy, make_strategy, run
from .exhaustive import Exhaustive
from .random_search import RandomSearch

__all__ = ["Exhaustive", "RandomSearch", "Strategy", "make_strategy", "run"]
