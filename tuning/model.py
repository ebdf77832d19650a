# SPDX-License-Identifier: Apache-2.0
"""Model files: YAML -> a checked, sequential network of :class:`cmsisnn_x.layers.Layer` with every shape inferred."""

from __future__ import annotations

import hashlib
import json
import os
import re
import zipfile
import zlib
from dataclasses import dataclass, replace
from math import ceil, isqrt, prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from cmsisnn_x._arguments import SOFTMAX_MAX
from cmsisnn_x.layers import NUMPY_DTYPES, Layer, image_shape

from . import _yaml, shipped
from .errors import ModelError

if TYPE_CHECKING:
    import cmsisnn_x

MAX_DIMENSION = 65535
MAX_TENSOR_BYTES = 2**31 - 1
RESERVED_LAYER_NAMES = ("run", "config", "weights")

# C99 to C23 and C++23 keywords and alternative tokens.
KEYWORDS = frozenset(
    [
        "alignas",
        "alignof",
        "and",
        "and_eq",
        "asm",
        "auto",
        "bitand",
        "bitor",
        "bool",
        "break",
        "case",
        "catch",
        "char",
        "char16_t",
        "char32_t",
        "char8_t",
        "class",
        "co_await",
        "co_return",
        "co_yield",
        "compl",
        "concept",
        "const",
        "const_cast",
        "consteval",
        "constexpr",
        "constinit",
        "continue",
        "decltype",
        "default",
        "delete",
        "do",
        "double",
        "dynamic_cast",
        "else",
        "enum",
        "explicit",
        "export",
        "extern",
        "false",
        "float",
        "for",
        "friend",
        "goto",
        "if",
        "inline",
        "int",
        "long",
        "mutable",
        "namespace",
        "new",
        "noexcept",
        "not",
        "not_eq",
        "nullptr",
        "operator",
        "or",
        "or_eq",
        "private",
        "protected",
        "public",
        "register",
        "reinterpret_cast",
        "requires",
        "restrict",
        "return",
        "short",
        "signed",
        "sizeof",
        "static",
        "static_assert",
        "static_cast",
        "struct",
        "switch",
        "template",
        "this",
        "thread_local",
        "throw",
        "true",
        "try",
        "typedef",
        "typeid",
        "typename",
        "typeof",
        "typeof_unqual",
        "union",
        "unsigned",
        "using",
        "virtual",
        "void",
        "volatile",
        "wchar_t",
        "while",
        "xor",
        "xor_eq",
    ]
)


@dataclass(frozen=True, eq=False)
class Model:
    """A sequential network, checked.

    Attributes
    ----------
    name : str
        A C identifier.
    dtype : {"q7", "q15"}
        Of the activations.
    input_shape : tuple of int
        ``(h, w, c)`` or ``(n,)``.
    layers : tuple of Layer
        In order of execution, weights included.
    budget : dict
        ``{"sram": bytes or None, "flash": bytes or None}`` as the file declares it.
    target : str or None
        Target that the file declares.
    digest : str
        SHA-256 of everything above, weights included: equal digests give equal plans.
    path : pathlib.Path
    float_path : pathlib.Path or None
        The float network it was quantised from (see :mod:`tuning.quantize`), if the file names one.
    """

    name: str
    dtype: str
    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    budget: dict[str, int | None]
    target: str | None
    digest: str
    path: Path
    float_path: Path | None = None

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.layers[-1].output_shape

    @property
    def macs(self) -> int:
        """Multiply-accumulates of one inference."""
        return sum(layer.macs for layer in self.layers)

    def network(self) -> cmsisnn_x.Network:
        """The same layers, with the same weights, as a runnable host network."""
        from cmsisnn_x import Network

        return Network(self.layers)

    def __str__(self) -> str:
        return f"{self.name}: {len(self.layers)} layers, {self.macs:,} MAC"


def load_model(source: str | os.PathLike[str]) -> Model:
    """Read and check a model file.

    Parameters
    ----------
    source : path or str
        A YAML file, or the name of a shipped model (``"cifar10"``).

    Returns
    -------
    Model

    Raises
    ------
    ModelError
        With file, line and key of the first thing that is wrong, what was expected, what was got and a suggestion.
    """
    path = find_model(source)
    return _Builder(_yaml.read(path, ModelError), path).model()


def build_model(content: dict[str, Any], path: str | os.PathLike[str] = "model.yaml") -> Model:
    """The model that a file with this content would give; files that it names are relative to `path`."""
    return _Builder(_yaml.Document(str(path), content, {}), Path(path)).model()


def with_layers(model: Model, layers: tuple[Layer, ...]) -> Model:
    """The same model with other layers, and the digest that belongs to them."""
    result = replace(model, layers=layers)
    return replace(result, digest=_digest(result))


def list_models() -> dict[str, Path]:
    """Name -> file of every shipped model."""
    return shipped.folder("models")


def find_model(source: str | os.PathLike[str]) -> Path:
    path = Path(source)
    if path.exists() and not (path.is_dir() and str(source) in list_models()):
        return path
    models = list_models()
    if str(source) in models:
        return models[str(source)]
    if path.suffix in (".yaml", ".yml") or len(path.parts) > 1:
        raise ModelError(f"{source}: no such file")
    raise ModelError(f"{source}: neither a file nor a shipped model; {_yaml.suggest(str(source), models)}")


def check_name(name: str) -> str | None:
    """What is wrong with `name` as part of a C identifier; ``None`` if nothing is."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name, re.ASCII):
        better = re.sub(r"\W", "_", name, flags=re.ASCII)
        better = f"n{better}" if better[:1].isdigit() else better
        hint = f"; try '{better}'" if better.strip("_") else ""
        return f"expected a C identifier (letters, digits, underscores), got {name!r}{hint}"
    if len(name) > 63:
        return f"expected at most 63 characters, got {len(name)}"
    if name.lower() in KEYWORDS:
        return f"{name!r} is a C or C++ keyword; try '{name}_'"
    if "__" in name or re.match(r"_[A-Z]", name):
        return f"{name!r} is reserved by the C and C++ standards (double underscore, or underscore and capital)"
    return None


class _Builder:
    """Turns one parsed document into a `Model`; every error carries file, line and key."""

    def __init__(self, document: _yaml.Document, path: Path) -> None:
        self.document = document
        self.path = path

    def error(self, key: _yaml.Key, text: str) -> ModelError:
        return ModelError(self.document.message(key, text))

    def model(self) -> Model:
        from .model_schema import check_model_file

        spec = check_model_file(self.document)
        if problem := check_name(spec.name):
            raise self.error(("name",), problem)
        dtype, shape = spec.input.dtype, tuple(spec.input.shape)
        self.check_tensor(("input", "shape"), shape, dtype, "input")
        seen: dict[str, str] = {}
        layers = []
        for index, layer_spec in enumerate(spec.layers):
            key = ("layers", index)
            self.check_layer_name((*key, "name"), layer_spec.name, seen)
            layer = self.layer(key, layer_spec, dtype, shape)
            layers.append(layer)
            shape = layer.output_shape
        with_arrays = self.read_arrays(spec.weights, layers) if spec.weights else draw_arrays(spec.name, layers)
        budget = (
            {"sram": spec.budget.sram, "flash": spec.budget.flash} if spec.budget else {"sram": None, "flash": None}
        )
        in_float = self.path.parent / spec.float_ if spec.float_ else None
        result = Model(
            spec.name, dtype, tuple(spec.input.shape), with_arrays, budget, spec.target, "", self.path, in_float
        )
        return replace(result, digest=_digest(result))

    def check_layer_name(self, key: _yaml.Key, name: str, seen: dict[str, str]) -> None:
        if problem := check_name(name):
            raise self.error(key, problem)
        if name.lower() in RESERVED_LAYER_NAMES:
            raise self.error(key, f"{name!r} is taken by the emitted files; choose another name, for example '{name}1'")
        if name.lower() in seen:
            raise self.error(
                key, f"two layers are called {seen[name.lower()]!r} (case is ignored); choose another name"
            )
        seen[name.lower()] = name

    def check_tensor(self, key: _yaml.Key, shape: tuple[int, ...], dtype: str, what: str) -> None:
        if any(not 1 <= size <= MAX_DIMENSION for size in shape):
            raise self.error(key, f"{what} dimensions must lie in 1..{MAX_DIMENSION}, got {list(shape)}")
        size = prod(shape) * NUMPY_DTYPES[dtype].itemsize
        if size > MAX_TENSOR_BYTES:
            raise self.error(
                key, f"{what} must have at most {MAX_TENSOR_BYTES} bytes, got {size} for shape {list(shape)}"
            )

    def layer(self, key: _yaml.Key, spec: Any, dtype: str, shape: tuple[int, ...]) -> Layer:
        """Resolve one layer on an input of `shape`."""
        op = spec.op
        common: dict[str, Any] = {"name": spec.name, "op": op, "dtype": dtype, "input_shape": shape}
        if op == "softmax" and prod(shape) > SOFTMAX_MAX:
            text = f"softmax takes at most {SOFTMAX_MAX} elements, its input has shape {list(shape)}; pool before it"
            raise self.error((*key, "op"), text)
        if op in ("relu", "softmax"):
            return Layer(**common, output_shape=shape)
        if op in ("sigmoid", "tanh"):
            return Layer(**common, output_shape=shape, int_bits=spec.int_bits)
        if op != "fully_connected" and len(shape) != 3:
            raise self.error(
                (*key, "op"),
                f"{op} needs an image [h, w, c], but its input has shape {list(shape)}; "
                "give the model a three-dimensional input or use fully_connected",
            )
        if op in ("max_pool2d", "avg_pool2d"):
            stride = spec.stride or spec.kernel
            size, padding = self.windows(key, spec, shape, stride)
            output = (*size, shape[2])
            self.check_tensor(key, output, dtype, "output")
            return Layer(
                **common,
                output_shape=output,
                kernel=spec.kernel,
                stride=stride,
                padding=padding,
                ceil_mode=spec.ceil_mode,
            )
        common |= {name: getattr(spec, name) for name in ("bias_shift", "out_shift", "activation")}
        common["weights_dtype"] = self.weights_dtype(key, spec.weights_dtype, dtype)
        common["variant"] = dict(spec.variant or {})
        if op == "fully_connected":
            output = (spec.out_features,)
            layer = Layer(**common, output_shape=output)
        else:
            stride = spec.stride or (1, 1)
            size, padding = self.windows(key, spec, shape, stride)
            output = (*size, spec.out_channels if op == "conv2d" else shape[2])
            layer = Layer(**common, output_shape=output, kernel=spec.kernel, stride=stride, padding=padding)
        self.check_tensor(key, output, dtype, "output")
        size_bytes = prod(weights_shape(layer)) * NUMPY_DTYPES[common["weights_dtype"]].itemsize
        if size_bytes > MAX_TENSOR_BYTES:
            raise self.error(key, f"weights must have at most {MAX_TENSOR_BYTES} bytes, got {size_bytes}")
        return layer

    def weights_dtype(self, key: _yaml.Key, declared: str | None, dtype: str) -> str:
        if declared == "q15" and dtype == "q7":
            raise self.error(
                (*key, "weights_dtype"), "q15 weights with q7 activations have no kernel; expected q7, got q15"
            )
        return declared or dtype

    def windows(
        self, key: _yaml.Key, spec: Any, shape: tuple[int, ...], stride: tuple[int, int]
    ) -> tuple[tuple[int, int], tuple[tuple[int, int], tuple[int, int]]]:
        """Output size and padding of a layer that slides windows."""
        sizes, paddings = [], []
        for axis in (0, 1):
            padding = spec.padding if isinstance(spec.padding, str) else spec.padding[axis]
            try:
                size, around = window_axis(
                    shape[axis], spec.kernel[axis], stride[axis], padding, getattr(spec, "ceil_mode", False)
                )
            except ValueError as problem:
                name = "padding" if (*key, "padding") in self.document.lines else "kernel"
                raise self.error((*key, name), f"{problem} ({'height' if axis == 0 else 'width'})") from None
            sizes.append(size)
            paddings.append(around)
        return (sizes[0], sizes[1]), (paddings[0], paddings[1])

    def read_arrays(self, file: str, layers: list[Layer]) -> tuple[Layer, ...]:
        """Layers with weights and biases from the npz `file`."""
        key = ("weights",)
        expected = {
            f"{layer.name}/{kind}": (layer, kind)
            for layer in layers
            if layer.weights_dtype
            for kind in ("weights", "bias")
        }
        path = self.path.parent / file
        try:
            with zipfile.ZipFile(path) as archive:
                members = {name.removesuffix(".npy"): info for name, info in archive.NameToInfo.items()}
                if unknown := sorted(members.keys() - expected.keys()):
                    raise self.error(
                        key, f"{file}: no layer takes the array {unknown[0]!r}; {_yaml.suggest(unknown[0], expected)}"
                    )
                arrays = {name: self.read_array(archive, info, name, *expected[name]) for name, info in members.items()}
        except FileNotFoundError:
            raise self.error(key, f"{path}: no such file; the path is relative to the model file") from None
        except (OSError, zipfile.BadZipFile, EOFError, zlib.error, NotImplementedError, RuntimeError) as problem:
            raise self.error(
                key, f"{file}: expected an npz archive of integer arrays, got a file that cannot be read: {problem}"
            ) from None
        return tuple(self.with_arrays(file, layer, arrays) for layer in layers)

    def read_array(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, name: str, layer: Layer, kind: str
    ) -> np.ndarray:
        shape = weights_shape(layer) if kind == "weights" else weights_shape(layer)[:1]
        if kind == "bias" and layer.op == "depthwise_conv2d":
            shape = weights_shape(layer)[-1:]
        dtype = NUMPY_DTYPES[layer.weights_dtype]
        file = self.document.data["weights"]
        wanted = f"expected {dtype} of shape {list(shape)}"
        # The header of an .npy takes well below 64 KiB; anything larger than the expected data is not read at all.
        if info.file_size > prod(shape) * 8 + 65536:
            raise self.error(("weights",), f"{file}: {name}: {wanted}, got {info.file_size} bytes")
        try:
            with archive.open(info) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
        except ValueError as problem:
            raise self.error(
                ("weights",), f"{file}: {name}: {wanted}, got an array that cannot be read: {problem}"
            ) from None
        if array.shape != tuple(shape) or array.dtype.newbyteorder("=") != dtype:
            raise self.error(("weights",), f"{file}: {name}: {wanted}, got {array.dtype} of shape {list(array.shape)}")
        return _frozen(array.astype(dtype))

    def with_arrays(self, file: str, layer: Layer, arrays: dict[str, np.ndarray]) -> Layer:
        if not layer.weights_dtype:
            return layer
        name = f"{layer.name}/weights"
        if name not in arrays:
            raise self.error(
                ("weights",), f"{file}: array {name!r} is missing; it holds: {', '.join(sorted(arrays)) or 'nothing'}"
            )
        bias = arrays.get(f"{layer.name}/bias")
        if bias is None:
            bias = _frozen(np.zeros(bias_length(layer), NUMPY_DTYPES[layer.weights_dtype]))
        return replace(layer, weights=arrays[name], bias=bias)


def window_axis(
    size: int, kernel: int, stride: int, padding: int | str, ceil_mode: bool
) -> tuple[int, tuple[int, int]]:
    """Output size and (before, after) padding along one axis.

    ``same`` is TensorFlow's rule; otherwise floor or ceil((size + 2 padding - kernel) / stride) + 1, where a last
    window that would start at or beyond size + padding is dropped.

    Raises
    ------
    ValueError
        A window would be empty.
    """
    if padding == "same":
        out = ceil(size / stride)
        before = max((out - 1) * stride + kernel - size, 0) // 2
    else:
        before = 0 if padding == "valid" else int(padding)
        if before >= kernel:
            raise ValueError(
                f"expected padding below the kernel size {kernel}, got {before}: the first window would lie outside "
                f"the input"
            )
        span = size + 2 * before - kernel
        if span < 0:
            raise ValueError(
                f"expected a kernel of at most {size + 2 * before} (input {size} and padding 2 x {before}), got "
                f"{kernel}"
            )
        out = (-(-span // stride) if ceil_mode else span // stride) + 1
        if ceil_mode and (out - 1) * stride >= size + before:
            out -= 1
    after = max((out - 1) * stride + kernel - size - before, 0)
    return out, (before, after)


def weights_shape(layer: Layer) -> tuple[int, ...]:
    """Shape of the weights that `layer` takes."""
    if layer.op == "fully_connected":
        return prod(layer.output_shape), prod(layer.input_shape)
    channels = image_shape(layer.input_shape)[2]
    if layer.op == "depthwise_conv2d":
        return (*layer.kernel, channels)
    return (layer.output_shape[-1], *layer.kernel, channels)


def bias_length(layer: Layer) -> int:
    return layer.output_shape[-1] if len(layer.output_shape) == 3 else prod(layer.output_shape)


def draw_arrays(model: str, layers: list[Layer]) -> tuple[Layer, ...]:
    """Layers with weights and biases drawn from generators that only the model's and layer's names seed.

    Activations are taken to be no stronger than a uniform draw over their whole range. Weights then get the variance
    with which outputs have a standard deviation of a quarter of full scale: under one per cent saturate, and after tanh
    or max pooling, which push activations outwards, still fewer than ten.
    """
    return tuple(_draw(model, layer) if layer.weights_dtype else layer for layer in layers)


def _draw(model: str, layer: Layer) -> Layer:
    weights_dtype = NUMPY_DTYPES[layer.weights_dtype]
    full_scale = 2.0 ** (8 * layer.numpy_dtype.itemsize - 1)
    limit = np.iinfo(weights_dtype).max
    shape = weights_shape(layer)
    fan_in = prod(shape[:-1]) if layer.op == "depthwise_conv2d" else prod(shape[1:])
    # A 32-bit accumulator must not wrap either.
    accumulator = min(full_scale / 4 * 2.0**layer.out_shift, 2.0**31 / 8)
    variance = (accumulator / (full_scale / 3**0.5)) ** 2 / fan_in
    weights = _integers(_generator(model, layer, "weights"), shape, variance, limit, weights_dtype)
    bias_limit = min(int(accumulator / 2 / 2.0**layer.bias_shift), limit)
    bias = (
        _generator(model, layer, "bias")
        .integers(-bias_limit, bias_limit, bias_length(layer), endpoint=True)
        .astype(weights_dtype)
    )
    return replace(layer, weights=_frozen(weights), bias=_frozen(bias))


def _generator(model: str, layer: Layer, kind: str) -> np.random.Generator:
    return np.random.default_rng(zlib.crc32(f"{model}/{layer.name}/{kind}".encode()))


def _integers(
    rng: np.random.Generator, shape: tuple[int, ...], variance: float, limit: int, dtype: np.dtype
) -> np.ndarray:
    """Integers of mean zero and at most `variance`: uniform over -r..r, or few non-zero ones where even r = 1 is
    too strong.
    """
    reach = min((isqrt(int(4 * 3 * variance) + 1) - 1) // 2, limit)  # r (r + 1) / 3 <= variance
    if reach >= 1:
        return rng.integers(-reach, reach, shape, endpoint=True).astype(dtype)
    draw = rng.random(shape)
    return ((draw < variance / 2).astype(np.int8) - (draw > 1 - variance / 2)).astype(dtype)


def _frozen(array: np.ndarray) -> np.ndarray:
    array = np.ascontiguousarray(array)
    array.flags.writeable = False
    return array


def _digest(model: Model) -> str:
    """SHA-256 over the resolved content: not over the text, so that a comment changes nothing."""
    content: list[object] = [model.name, model.dtype, model.input_shape, model.target, model.budget]
    content += [{k: v for k, v in vars(layer).items() if k not in ("weights", "bias")} for layer in model.layers]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True, default=dict).encode())
    for layer in model.layers:
        for array in (layer.weights, layer.bias):
            if array is not None:
                digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
    return digest.hexdigest()
