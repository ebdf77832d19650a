# SPDX-License-Identifier: Apache-2.0
"""Blocked matrix products; its functions are for other extensions, by cimport."""
