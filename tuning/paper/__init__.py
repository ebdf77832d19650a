# SPDX-License-Identifier: Apache-2.0
"""The paper's results made anew."""
