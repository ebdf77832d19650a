# SPDX-License-Identifier: Apache-2.0
"""What kernels and firmware do when they run: one layer's variants, whole folders, and the records of both."""
