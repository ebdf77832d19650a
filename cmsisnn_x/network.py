# SPDX-License-Identifier: Apache-2.0
"""A whole network on the host: weights packed once, one C call per image or per thread."""

from __future__ import annotations

import os
from collections.abc import Iterable
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from . import _simd
from .errors import CmsisnnError, DtypeError, ShapeError
from .graph import Graph
from .layers import NUMPY_DTYPES, Layer
from .op import MODEL_OPS

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor


class Network:
    """A sequential network with packed weights.

    Parameters
    ----------
    layers : iterable of Layer
        In order, as ``tuning.load_model(...).layers`` gives them; every layer takes its predecessor's output.
    isa : str, optional
        Instruction set, one of those that :func:`cmsisnn_x.show_config` lists; default: ``CMSISNN_X_ISA``, else the
        best that this processor runs.

    Attributes
    ----------
    layers : tuple of Layer
    input_shape, output_shape : tuple of int
        Of one sample: ``(h, w, c)`` or ``(n,)``.
    input_dtype, output_dtype : numpy.dtype
        int8 or int16.

    Raises
    ------
    CmsisnnError
        A layer does not follow from its predecessor, or has no kernel; `isa` is not one of this machine's.

    Notes
    -----
    A network may be run by any number of threads at once. Results equal those of the single functions, bit for bit.

    Examples
    --------
    >>> import numpy as np
    >>> import cmsisnn_x
    >>> from cmsisnn_x.layers import Layer
    >>> network = cmsisnn_x.Network([Layer("act", "relu", "q7", (4,), (4,))])
    >>> network.run(np.array([-2, -1, 0, 1], np.int8))
    array([0, 0, 0, 1], dtype=int8)
    """

    def __init__(self, layers: Iterable[Layer], *, isa: str | None = None) -> None:
        self.layers = tuple(layers)
        if not self.layers:
            raise CmsisnnError("layers: expected at least one layer, got none")
        self._asked_isa = isa
        self._executor = _simd.Executor(isa)
        for layer in self.layers:
            known = f"dtype in {', '.join(NUMPY_DTYPES)}"
            _require(layer, layer.dtype in NUMPY_DTYPES, known, repr(layer.dtype), DtypeError)
        graph = Graph.chain(self.layers)
        for node in graph.nodes:
            graph.check(node)
            _append(self._executor, node.layer)
        self._executor.finish()
        self.input_shape = self.layers[0].input_shape
        self.output_shape = self.layers[-1].output_shape
        self.input_dtype = self.layers[0].numpy_dtype
        self.output_dtype = self.layers[-1].numpy_dtype
        self._pool: ThreadPoolExecutor | None = None
        self._pool_owner = (0, 0)

    def __repr__(self) -> str:
        names = ", ".join(layer.name for layer in self.layers)
        return f"<Network {self.layers[0].dtype} {self.input_shape} -> {self.output_shape}, {self.isa}: {names}>"

    @property
    def isa(self) -> str:
        """Instruction set in use."""
        return self._executor.isa_name

    def run(self, x: np.ndarray, *, threads: int = 1) -> np.ndarray:
        """Run one sample or a batch.

        Parameters
        ----------
        x : ndarray of int8 (q7) or int16 (q15)
            Shape `input_shape`, or ``(n, *input_shape)`` for a batch.
        threads : int
            Threads that share a batch; one sample always runs on the calling thread.

        Returns
        -------
        ndarray
            Shape `output_shape`, or ``(n, *output_shape)``.

        Raises
        ------
        ValueError
            `x` does not fit the first layer, or `threads` is not positive.
        """
        x, samples = self._checked(x)
        if samples is None:
            out = np.empty(self.output_shape, self.output_dtype)
            self._executor.run(x, out, 1)
            return out
        if not isinstance(threads, int | np.integer) or threads < 1:
            raise CmsisnnError(f"threads: expected a positive integer, got {threads!r}")
        out = np.empty((samples, *self.output_shape), self.output_dtype)
        threads = min(int(threads), samples)
        if threads <= 1:
            self._executor.run(x, out, samples)
            return out
        counter = _simd.Counter()
        pool = self._thread_pool(threads - 1)
        helpers = [pool.submit(self._executor.share, x, out, samples, counter) for _ in range(threads - 1)]
        self._executor.share(x, out, samples, counter)
        for helper in helpers:
            helper.result()
        return out

    def trace(self, x: np.ndarray) -> dict[str, np.ndarray]:
        """Every layer's output.

        Parameters
        ----------
        x : ndarray
            As for :meth:`run`.

        Returns
        -------
        dict
            Layer name -> array of the layer's `output_shape`, or ``(n, *output_shape)``, in the order of the layers.

        Raises
        ------
        ValueError
            `x` does not fit the first layer.
        """
        x, samples = self._checked(x)
        result = {}
        batch = x.reshape(1 if samples is None else samples, prod(self.input_shape))
        for index, layer in enumerate(self.layers):
            out = np.empty((len(batch), prod(layer.output_shape)), layer.numpy_dtype)
            for sample, row in zip(batch, out, strict=True):
                self._executor.run_step(index, sample, row)
            result[layer.name] = out.reshape(layer.output_shape if samples is None else (samples, *layer.output_shape))
            batch = out
        return result

    def _checked(self, x: np.ndarray) -> tuple[np.ndarray, int | None]:
        """`x` as a contiguous array, and the number of samples of a batch."""
        if not isinstance(x, np.ndarray) or not x.flags.c_contiguous:
            x = np.ascontiguousarray(x)
        if x.dtype != self.input_dtype:
            raise DtypeError(f"x: expected {self.input_dtype} for a {self.layers[0].dtype} network, got {x.dtype}")
        if x.shape == self.input_shape:
            return x, None
        if x.shape[1:] == self.input_shape:
            return x, len(x)
        batch = f"(n, {', '.join(map(str, self.input_shape))})"
        raise ShapeError(f"x: expected shape {self.input_shape} or {batch}, got {x.shape}")

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
        return {"layers": self.layers, "isa": self._asked_isa}

    def __setstate__(self, state: dict[str, object]) -> None:
        self.__init__(state["layers"], isa=state["isa"])  # type: ignore[misc]


def _require(layer: Layer, holds: bool, expected: str, got: object, error: type[CmsisnnError] = CmsisnnError) -> None:
    if not holds:
        raise error(f"layer {layer.name!r}: expected {expected}, got {got}")


def _check_parameters(layer: Layer) -> None:
    """What the kernels take for granted: they read and write by these numbers."""
    _require(layer, layer.op in MODEL_OPS, f"op in {', '.join(MODEL_OPS)}", repr(layer.op))
    row, image, result = layer.row, layer.image, layer.output_image
    # At the far edges padding is what the output size implies, negative where pixels are left over.
    first = [before for before, _ in layer.padding]
    rectifies = layer.activation == "relu" and row.is_weighted
    _require(layer, min(*image, *result) > 0, "positive sizes", (layer.input_shape, layer.output_shape), ShapeError)
    _require(layer, min(*layer.kernel, *layer.stride) > 0, "positive kernel and stride", (layer.kernel, layer.stride))
    _require(layer, min(first) >= 0, "padding of at least 0 at the top and left", layer.padding)
    if problem := layer.requant.problem:
        raise CmsisnnError(f"layer {layer.name!r}: {problem}")
    _require(layer, 0 <= layer.int_bits <= 3, "int_bits in 0..3", layer.int_bits)
    _require(
        layer,
        layer.activation is None or rectifies,
        "activation None, or 'relu' where there are weights",
        layer.activation,
    )
    if not row.is_weighted and not row.is_windowed:
        _require(
            layer, prod(image) == prod(result), f"output shape {layer.input_shape}", layer.output_shape, ShapeError
        )
    if (most := row.most_elements) is not None:
        _require(layer, prod(image) <= most, f"at most {most} elements", layer.input_shape, ShapeError)
    if row.is_windowed and "out_channels" not in row.attributes:
        _require(layer, image[2] == result[2], "as many channels as the input", layer.output_shape, ShapeError)
    if row.is_windowed and not row.is_weighted:
        for axis in (0, 1):
            last = (result[axis] - 1) * layer.stride[axis] - first[axis]
            meets = first[axis] < layer.kernel[axis] and last < image[axis]
            _require(layer, meets, "windows that meet the image", layer, ShapeError)


def _append(executor: _simd.Executor, layer: Layer) -> None:
    _check_parameters(layer)
    append = layer.row.append
    assert append is not None
    append(executor, layer, _constants(layer))


def _constants(layer: Layer) -> dict[str, np.ndarray]:
    """Weights and bias, checked: what the kernels read is exactly what they expect. Without a bias, zeros are taken."""
    arrays: dict[str, np.ndarray] = {}
    for role, shape in layer.row.constants(layer).items():
        array = getattr(layer, role)
        if role == "bias" and array is None:
            continue
        types = [NUMPY_DTYPES[name] for name in layer.row.weights_types(layer.dtype)]
        if role == "bias":
            types = [arrays["weights"].dtype]
        _require(layer, array is not None, role, None)
        array = np.ascontiguousarray(array)
        expected = f"{role} of type {' or '.join(map(str, types))}"
        _require(layer, array.dtype in types, expected, array.dtype, DtypeError)
        _require(layer, array.shape == shape, f"{role} of shape {shape}", array.shape, ShapeError)
        arrays[role] = array
    return arrays
