# SPDX-License-Identifier: Apache-2.0
"""Fitting the estimate to emulated runs, and a board file to a board's own counts."""
