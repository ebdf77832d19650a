# SPDX-License-Identifier: Apache-2.0
"""A whole network on the host: weights packed once, one C call per image or per thread."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable
from dataclasses import replace
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np

from ._executor import Call, Counter, Executor
from .arena import Life, aligned, place, size_of
from .checks import checked_constants, require
from .errors import CmsisnnError, DtypeError, ShapeError
from .graph import Graph, Node, State, Tensor
from .layers import NUMPY_DTYPES, Layer

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

ALIGNMENT = 64
"""Bytes: of the tensors between nodes."""
Shape = tuple[int, ...]


class Network:
    """A network with packed weights.

    Parameters
    ----------
    layers : iterable of Layer, or Graph
        A sequential network in order, as ``tuning.load_model(...).layers`` gives it: every layer takes its
        predecessor's output. Or a graph, with any number of inputs, outputs and readers.
    isa : str, optional
        Instruction set, one of those that :func:`cmsisnn_x.show_config` lists; default: ``CMSISNN_X_ISA``, else the
        best that this processor runs.

    Attributes
    ----------
    graph : Graph
    layers : tuple of Layer
        Of the nodes, in order of execution.
    inputs, outputs : tuple of Tensor
        What :meth:`run` takes and gives.
    input_shape, output_shape : tuple of int
        Of the first input and output, one sample.
    input_dtype, output_dtype : numpy.dtype
        Of the first input and output.

    Raises
    ------
    CmsisnnError
        A layer does not follow from its predecessor, or has no kernel; `isa` is not one of this machine's.

    Notes
    -----
    A network may be run by any number of threads at once. Results equal those of the single functions, bit for bit.

    One with states remembers them from one sample to the next, until :meth:`reset`; samples of a batch run in order.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> from cmsisnn_x.layers import Layer
    >>> network = cmsisnn_x.Network([Layer("act", "relu", "q7", (4,), (4,))])
    >>> network.run(np.array([-2, -1, 0, 1], np.int8))
    array([0, 0, 0, 1], dtype=int8)
    """

    def __init__(self, layers: Iterable[Layer] | Graph, *, isa: str | None = None) -> None:
        self._given: tuple[Layer, ...] | Graph = layers if isinstance(layers, Graph) else tuple(layers)
        self._asked_isa = isa
        self._executor = Executor(isa)
        if isinstance(self._given, Graph):
            self.graph = self._given
            self.graph.verify()
        else:
            for layer in self._given:
                known = f"dtype in {', '.join(NUMPY_DTYPES)}"
                require(layer, layer.dtype in NUMPY_DTYPES, known, repr(layer.dtype), DtypeError)
            self.graph = Graph.chain(self._given)
        graph = self.graph
        self.layers = tuple(node.layer for node in graph.nodes)
        if not self.layers:
            raise CmsisnnError("layers: expected at least one layer, got none")
        self.inputs: tuple[Tensor, ...] = tuple(graph.tensors[name] for name in graph.inputs)
        self.outputs: tuple[Tensor, ...] = tuple(graph.tensors[name] for name in graph.outputs)
        self._states = {state.read: np.array(_initial(graph, state)) for state in graph.states}
        self._lock = threading.Lock()
        places, size = _places(graph, self._states)
        for node in graph.nodes:
            graph.check(node)
            _append(self._executor, node)
            _connect(self._executor, node, graph, places)
        self._executor.finish([one.bytes for one in self.inputs], [one.bytes for one in self.outputs], size)
        self._executor.remember([(places[state.write], self._states[state.read]) for state in graph.states])
        # What no node writes, or is asked for twice.
        self._copied = {at: places[name] for at, name in enumerate(graph.outputs) if places[name] != ("output", at)}
        self.input_shape, self.output_shape = self.inputs[0].shape, self.outputs[0].shape
        self.input_dtype, self.output_dtype = self.inputs[0].type.dtype, self.outputs[0].type.dtype
        self._call = self._short_cut()
        self._pool: ThreadPoolExecutor | None = None
        self._pool_owner = (0, 0)

    def __repr__(self) -> str:
        names = ", ".join(layer.name for layer in self.layers)
        return f"<Network {self.layers[0].dtype} {self.input_shape} -> {self.output_shape}, {self.isa}: {names}>"

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return self._executor.isa_name

    def run(self, x: Any, *, threads: int = 1) -> Any:
        """Run one sample or a batch.

        Parameters
        ----------
        x : ndarray, or tuple of ndarray where the network has several inputs
            int8 (q7, int8), uint8 or int16 (q15, int16), as the inputs are. Shape `input_shape`, or
            ``(n, *input_shape)`` for a batch. Of a graph, a leading 1 of the shape may be missing.
        threads : int
            Threads that share a batch; one sample always runs on the calling thread.

        Returns
        -------
        ndarray, or tuple of ndarray where the network has several outputs
            Shape `output_shape`, or ``(n, *output_shape)``; without its leading 1 where `x` came without it.

        Raises
        ------
        ValueError
            `x` does not fit the inputs, or `threads` is not positive.
        """
        if self._call is not None and (out := self._call.run(x)) is not None:
            return out
        inputs, samples, is_short = self._checked(x)
        threads = 1 if samples is None or self._states else _positive(threads)
        count = 1 if samples is None else samples
        outputs = [_empty(tensor, samples, is_short) for tensor in self.outputs]
        if self._states:
            with self._lock:
                self._executor.run(inputs, outputs, count)
        elif (threads := min(threads, count)) <= 1:
            self._executor.run(inputs, outputs, count)
        else:
            counter = Counter()
            pool = self._thread_pool(threads - 1)
            arguments = (inputs, outputs, count, counter)
            helpers = [pool.submit(self._executor.share, *arguments) for _ in range(threads - 1)]
            self._executor.share(*arguments)
            for helper in helpers:
                helper.result()
        for at, (where, source) in self._copied.items():
            value = source if where in ("constant", "state") else (inputs if where == "input" else outputs)[source]
            alike = _empty_shape(self.outputs[at], None if where in ("constant", "state") else samples, is_short)
            outputs[at][...] = value.reshape(alike)
        return outputs[0] if len(outputs) == 1 else tuple(outputs)

    def _short_cut(self) -> Call | None:
        """One sample without what several tensors or states ask for."""
        if len(self.inputs) > 1 or len(self.outputs) > 1 or self._states or self._copied:
            return None
        source, target = self.inputs[0], self.outputs[0]
        images = [(source.shape, target.shape)]
        if isinstance(self._given, Graph):
            images.append((_short(source.shape), _short(target.shape)))
        return Call(self._executor, images, self.input_dtype, self.output_dtype)

    def trace(self, x: Any) -> dict[str, np.ndarray]:
        """Every node's output.

        Parameters
        ----------
        x : ndarray, or tuple of ndarray
            As for :meth:`run`.

        Returns
        -------
        dict
            Name of the node, that of its layer -> array of the shape of its output, or ``(n, *shape)``, in order of
            execution.

        Raises
        ------
        ValueError
            `x` does not fit the inputs.
        """
        inputs, samples, is_short = self._checked(x)
        count = 1 if samples is None else samples
        tensors = self.graph.tensors
        given = {
            tensor.name: value.reshape(count, prod(tensor.shape))
            for tensor, value in zip(self.inputs, inputs, strict=True)
        }
        written = [tensors[node.outputs[0]] for node in self.graph.nodes]
        found = [np.empty((count, prod(tensor.shape)), tensor.type.dtype) for tensor in written]
        values = {tensor.name: value for tensor, value in zip(written, found, strict=True)} | given
        constants = {name: _constant(tensor) for name, tensor in tensors.items() if tensor.value is not None}
        with self._lock:
            for sample in range(count):
                now = {name: value[sample] for name, value in values.items()} | self._states | constants
                for index, node in enumerate(self.graph.nodes):
                    self._executor.run_step(index, [now[name] for name in node.inputs], found[index][sample])
                for state in self.graph.states:
                    self._states[state.read][...] = now[state.write].reshape(self._states[state.read].shape)
        return {
            node.name: value.reshape(_empty_shape(tensor, samples, is_short))
            for node, tensor, value in zip(self.graph.nodes, written, found, strict=True)
        }

    def reset(self) -> None:
        """Forget all runs: what the network remembers between them is as it was before the first."""
        with self._lock:
            for state in self.graph.states:
                self._states[state.read][...] = np.reshape(state.initial, self._states[state.read].shape)

    def _checked(self, x: Any) -> tuple[list[np.ndarray], int | None, bool]:
        """`x` as contiguous arrays, the number of samples of a batch, and whether shapes lack their leading 1."""
        arrays = [x]
        if len(self.inputs) > 1:
            if not isinstance(x, tuple | list) or len(x) != len(self.inputs):
                raise ShapeError(f"x: expected a tuple of {len(self.inputs)} arrays, got {_kind(x)}")
            arrays = list(x)
        for at, (tensor, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            if not isinstance(array, np.ndarray) or not array.flags.c_contiguous:
                arrays[at] = array = np.ascontiguousarray(array)
            if array.dtype != tensor.type.dtype:
                expected = f"{tensor.type.dtype} for an input of {tensor.type.name}"
                raise DtypeError(f"{self._input_name(at)}: expected {expected}, got {array.dtype}")
        for is_short in (False, True) if isinstance(self._given, Graph) else (False,):
            shapes = [_short(tensor.shape) if is_short else tensor.shape for tensor in self.inputs]
            if all(array.shape == shape for array, shape in zip(arrays, shapes, strict=True)):
                return arrays, None, is_short
            samples = {
                len(array) if array.ndim and array.shape[1:] == shape else -1
                for array, shape in zip(arrays, shapes, strict=True)
            }
            if len(samples) == 1 and -1 not in samples:
                return arrays, samples.pop(), is_short
        for at, (tensor, array) in enumerate(zip(self.inputs, arrays, strict=True)):
            legal = (tensor.shape, _short(tensor.shape)) if isinstance(self._given, Graph) else (tensor.shape,)
            if array.shape not in legal and array.shape[1:] not in legal:
                batch = f"(n, {', '.join(map(str, tensor.shape))})"
                raise ShapeError(f"{self._input_name(at)}: expected shape {tensor.shape} or {batch}, got {array.shape}")
        raise ShapeError(f"x: expected as many samples of every input, got {[array.shape for array in arrays]}")

    def _input_name(self, at: int) -> str:
        return "x" if len(self.inputs) == 1 else f"x[{at}]"

    def _thread_pool(self, threads: int) -> ThreadPoolExecutor:
        from concurrent.futures import ThreadPoolExecutor

        # A forked child inherits the object without its threads: the process id belongs to the key.
        owner = (os.getpid(), threads)
        if self._pool is None or self._pool_owner != owner:
            self._pool = ThreadPoolExecutor(threads, thread_name_prefix="cmsisnn_x")
            self._pool_owner = owner
        return self._pool

    def __getstate__(self) -> dict[str, object]:
        # Packed weights belong to this processor; the copy packs them for its own.
        return {"layers": self._given, "isa": self._asked_isa}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["layers"], isa=state["isa"])  # type: ignore[misc]


def _kind(x: object) -> str:
    return f"{len(x)} of them" if isinstance(x, tuple | list) else type(x).__name__


def _positive(threads: object) -> int:
    if not isinstance(threads, int | np.integer) or threads < 1:
        raise CmsisnnError(f"threads: expected a positive integer, got {threads!r}")
    return int(threads)


def _short(shape: Shape) -> Shape:
    """Without a leading 1, where there is more."""
    return shape[1:] if len(shape) > 1 and shape[0] == 1 else shape


def _empty_shape(tensor: Tensor, samples: int | None, is_short: bool) -> Shape:
    shape = _short(tensor.shape) if is_short else tensor.shape
    return shape if samples is None else (samples, *shape)


def _empty(tensor: Tensor, samples: int | None, is_short: bool) -> np.ndarray:
    return np.empty(_empty_shape(tensor, samples, is_short), tensor.type.dtype)


def _constant(tensor: Tensor) -> np.ndarray:
    value = np.ascontiguousarray(tensor.value)
    if value.dtype != tensor.type.dtype or value.size != prod(tensor.shape):
        expected = f"{prod(tensor.shape)} elements of {tensor.type.dtype}"
        raise ShapeError(f"tensor {tensor.name!r}: expected {expected}, got {value.size} of {value.dtype}")
    return value


def _initial(graph: Graph, state: State) -> np.ndarray:
    tensor, written = graph.tensors[state.read], graph.tensors[state.write]
    held = {one.read for one in graph.states}
    if written.type != tensor.type or prod(written.shape) != prod(tensor.shape) or state.write in held:
        raise ShapeError(f"state {state.read!r}: expected a tensor of its own size and type, got {state.write!r}")
    if state.read in graph.outputs:
        raise CmsisnnError(f"state {state.read!r}: expected outputs that a node writes, got it among them")
    return _constant(replace(tensor, value=state.initial))


def _places(graph: Graph, states: dict[str, np.ndarray]) -> tuple[dict[str, tuple[str, Any]], int]:
    """Where every tensor lies, and the bytes of those that are neither the caller's nor constant."""
    found: dict[str, tuple[str, Any]] = {}
    for name, tensor in graph.tensors.items():
        if tensor.value is not None:
            found[name] = ("constant", _constant(tensor))
    found |= {name: ("state", value) for name, value in states.items()}
    found |= {name: ("input", at) for at, name in enumerate(graph.inputs)}
    for at, name in enumerate(graph.outputs):
        found.setdefault(name, ("output", at))
    lives: dict[str, Life] = {}
    for at, node in enumerate(graph.nodes):
        for name in node.outputs:
            if name not in found:
                last = max([at, *(graph.index(reader) for reader in graph.readers(name))])
                last = len(graph.nodes) if any(state.write == name for state in graph.states) else last
                lives[name] = Life(aligned(graph.tensors[name].bytes, ALIGNMENT), at, last, ALIGNMENT)
    offsets = place(list(lives.values()), tries=50)
    found |= {name: ("workspace", offset) for name, offset in zip(lives, offsets, strict=True)}
    return found, size_of(list(lives.values()), offsets)


def _append(executor: Executor, node: Node) -> None:
    layer = node.layer
    constants = checked_constants(layer)
    append = layer.row.append
    assert append is not None
    append(executor, layer, constants)


def _connect(executor: Executor, node: Node, graph: Graph, places: dict[str, tuple[str, Any]]) -> None:
    layer = node.layer
    require(layer, len(node.outputs) == 1, "one output", len(node.outputs))
    pitches = [prod(shape) * layer.numpy_dtype.itemsize for shape in layer.input_shapes]
    out_pitch = prod(layer.output_shape) * layer.output_type.dtype.itemsize
    executor.connect([places[name] for name in node.inputs], places[node.outputs[0]], pitches, out_pitch)
