/* SPDX-License-Identifier: Apache-2.0 */
/* Read before the C of a folder that may be anybody's, and empty: see FIRST in toolchain.py. */
