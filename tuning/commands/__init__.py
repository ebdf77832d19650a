# SPDX-License-Identifier: Apache-2.0
"""The sub-commands of ``cmsisnn-tune``, one module each: options and printing, no work of their own."""
