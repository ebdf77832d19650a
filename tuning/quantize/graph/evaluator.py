# SPDX-License-Identifier: Apache-2.0
"""Float ONNX nodes on batches of samples: what integers are held against.

`onnx.reference` says what every operator gives. It is slow where it counts, so convolutions, pools and a few functions
are computed here, in the same order of the sums whatever the machine. ONNX Runtime is not asked even where it is there:
scales would depend on its version and on the processor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from cmsisnn_x._arguments import same_padding

from ...importers.onnx.file import Node
from ...importers.onnx.quantised.moves import pixels_of

CHUNK_BYTES = 32 << 20
"""Columns of a convolution that are held at once."""
Arrays = list[np.ndarray]


class Evaluator:
    """Nodes in order of execution, run by name.

    Parameters
    ----------
    nodes : sequence of Node
    constants : mapping of str to ndarray
    opset : int
    """

    def __init__(self, nodes: Sequence[Node], constants: Mapping[str, np.ndarray], opset: int) -> None:
        self.nodes, self.constants, self.opset = tuple(nodes), constants, opset
        self._compiled: dict[int, tuple[Node, Any]] = {}
        """By identity; the nodes are held, so that no other gets theirs."""

    def run(self, given: Mapping[str, np.ndarray], nodes: Iterable[Node] | None = None) -> dict[str, np.ndarray]:
        """All tensors that `nodes`, by default all, make of those that are given, and these."""
        values = dict(given)
        # Whoever looks at the values sees the infinities; a warning per operation would add nothing.
        with np.errstate(all="ignore"):
            for node in self.nodes if nodes is None else nodes:
                values.update(zip(node.outputs, self.apply(node, values), strict=False))
        return values

    def apply(self, node: Node, values: Mapping[str, np.ndarray]) -> Arrays:
        """The outputs of one node."""
        inputs = [
            None if not name else values[name] if name in values else self.constants[name] for name in node.inputs
        ]
        fast = _FAST.get(node.op)
        found = None if fast is None else fast(node, self.opset, *inputs)
        if found is None:
            given = {name: value for name, value in zip(node.inputs, inputs, strict=True) if value is not None}
            made = self._reference(node).run([name for name in node.outputs if name], given)
            found = [made.pop(0) if name else None for name in node.outputs]
        several = found if isinstance(found, list | tuple) else [found]
        return [np.asarray(0.0 if one is None else one) for one in several]

    def _reference(self, node: Node) -> Any:
        if id(node) not in self._compiled:
            from onnx import TensorProto, helper
            from onnx.reference import ReferenceEvaluator

            given, results = (
                [helper.make_tensor_value_info(name, TensorProto.UNDEFINED, None) for name in sorted({*names} - {""})]
                for names in (node.inputs, node.outputs)
            )
            graph = helper.make_graph([node.proto], "node", given, results)
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", self.opset)])
            self._compiled[id(node)] = node, ReferenceEvaluator(model)
        return self._compiled[id(node)][1]


# ---------------------------------------------------------------- windows


def pads_of(node: Node, size: Sequence[int], span: Sequence[int], stride: Sequence[int]) -> list[tuple[int, int]]:
    """Padding before and after, of each axis."""
    auto, rank = node.attributes.get("auto_pad") or "NOTSET", len(size)
    if auto == "NOTSET":
        given = [int(value) for value in node.attributes.get("pads") or [0] * 2 * rank]
        return list(zip(given[:rank], given[rank:], strict=True))
    if auto == "VALID":
        return [(0, 0)] * rank
    found = []
    for axis in range(rank):
        half, total = same_padding(size[axis], span[axis], stride[axis])
        found.append((half, total - half) if auto == "SAME_UPPER" else (total - half, half))
    return found


def _numbers(node: Node, name: str, rank: int) -> list[int]:
    return [int(value) for value in node.attributes.get(name) or [1] * rank]


def _conv(node: Node, opset: int, x: Any, weights: Any, bias: Any = None) -> np.ndarray:
    rank, groups = x.ndim - 2, int(node.attributes.get("group") or 1)
    kernel, size = weights.shape[2:], x.shape[2:]
    stride, dilation = _numbers(node, "strides", rank), _numbers(node, "dilations", rank)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    pads = pads_of(node, size, span, stride)
    padded = np.pad(np.asarray(x, np.float32), [(0, 0), (0, 0), *pads])
    step = (slice(None), slice(None), *(slice(None, None, every) for every in (*stride, *dilation)))
    windows = sliding_window_view(padded, tuple(span), axis=tuple(range(2, 2 + rank)))[step]
    out_size, out_ch = windows.shape[2 : 2 + rank], len(weights)
    made = np.empty((len(x), out_ch, *out_size), np.float32)
    each_in, each_out = weights.shape[1], out_ch // groups
    flat = np.asarray(weights, np.float32).reshape(groups, each_out, -1)
    chunk = max(1, CHUNK_BYTES // max(1, 4 * x.shape[1] * prod(kernel) * prod(out_size)))
    for start in range(0, len(x), chunk):
        part = windows[start : start + chunk]
        if each_in == 1 and each_out == 1:
            lone = flat.reshape(out_ch, *kernel)
            sums = np.zeros((len(part), out_ch, *out_size), np.float32)
            for place in np.ndindex(*kernel):
                sums += part[(..., *place)] * lone[(slice(None), *place)].reshape(-1, *[1] * rank)
            made[start : start + chunk] = sums
            continue
        for group in range(groups):
            own = part[:, group * each_in : (group + 1) * each_in]
            columns = np.moveaxis(own, 1, 1 + rank).reshape(len(part) * prod(out_size), -1)
            found = (columns @ flat[group].T).reshape(len(part), *out_size, each_out)
            made[start : start + chunk, group * each_out : (group + 1) * each_out] = np.moveaxis(found, -1, 1)
    if bias is not None:
        made += np.asarray(bias, np.float32).reshape(-1, *[1] * rank)
    return made


def pool_counts(node: Node, size: Sequence[int]) -> list[tuple[int, int, int]]:
    """Windows, and padding before and after, of each axis of a pool."""
    rank = len(size)
    kernel, stride = _numbers(node, "kernel_shape", rank), _numbers(node, "strides", rank)
    dilation = _numbers(node, "dilations", rank)
    span = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    found = []
    for axis, (before, after) in enumerate(pads_of(node, size, span, stride)):
        room = size[axis] + before + after - span[axis]
        count = (-(-room // stride[axis]) if node.attributes.get("ceil_mode") else room // stride[axis]) + 1
        # A last window that would start in the padding is dropped.
        count -= (count - 1) * stride[axis] >= size[axis] + before
        found.append((count, before, after))
    return found


def _taps(node: Node, x: np.ndarray, fill: float) -> tuple[list[np.ndarray], list[tuple[int, int, int]]]:
    """What each element of the window meets."""
    rank = x.ndim - 2
    kernel, stride, dilation = (_numbers(node, name, rank) for name in ("kernel_shape", "strides", "dilations"))
    counts = pool_counts(node, x.shape[2:])
    pads = []
    for axis, (count, before, _) in enumerate(counts):
        reach = (count - 1) * stride[axis] + (kernel[axis] - 1) * dilation[axis] + 1
        pads.append((before, max(reach - x.shape[2 + axis] - before, 0)))
    padded = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    found = []
    for place in np.ndindex(*kernel):
        index = [slice(None), slice(None)]
        for axis, (count, _, _) in enumerate(counts):
            start = place[axis] * dilation[axis]
            index.append(slice(start, start + (count - 1) * stride[axis] + 1, stride[axis]))
        found.append(padded[tuple(index)])
    return found, counts


def _max_pool(node: Node, opset: int, x: Any) -> np.ndarray | None:
    if len(node.outputs) > 1 or node.attributes.get("storage_order"):
        return None
    taps, _ = _taps(node, np.asarray(x, np.float32), -np.inf)
    result = taps[0]
    for tap in taps[1:]:
        result = np.maximum(result, tap)
    return np.ascontiguousarray(result)


def _average_pool(node: Node, opset: int, x: Any) -> np.ndarray:
    total = sum(_taps(node, np.asarray(x, np.float32), 0)[0])
    return np.asarray(total / pool_divisor(node, x.shape[2:]), np.float32)


def pool_divisor(node: Node, size: Sequence[int]) -> np.ndarray:
    """How many elements of each window are counted, with two axes of 1 in front."""
    rank = len(size)
    kernel, stride, dilation = (_numbers(node, name, rank) for name in ("kernel_shape", "strides", "dilations"))
    result = np.ones((1,) * (2 + rank), np.float32)
    for axis, (count, before, after) in enumerate(pool_counts(node, size)):
        places = np.arange(count)[:, None] * stride[axis] + np.arange(kernel[axis]) * dilation[axis] - before
        # Beyond the padding, where windows are rounded up, nothing is counted.
        low, high = (-before, size[axis] + after) if node.attributes.get("count_include_pad") else (0, size[axis])
        inside = ((places >= low) & (places < high)).sum(axis=1)
        result = result * inside.reshape([-1 if at == 2 + axis else 1 for at in range(2 + rank)])
    return np.asarray(result, np.float32)


def _global_average(node: Node, opset: int, x: Any) -> np.ndarray:
    return np.asarray(x.mean(axis=tuple(range(2, x.ndim)), keepdims=True, dtype=np.float64), np.float32)


def _resize(node: Node, opset: int, x: Any, *inputs: Any) -> np.ndarray | None:
    """To the nearest, of images, whatever the batch; `onnx.reference` takes the pixel before where floor is exact."""
    mode = node.attributes.get("mode") or "nearest"
    place = 2 if node.op == "Resize" and opset > 10 else 1
    given = [None, x, *inputs][1:]
    sizes = given[3] if node.op == "Resize" and opset > 10 and len(given) > 3 else None
    scales = given[place] if len(given) > place else node.attributes.get("scales")
    if mode != "nearest" or x.ndim != 4 or node.attributes.get("axes") is not None:
        return None
    for axis in (2, 3):
        size = x.shape[axis]
        if sizes is not None and np.size(sizes) == 4:
            out = int(np.asarray(sizes)[axis])
            scale = out / size
        elif scales is not None and np.size(scales) == 4:
            scale = float(np.asarray(scales)[axis])
            out = int(np.floor(size * scale))
        else:
            return None
        x = np.take(x, pixels_of(node, size, out, scale), axis=axis)
    return np.ascontiguousarray(x)


def _sigmoid(node: Node, opset: int, x: Any) -> np.ndarray:
    return np.asarray(0.5 * (1 + np.tanh(0.5 * np.asarray(x, np.float64))), np.float32)


def _normalised(node: Node, opset: int, x: Any, gamma: Any, beta: Any, mean: Any, variance: Any) -> np.ndarray:
    """By the stored statistics; `onnx.reference` takes those of the batch up to opset 13."""
    epsilon = node.attributes.get("epsilon")
    deviation = np.sqrt(np.asarray(variance, np.float64) + (1e-5 if epsilon is None else float(epsilon)))
    scale = np.asarray(gamma, np.float64) / deviation
    shape = (-1, *[1] * (x.ndim - 2))
    made = (x - np.reshape(mean, shape)) * scale.reshape(shape) + np.reshape(beta, shape)
    return np.asarray(made, np.float32)


_FAST: dict[str, Callable[..., Any]] = {
    "AveragePool": _average_pool,
    "BatchNormalization": _normalised,
    "Conv": _conv,
    "GlobalAveragePool": _global_average,
    "GlobalMaxPool": lambda node, opset, x: x.max(axis=tuple(range(2, x.ndim)), keepdims=True),
    "MaxPool": _max_pool,
    "Relu": lambda node, opset, x: np.maximum(x, np.float32(0)),
    "Resize": _resize,
    "Sigmoid": _sigmoid,
    "Upsample": _resize,
}
"""Operator -> its outputs, or None where `onnx.reference` has to be asked."""
