# SPDX-License-Identifier: Apache-2.0
"""What exporters write in many ways, in one: rules of operators that become others, or nothing."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from ...base.units import one_line
from ...importers.integer_graph import Refused
from ...importers.onnx.file import Node
from .evaluator import pads_of, pool_divisor
from .folding import Folding
from .nodes import made
from .operators import takes


class Spellings(Folding):
    """A rule for an operator is a method ``on_<name>``: True where it has added what stands for the node."""

    on_Identity = on_Dropout = Folding.alias

    def on_Cast(self, node: Node) -> bool:
        from onnx import TensorProto

        kind = TensorProto.DataType.Name(int(node.attributes["to"])).lower()
        if kind not in ("float", "double", "float16", "bfloat16"):
            raise Refused(f"a Cast to {kind} of what depends on an input")
        return self.alias(node)

    def shape(self, node: Node) -> bool:
        """All that give another shape are Reshape, which keeps the batch."""
        out = self.evaluator.apply(node, self.values)[0]
        source = node.inputs[0]
        before = next((one for one in self.nodes if source in one.outputs), None)
        if before is not None and before.op == "Reshape":
            source = before.inputs[0]  # what has lost the batch in between gets it back
        given = self.values[source]
        sizes = list(out.shape)
        if sizes == list(given.shape):
            self.renamed[node.outputs[0]] = source
            return True
        if sizes and given.shape and sizes[0] == given.shape[0] == 1:
            sizes[0] = -1
        target = self.constant(np.array(sizes, np.int64), f"{node.outputs[0]}/shape")
        self.emit(made("Reshape", [source, target], node.outputs, node.name))
        return True

    def reshaped(self, name: str, shape: Sequence[int], out: str, called: str) -> None:
        """A Reshape that keeps the batch of 1 where there is one."""
        sizes = [-1, *shape[1:]] if shape and shape[0] == 1 == self.values[name].shape[0] else list(shape)
        self.emit(made("Reshape", [name, self.constant(np.array(sizes, np.int64), out)], [out], called))

    on_Flatten = on_Reshape = on_Squeeze = on_Unsqueeze = shape

    def on_Gather(self, node: Node) -> bool:
        """Every element once, in the order of strides, as PyTorch's exporter writes views: a Transpose."""
        indices, x = self.known(node, 1), self.values[node.inputs[0]]
        axis = int(node.attributes.get("axis") or 0) % max(x.ndim, 1)
        if indices is None or axis != x.ndim - 1 or any(size != 1 for size in x.shape[:-1]):
            return False
        found = strides_of(indices.astype(np.int64), x.size)
        if found is None:
            return False
        sizes, order = found
        out, rank = node.outputs[0], len(sizes)
        parts, turned = f"{out}/parts", f"{out}/turned"
        source = node.inputs[0]
        before = next((one for one in self.nodes if source in one.outputs), None)
        if before is not None and before.op == "Reshape":
            source = before.inputs[0]
        self.reshaped(source, (1, *sizes), parts, node.name)
        perm = [0, *(at + 1 for at in order)]
        self.emit(made("Transpose", [parts], [turned], node.name, perm=perm if rank else [0]))
        self.reshaped(turned, self.evaluator.apply(node, self.values)[0].shape, out, node.name)
        return True

    def on_ConvTranspose(self, node: Node) -> bool:
        """One convolution for every place that an output has between inputs, and their outputs side by side."""
        weights, bias = self.known(node, 1), self.known(node, 2)
        x, out = self.values[node.inputs[0]], self.evaluator.apply(node, self.values)[0]
        rank = x.ndim - 2
        numbers = {key: [int(v) for v in node.attributes.get(key) or [1] * rank] for key in ("strides", "dilations")}
        has_bias = len(node.inputs) > 2 and node.inputs[2] != ""
        if weights is None or (has_bias and bias is None) or int(node.attributes.get("group") or 1) != 1:
            raise Refused("expected constant weights in one group")
        if rank not in (1, 2) or set(numbers["dilations"]) != {1}:
            raise Refused("expected 1-D or 2-D windows without dilation")
        own, name, stride = node.outputs[0], node.inputs[0], numbers["strides"]
        if rank == 1:
            self.reshaped(name, (1, x.shape[1], 1, x.shape[2]), f"{own}/image", node.name)
            name, weights, stride = f"{own}/image", weights[:, :, None], [1, *stride]
        size = (out.shape[2:] if rank == 2 else (1, out.shape[2]))
        before = transposed_pads(node, x.shape[2:], out.shape[2:], weights.shape[-rank:], stride[-rank:])
        self.phases(node, name, weights, bias, stride, size, before if rank == 2 else [0, *before])
        if rank == 1:
            self.reshaped(f"{own}/placed", out.shape, own, node.name)
        return True

    def phases(
        self, node: Node, name: str, weights: np.ndarray, bias: np.ndarray | None, stride: Sequence[int],
        size: Sequence[int], before: Sequence[int],
    ) -> None:  # fmt: skip
        """``y[s u + r] = sum over j of x[u - j] w[s j + r]``, every `r` an output channel."""
        own, (channels, count, *kernel) = node.outputs[0], weights.shape
        image = self.values[name].shape[2:]
        taps = [-(-k // s) for k, s in zip(kernel, stride, strict=True)]
        steps = [-(-(n + b) // s) for n, b, s in zip(size, before, stride, strict=True)]
        padded = np.zeros((channels, count, taps[0] * stride[0], taps[1] * stride[1]), np.float64)
        padded[:, :, : kernel[0], : kernel[1]] = weights
        split = padded.reshape(channels, count, taps[0], stride[0], taps[1], stride[1])[:, :, ::-1, :, ::-1]
        filters = split.transpose(1, 3, 5, 0, 2, 4).reshape(-1, channels, *taps)
        after = [u - n for u, n in zip(steps, image, strict=True)]
        inputs = [name, self.constant(filters, own)]
        if bias is not None:
            inputs.append(self.constant(np.repeat(bias.reshape(-1), prod(stride)), own))
        pads = [*(tap - 1 for tap in taps), *(max(more, 0) for more in after)]
        parts, turned, whole = f"{own}/phases", f"{own}/turned", f"{own}/whole"
        self.emit(made("Conv", inputs, [parts], node.name, pads=pads, kernel_shape=taps))
        rows, columns = self.values[parts].shape[2:]
        self.reshaped(parts, (1, count, *stride, rows, columns), f"{own}/split", node.name)
        self.emit(made("Transpose", [f"{own}/split"], [turned], node.name, perm=[0, 1, 4, 2, 5, 3]))
        self.reshaped(turned, (1, count, rows * stride[0], columns * stride[1]), whole, node.name)
        placed = own if len(self.values[node.inputs[0]].shape) == 4 else f"{own}/placed"
        ends = [b + n for b, n in zip(before, size, strict=True)]
        limits = [self.constant(np.array(values, np.int64), own) for values in (list(before), ends, [2, 3])]
        if self.network.opset >= 10:
            self.emit(made("Slice", [whole, *limits], [placed], node.name))
        else:
            self.emit(made("Slice", [whole], [placed], node.name, starts=list(before), ends=ends, axes=[2, 3]))

    def on_Expand(self, node: Node) -> bool:
        out = self.evaluator.apply(node, self.values)[0]
        if out.shape != self.values[node.inputs[0]].shape:
            raise Refused("a tensor that is repeated; Add, Mul and Concat repeat what they read by themselves")
        return self.alias(node)

    def on_BatchNormalization(self, node: Node) -> bool:
        if node.attributes.get("training_mode"):
            raise Refused("training_mode: expected 0; export after model.eval()")
        return False

    def on_Pad(self, node: Node) -> bool:
        pads = self.known(node, 1) if len(node.inputs) > 1 else node.attributes.get("pads")
        if pads is not None and not np.any(pads):
            return self.alias(node)
        return False

    def on_ReduceSum(self, node: Node) -> bool:
        """The mean, times how many."""
        axes = self.known(node, 1) if len(node.inputs) > 1 else node.attributes.get("axes")
        x, out = self.values[node.inputs[0]], self.evaluator.apply(node, self.values)[0]
        chosen = list(range(x.ndim)) if axes is None else [int(axis) % x.ndim for axis in np.atleast_1d(axes)]
        mean, keep = f"{node.outputs[0]}/mean", node.attributes.get("keepdims")
        keep = 1 if keep is None else int(keep)
        if self.network.opset >= 18:
            inputs = [node.inputs[0], self.constant(np.array(chosen, np.int64), mean)]
            self.emit(made("ReduceMean", inputs, [mean], node.name, keepdims=keep))
        else:
            self.emit(made("ReduceMean", node.inputs[:1], [mean], node.name, axes=chosen, keepdims=keep))
        count = self.constant(np.float32(x.size / out.size), mean)
        self.emit(made("Mul", [mean, count], node.outputs, node.name))
        return True

    def on_AveragePool(self, node: Node) -> bool:
        """Over the whole image, its mean. What counts less in some windows, and is no SAME, is scaled back."""
        x = self.values[node.inputs[0]]
        size = x.shape[2:]
        kernel = tuple(int(k) for k in node.attributes["kernel_shape"])
        out = self.evaluator.apply(node, self.values)[0]
        divisor = pool_divisor(node, size)
        if divisor.size == 1 and divisor.item() == prod(size):
            self.emit(made("GlobalAveragePool", node.inputs, node.outputs, node.name))
            return True
        if problem := takes(node, self.values, self.constants, self.is_wide):
            raise Refused(problem)
        stride = [int(s) for s in node.attributes.get("strides") or [1] * len(size)]
        if (divisor == prod(kernel)).all() and not node.attributes.get("ceil_mode"):
            return False
        before, after = [], []
        for axis in range(len(size)):
            span = (out.shape[2 + axis] - 1) * stride[axis] + kernel[axis] - size[axis]
            start = pads_of(node, size, kernel, stride)[axis][0]
            before.append(start)
            after.append(max(span - start, 0))
        plain = f"{node.outputs[0]}/counted"
        self.emit(made(
            "AveragePool", node.inputs, [plain], node.name, kernel_shape=kernel, strides=stride,
            pads=[*before, *after], count_include_pad=1,
        ))  # fmt: skip
        factor = self.constant(np.float32(prod(kernel)) / divisor, plain)
        self.emit(made("Mul", [plain, factor], node.outputs, node.name))
        return True

    def on_PRelu(self, node: Node) -> bool:
        """One slope is a LeakyRelu; one for each channel, what is above 0 and a factor for what is below."""
        slopes = self.known(node, 1)
        if slopes is None:
            raise Refused("slopes that are computed")
        if (slopes == slopes.flat[0]).all():
            self.emit(made("LeakyRelu", node.inputs[:1], node.outputs, node.name, alpha=float(slopes.flat[0])))
            return True
        x, out = node.inputs[0], node.outputs[0]
        shape = self.values[x].shape
        flat = np.broadcast_to(slopes, (1, *shape[1:]))
        above, below, scaled = f"{out}/above", f"{out}/below", f"{out}/scaled"
        self.emit(made("Relu", [x], [above], node.name))
        zero = self.constant(np.float32(0), below)
        self.emit(made("Min", [x, zero], [below], node.name))
        per_channel = flat.reshape(1, shape[1], -1)
        is_channel = (per_channel == per_channel[:, :, :1]).all()
        slopes = per_channel[:, :, 0].reshape(-1, *[1] * (len(shape) - 2)) if is_channel else flat
        self.emit(made("Mul", [below, self.constant(slopes, scaled)], [scaled], node.name))
        self.emit(made("Add", [above, scaled], [out], node.name))
        return True

    def on_HardSigmoid(self, node: Node) -> bool:
        """Of int16, where there are no tables: a factor, a summand, a clip."""
        if not self.is_wide:
            return False
        alpha, beta = (node.attributes.get(key) for key in ("alpha", "beta"))
        out = node.outputs[0]
        self.scaled(node, 0.2 if alpha is None else float(alpha), 0.5 if beta is None else float(beta), f"{out}/line")
        limits = [self.constant(np.float32(limit), out) for limit in (0, 1)]
        self.emit(made("Clip", [f"{out}/line", *limits], [out], node.name))
        return True

    def on_HardSwish(self, node: Node) -> bool:
        if not self.is_wide:
            return False
        gate = f"{node.outputs[0]}/gate"
        self.on_HardSigmoid(made("HardSigmoid", node.inputs, [gate], node.name, alpha=1 / 6, beta=0.5))
        self.emit(made("Mul", [node.inputs[0], gate], node.outputs, node.name))
        return True

    def on_Neg(self, node: Node) -> bool:
        if self.is_wide:
            self.scaled(node, -1.0, 0.0, node.outputs[0])
        return self.is_wide

    def on_Mul(self, node: Node) -> bool:
        """Of int16, a number is one for each channel."""
        numbers = [self.constants[name] for name in node.inputs if name in self.constants]
        if not self.is_wide or len(numbers) != 1 or numbers[0].size != 1:
            return False
        value = float(numbers[0].reshape(-1)[0])
        is_swapped = node.inputs[0] in self.constants
        if node.op == "Div" and (is_swapped or not value):
            return False
        scale = {"Mul": value, "Div": 1 / value if value else 0, "Sub": -1.0 if is_swapped else 1.0}.get(node.op, 1.0)
        shift = {"Add": value, "Sub": value if is_swapped else -value}.get(node.op, 0.0)
        source = next(name for name in node.inputs if name not in self.constants)
        if self.values[source].ndim < 2 or numbers[0].ndim > self.values[source].ndim:
            return False
        self.scaled(made(node.op, [source], node.outputs, node.name), scale, shift, node.outputs[0])
        return True

    on_Add = on_Div = on_Sub = on_Mul

    def scaled(self, node: Node, scale: float, shift: float, out: str) -> None:
        """A factor and a summand, as those of each channel."""
        count = self.values[node.inputs[0]].shape[1]
        numbers = (scale, shift, 0.0, 1.0)
        names = [self.constant(np.full(count, number, np.float32), out) for number in numbers]
        self.emit(made("BatchNormalization", [node.inputs[0], *names], [out], node.name, epsilon=0.0))

    def on_LogSoftmax(self, node: Node) -> bool:
        if node.outputs[0] not in self.network.outputs:
            raise Refused("LogSoftmax in the middle: at the end it is taken as a softmax")
        name = one_line(node.outputs[0])
        self.notes.append(f"{name}: LogSoftmax: what comes out are the probabilities, without the logarithm")
        given = node.attributes.get("axis")
        axis = given if given is not None else -1 if self.network.opset >= 13 else 1
        self.emit(made("Softmax", node.inputs, node.outputs, node.name, axis=int(axis)))
        return True

    def on_Gemm(self, node: Node) -> bool:
        """Factors in the constants."""
        weights = self.known(node, 1)
        alpha, beta = (float(1 if (v := node.attributes.get(key)) is None else v) for key in ("alpha", "beta"))
        if weights is None or node.attributes.get("transA"):
            raise Refused("expected constant weights, and a first input that is not transposed")
        weights = alpha * (weights.T if node.attributes.get("transB") else weights)
        inputs = [node.inputs[0], self.constant(weights, f"{node.outputs[0]}/weights")]
        if len(node.inputs) > 2 and node.inputs[2]:
            bias = self.known(node, 2)
            if bias is None or bias.size not in (1, weights.shape[1]):
                raise Refused("expected a constant bias, one number for each output")
            full = beta * np.broadcast_to(bias.reshape(-1), weights.shape[1:])
            inputs.append(self.constant(full, f"{node.outputs[0]}/bias"))
        self.emit(made("Gemm", inputs, node.outputs, node.name))
        return True

    def on_Sum(self, node: Node) -> bool:
        return self.nested(node, "Add")

    def on_Max(self, node: Node) -> bool:
        return self.nested(node, node.op)

    on_Min = on_Max

    def nested(self, node: Node, op: str) -> bool:
        """Of several tensors, pair by pair."""
        if len(node.inputs) == 1:
            return self.alias(node)
        if len(node.inputs) == 2 and node.op == op:
            return False
        current = node.inputs[0]
        for at, name in enumerate(node.inputs[1:], 2):
            out = node.outputs[0] if at == len(node.inputs) else f"{node.outputs[0]}/{at}"
            self.emit(made(op, [current, name], [out], node.name))
            current = out
        return True


def strides_of(indices: np.ndarray, count: int) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
    """Sizes of an array of `count` elements, and the order of its axes that gives these indices; None if none does."""
    if indices.size != count or not np.array_equal(np.sort(indices, axis=None), np.arange(count)):
        return None
    axes = [axis for axis, size in enumerate(indices.shape) if size > 1]
    first = [int(np.take(indices, 1, axis).flat[0] - indices.flat[0]) for axis in axes]
    order = sorted(range(len(axes)), key=lambda at: -first[at])
    sizes = tuple(indices.shape[axes[at]] for at in order)
    turned = tuple(order.index(at) for at in range(len(axes)))
    if not np.array_equal(np.arange(count).reshape(sizes).transpose(turned).ravel(), indices.ravel()):
        return None
    return sizes, turned


def transposed_pads(
    node: Node, size: Sequence[int], out: Sequence[int], kernel: Sequence[int], stride: Sequence[int]
) -> list[int]:
    """What is cut off in front of each axis of a ConvTranspose."""
    rank = len(size)
    auto, given = node.attributes.get("auto_pad") or "NOTSET", node.attributes.get("output_shape")
    if auto == "NOTSET" and not given:
        return [int(value) for value in (node.attributes.get("pads") or [0] * 2 * rank)[:rank]]
    more = [int(value) for value in node.attributes.get("output_padding") or [0] * rank]
    cut = [s * (n - 1) + m + k - o for s, n, m, k, o in zip(stride, size, more, kernel, out, strict=True)]
    return [0 if auto == "VALID" else total - total // 2 if auto == "SAME_LOWER" else total // 2 for total in cut]
