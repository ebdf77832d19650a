# SPDX-License-Identifier: Apache-2.0
"""The plan of a whole network: its data (`plan`), how it is chosen (`planner`), and what memory buys (`frontier`)."""

from .plan import SCHEMA, LayerPlan, Plan, read_plan_file

__all__ = [
    "SCHEMA",
    "LayerPlan",
    "Plan",
    "read_plan_file",
]
