# SPDX-License-Identifier: Apache-2.0
"""What reading the arrays of a damaged or foreign file raises."""

from __future__ import annotations

import struct
import zipfile
import zlib
from lzma import LZMAError
from tokenize import TokenError

DAMAGED = (
    *(OSError, EOFError, ValueError, TypeError, RuntimeError, struct.error),
    *(zipfile.BadZipFile, zlib.error, LZMAError),
    *(SyntaxError, TokenError),
)
"""RuntimeError stands for encryption, unknown compression and nesting; NumPy reads headers as tokens of Python."""
