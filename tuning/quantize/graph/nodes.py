# SPDX-License-Identifier: Apache-2.0
"""ONNX nodes of our own, and those of files with other inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from ...importers.onnx.file import Node


def made(op: str, inputs: Sequence[str], outputs: Sequence[str], name: str = "", **attributes: Any) -> Node:
    """A node of our own."""
    from onnx import helper

    kept = {key: value for key, value in attributes.items() if value is not None}
    proto = helper.make_node(op, list(inputs), list(outputs), name=name, **kept)
    return Node(op, name, tuple(inputs), tuple(outputs), kept, proto)


def with_inputs(node: Node, inputs: Sequence[str]) -> Node:
    """The same node of other tensors."""
    if tuple(inputs) == node.inputs:
        return node
    from onnx import NodeProto

    proto = NodeProto()
    proto.CopyFrom(node.proto)
    del proto.input[:]
    proto.input.extend(inputs)
    return replace(node, inputs=tuple(inputs), proto=proto)
