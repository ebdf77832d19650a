# SPDX-License-Identifier: Apache-2.0
"""From a trained float network to int8, 16x8, q7 or q15: ``cmsisnn-quantize``, and ``tuning.quantize(...)``.

::

    model.onnx -> FloatNetwork -> Formats (fraction bits of every tensor) -> Quantized -> model.yaml, model.npz,
    data.npz (calibration) --------^                                                      model_float.npz

>>> import numpy as np, tuning
>>> rng = np.random.default_rng(0)
>>> layers = [{"op": "fully_connected", "weights": rng.normal(0, 0.4, (3, 8)), "bias": np.zeros(3)}]
>>> result = tuning.quantize(layers, rng.uniform(0, 1, (50, 8)), name="tiny")
>>> result.model.layers[0].weights.dtype
dtype('int8')
>>> result.save("build/tiny.yaml")                                          # doctest: +SKIP

A *scheme* is the arithmetic of a network. ``int8`` and ``int16x8`` are LiteRT's: a scale and a zero point for each
activation tensor (zero points 0 in int16), and int8 weights with a scale for each output channel:

>>> result = tuning.quantize(layers, rng.uniform(0, 1, (50, 8)), "int8", name="tiny")
>>> result.model.inputs[0].dtype
dtype('int8')
>>> result.save("build/tiny.yaml")                                          # doctest: +SKIP
>>> result.save("build/tiny.tflite")                                        # doctest: +SKIP

``q7`` and ``q15`` are powers of two. A number with `f` fraction bits stands for ``integer / 2**f``. With `fx`, `fw`,
`fb` and `fy` those of a layer's input, weights, bias and output, a product has ``fx + fw`` of them, hence::

    bias_shift = fx + fw - fb          out_shift = fx + fw - fy

The float file
--------------
``<name>_float.npz`` lies beside the model file, which names it (``float: <name>_float.npz``). It holds the float
network that the model approximates, tensor by tensor, and every tensor's fraction bits; :func:`load_reference` reads
it.

==========================  =======  ================================================================================
key                         dtype
==========================  =======  ================================================================================
``<layer>/weights``         float32  as the model's array of that name, in its shape: batch normalisation, the scales of
                                     ReLU6, softmax and equalised channels are folded in, channels are last, dense
``<layer>/bias``            float32  columns in (h, w, c) order
``<layer>/fraction``        int64    fraction bits of the layer's output, for every layer
``<layer>/weights_fraction``  int64  fraction bits of the integer weights
``<layer>/bias_fraction``   int64    fraction bits of the integer bias
``<layer>/clip``            float32  where the activation ends (a ReLU6), only where it does
``input_fraction``          int64    fraction bits of the input
``input_layout``            text     ``NHWC`` (also for plain vectors) or ``NCHW``: how the float model takes its input,
                                     hence how calibration data lie
``output_layout``           text     the same of its output
``declared_shape``          int64    shape of a sample in the float model, only where it is rearranged before the
                                     first layer: calibration data may have it too
``softmax_base``            float64  base of the float softmax of these tensors: 2 where log2(e) is folded into them,
                                     else e. The fixed-point softmax is 2 ** integer, so it agrees where
                                     ``fraction`` of its input is 0 and the base is 2
==========================  =======  ================================================================================

Of a graph (int8 and int16x8 of ONNX files whose layers do not follow each other) it holds the float network itself:
`onnx`, the bytes of an ONNX file, after rewriting; `tensors`, JSON: name, the layer that gives it, and how its integers
lie; `channels_last`, JSON: the inputs and outputs whose channels are last.

``integer / 2**fraction`` of any tensor of the fixed-point network is thus directly comparable with the float tensor.

Data files
----------
``--calibration`` and ``--check`` take an ``.npz`` with ``x`` (or ``inputs``), shape ``(n, ...)`` as the float model
takes it, and optionally ``y`` (or ``labels``): class numbers, shape ``(n,)``, or one-hot rows. :func:`load_data` reads
it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Mapping

    import numpy as np

    from ..importers.float_network import FloatLayer, FloatNetwork
    from ..importers.onnx.reader import load_onnx
    from .affine.quantizer import quantize_affine
    from .affine.result import AffineQuantized
    from .data import Data, load_data
    from .fixed_point.quantizer import quantize_network
    from .fixed_point.reference import Reference
    from .fixed_point.result import Quantized
    from .float_file import load_reference
    from .graph.float_graph import FloatGraph
    from .graph.quantizer import quantize_graph
    from .graph.result import GraphQuantized
    from .graph.samples import Samples
    from .scores import evaluate

__all__ = [
    "SCHEMES",
    "AffineQuantized",
    "Data",
    "FloatGraph",
    "FloatLayer",
    "FloatNetwork",
    "GraphQuantized",
    "Quantized",
    "Reference",
    "evaluate",
    "load_data",
    "load_onnx",
    "load_reference",
    "quantize_affine",
    "quantize_graph",
    "quantize_model",
    "quantize_network",
]

SCHEMES = ("int8", "int16x8", "q7", "q15")

_HOME = {
    "AffineQuantized": ".affine.result",
    "Data": ".data",
    "FloatGraph": ".graph.float_graph",
    "FloatLayer": "..importers.float_network",
    "FloatNetwork": "..importers.float_network",
    "GraphQuantized": ".graph.result",
    "Quantized": ".fixed_point.result",
    "Reference": ".fixed_point.reference",
    "evaluate": ".scores",
    "load_data": ".data",
    "load_onnx": "..importers.onnx.reader",
    "load_reference": ".float_file",
    "quantize_affine": ".affine.quantizer",
    "quantize_graph": ".graph.quantizer",
    "quantize_network": ".fixed_point.quantizer",
}


def quantize_model(
    network: FloatNetwork | FloatGraph | Iterable[Mapping[str, Any]] | str | os.PathLike[str] | Any,
    calibration: Data
    | Samples
    | np.ndarray
    | tuple[np.ndarray, np.ndarray]
    | Mapping[str, np.ndarray]
    | str
    | os.PathLike[str],
    scheme: str | None = None,
    *,
    dtype: str | None = None,
    input_shape: tuple[int, ...] | None = None,
    name: str | None = None,
    output: str | None = None,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    **options: Any,
) -> Quantized | AffineQuantized | GraphQuantized:
    """``tuning.quantize(...)``: scales or formats, and integer weights, for a float network.

    Parameters
    ----------
    network : path, onnx.ModelProto, FloatNetwork, FloatGraph, or iterable of mapping
        An ONNX file of any graph for int8 and int16x8; of layers in sequence for q7 and q15.
        A mapping has the keys of a model file's layer, without shifts, and `weights` and `bias` as float arrays in the
        model file's shapes: ``{"op": "conv2d", "weights": w, "bias": b, "padding": 1, "activation": "relu"}``.
    calibration : ndarray, (x, y), Data, or path of an ``.npz``
        Inputs as the float model takes them, and class numbers if there are any. Of a graph also a mapping: an array
        for each input by its name, and for outputs what they should be.
    scheme : {"int8", "int16x8", "q7", "q15"}, optional
        By default q7.
    dtype : {"q7", "q15"}, optional
        The older name of `scheme`.
    input_shape : tuple of int
        For an iterable of mappings: ``(h, w, c)`` or ``(n,)``; a fully connected first layer makes it known.
    name : str, optional
        A C identifier.
    output : str, optional
        Of an ONNX file: the tensor at which it is cut.
    shapes : mapping of str to tuple of int, optional
        Of an ONNX file: of inputs whose sizes it leaves open.
    **options
        `method`, `softmax` and `progress` of :func:`quantize_network`; of int8 and int16x8 `ranges` and `progress` of
        :func:`quantize_affine`.

    Returns
    -------
    Quantized, AffineQuantized or GraphQuantized
        With `model`, `report`, `accuracy` and ``save(path)``.

    Raises
    ------
    ModelError, OptionError
        The network, or the data for it, cannot be used.
    """
    import os
    from dataclasses import replace

    from ..importers.float_network import FloatNetwork, from_layers
    from .data import load_data
    from .graph.float_graph import FloatGraph

    chosen = _scheme(scheme, dtype)
    built: FloatNetwork | FloatGraph
    if isinstance(network, FloatGraph | FloatNetwork):
        built = network if name is None else replace(network, name=name)
    elif isinstance(network, str | os.PathLike) or hasattr(network, "SerializeToString"):
        from ..importers.onnx.prepare import Given
        from .source import FloatSource

        built = FloatSource(network, name, Given(output, shapes or {})).network(chosen)
    else:
        built = from_layers(list(network), input_shape, name or "model")
    if isinstance(built, FloatGraph):
        from .graph.quantizer import quantize_graph

        return quantize_graph(built, calibration, scheme=chosen, **options)
    data: Any = load_data(calibration) if isinstance(calibration, str | os.PathLike) else calibration
    if chosen in ("q7", "q15"):
        from .fixed_point.quantizer import quantize_network

        return quantize_network(built, data, dtype=chosen, **options)
    from .affine.quantizer import quantize_affine

    return quantize_affine(built, data, scheme=chosen, **options)


def _scheme(scheme: str | None, dtype: str | None) -> str:
    from ..base.errors import OptionError

    if scheme is not None and dtype is not None and scheme != dtype:
        raise OptionError(f"dtype: the older name of scheme: expected nothing beside {scheme!r}, got {dtype!r}")
    if dtype is not None and dtype not in ("q7", "q15"):
        raise OptionError(f"dtype: expected q7 or q15, got {dtype!r}")
    chosen = scheme or dtype or "q7"
    if chosen not in SCHEMES:
        raise OptionError(f"scheme: expected one of {', '.join(SCHEMES)}, got {chosen!r}")
    return chosen


def __getattr__(name: str) -> Any:
    if name in _HOME:
        value = globals()[name] = getattr(import_module(_HOME[name], __name__), name)
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return list(__all__)
