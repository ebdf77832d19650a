# SPDX-License-Identifier: Apache-2.0
"""A float network in fixed point, q7 or q15: fraction bits for every tensor, and its files."""
