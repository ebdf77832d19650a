# SPDX-License-Identifier: Apache-2.0
"""The float file that a model names, which holds the network that its integers approximate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..base.damaged import DAMAGED
from ..base.errors import ModelError
from .affine import twin
from .fixed_point.reference import Reference, reference_of
from .graph import twin as graph_twin

if TYPE_CHECKING:
    from ..model import Model

_DAMAGE = (*DAMAGED, LookupError, AttributeError)
"""What NumPy, and whoever looks into its arrays, raises on archives that are no such file."""


def load_reference(model: Model) -> Reference:
    """Read the float file that `model` names (the docstring of :mod:`tuning.quantize` describes it).

    Raises
    ------
    ModelError
        The model names none, or the file does not belong to the model.
    """
    if model.float_path is None:
        raise ModelError(
            f"{model.path}: no float network to compare with: expected the key 'float' with the npz file that "
            f"cmsisnn-quantize writes beside the model"
        )
    return reference_of(_content(model.float_path, model), model.float_path.name, model.layers)


def load_twin(model: Model) -> twin.Twin | graph_twin.GraphTwin:
    """Read the float file that a model with zero points names.

    Raises
    ------
    ModelError
        The file is no such file, or holds no network.
    """
    assert model.float_path is not None
    path = model.float_path
    content = _content(path, model)
    try:
        if graph_twin.KEY in content:
            return graph_twin.twin_of(content, path.name)
        return twin.twin_of(content)
    except ModelError as problem:
        raise ModelError(f"{path}: {problem}") from None
    except _DAMAGE as problem:
        raise _damaged(path, problem) from None


def _content(path: Path, model: Model) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise ModelError(f"{path}: no such file; it is named by 'float' in {model.path}") from None
    except _DAMAGE as problem:
        raise _damaged(path, problem) from None


def _damaged(path: Path, problem: BaseException) -> ModelError:
    return ModelError(f"{path}: expected the npz file of cmsisnn-quantize, got one that cannot be read: {problem}")
