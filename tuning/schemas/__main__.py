# SPDX-License-Identifier: Apache-2.0
"""``python -m tuning.schemas``: write the generated schema beside this file."""

from pathlib import Path

from . import model_schema, text

Path(__file__).with_name("model-1.json").write_text(text(model_schema()), encoding="utf-8", newline="\n")
