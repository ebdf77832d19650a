# SPDX-License-Identifier: Apache-2.0
"""Partial im2col; its functions are for other extensions, by cimport."""
