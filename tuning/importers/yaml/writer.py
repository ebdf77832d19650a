# SPDX-License-Identifier: Apache-2.0
"""The other way round: operators of `.tflite` files as a model file with zero points, and the arrays of its archive.

Layers are called as their operators, and where these have no name as the graph of the `.tflite` file calls them. Read
back, the file gives the same graph.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...base.errors import ModelError
from ...base.names import model_name_problem
from ..integer_graph import Refused
from ..tflite.file import FileModel
from .forms import FORMS
from .text import NeedsBatch, Writer


def write_yaml_graph(
    file: FileModel, name: str, archive: str | None = None, extra: Mapping[str, str] | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """A model file.

    Parameters
    ----------
    file : FileModel
        A quantised network; what is float at its border is left out.
    name : str
        What the network is called in C.
    archive : str, optional
        The file of the arrays, as the text names it; default: ``<name>.npz``.
    extra : mapping of str to str, optional
        Further keys of the file.

    Returns
    -------
    text : str
        YAML.
    arrays : dict of str to np.ndarray
        What belongs into the archive.

    Raises
    ------
    ModelError
        The network holds what model files have no words for.
    """
    if problem := model_name_problem(name):
        raise ModelError(f"name: {problem}")
    try:
        try:
            return Writer(file, name, 1, archive, extra).text(FORMS)
        except NeedsBatch:
            return Writer(file, name, 0, archive, extra).text(FORMS)
    except Refused as problem:
        raise ModelError(f"{file.path}: a model file has no form for {problem}") from None
