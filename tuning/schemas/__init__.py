# SPDX-License-Identifier: Apache-2.0
"""The published JSON Schemas: `model-1.json` gives editors completion, `plan-2.json` is what plan.json keeps to.

``python -m tuning.schemas`` writes `model-1.json` anew from the model file's definition; a test holds the two together.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def model_schema() -> dict[str, Any]:
    """The JSON Schema of a model file, generated from its definition: of q7 and q15, or with zero points."""
    from pydantic import TypeAdapter

    from ..model.int8_schema import Int8File
    from ..model.schema import ModelFile

    schema = TypeAdapter(ModelFile | Int8File).json_schema(by_alias=True)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "cmsisnn-x model file", **schema}


def text(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=1) + "\n"


def published(name: str) -> dict[str, Any]:
    """The schema that is installed with the package, by name, such as ``"plan-2"``."""
    return json.loads(Path(__file__).with_name(f"{name}.json").read_text(encoding="utf-8"))
