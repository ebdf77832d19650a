# SPDX-License-Identifier: Apache-2.0
"""What every part of the tool stands on: errors, files, names, units, words of options, YAML with line numbers."""
