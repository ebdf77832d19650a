# SPDX-License-Identifier: Apache-2.0
"""Arm's own kernels, judged: which calls of CMSIS-NN 5.4.0 would be right for a model, or are, in existing firmware."""
