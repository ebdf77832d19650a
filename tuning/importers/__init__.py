# SPDX-License-Identifier: Apache-2.0
"""Readers of other tools' model files, a folder for each format, and what they make: float and integer networks.

In each folder `reader.py` is what others ask first, `writer.py` the other way round.
"""
