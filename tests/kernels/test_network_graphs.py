# SPDX-License-Identifier: Apache-2.0
"""Networks of graphs: every tensor against the oracle; inputs, outputs, batches, states; what is refused."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsisnn_x import _simd
from cmsisnn_x.affine import AffineClamp, AffineRescale, AffineSoftmax, AffineSum, quantize_multiplier
from cmsisnn_x.affine.curves import AffineCurve, AffineSoftmax16
from cmsisnn_x.errors import CmsisnnError, ShapeError
from cmsisnn_x.graph import Graph, Node, State, Tensor
from cmsisnn_x.layers import Layer, View
from cmsisnn_x.network import Network
from cmsisnn_x.scheme import TENSOR_TYPES
from helpers.arrays import assert_bit_exact, random_array
from helpers.int8 import GRAPHS, Builder
from helpers.int8_graph import Interpreter, random_inputs
from helpers.strategies import seeds

ISAS = pytest.mark.parametrize("isa", _simd.available())


def given_as(graph: Graph, inputs: list[np.ndarray]):
    return inputs[0] if len(graph.inputs) == 1 else tuple(inputs)


def as_tuple(outputs) -> tuple[np.ndarray, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def check(graph: Graph, rng: np.random.Generator, isa: str | None = None, runs: int = 2) -> None:
    """Outputs and every tensor between, from one run to the next."""
    network, oracle, traced = Network(graph, isa=isa), Interpreter(graph), Network(graph, isa=isa)
    for _ in range(runs):
        inputs = random_inputs(graph, rng)
        expected = oracle.run(*inputs)
        for got, wanted in zip(as_tuple(network.run(given_as(graph, inputs))), expected, strict=True):
            assert_bit_exact(got, wanted, f"{isa}")
        trace = traced.trace(given_as(graph, inputs))
        assert list(trace) == [node.name for node in graph.nodes]
        for node in graph.nodes:
            wanted = oracle.values[node.outputs[0]].reshape(graph.tensors[node.outputs[0]].shape)
            assert_bit_exact(trace[node.name], wanted, f"{isa} {node.name}")


@ISAS
@pytest.mark.parametrize("name", GRAPHS)
def test_every_tensor_equals_the_oracle(name: str, isa: str) -> None:
    check(GRAPHS[name](), np.random.default_rng(1), isa)


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", GRAPHS)
def test_a_batch_equals_its_samples(name: str, threads: int) -> None:
    graph = GRAPHS[name]()
    network, rng = Network(graph), np.random.default_rng(2)
    samples = [random_inputs(graph, rng) for _ in range(9)]
    batch = [np.stack([sample[at] for sample in samples]) for at in range(len(graph.inputs))]
    expected = [as_tuple(network.run(given_as(graph, sample))) for sample in samples]
    network.reset()
    for at, got in enumerate(as_tuple(network.run(given_as(graph, batch), threads=threads))):
        assert_bit_exact(got, np.stack([one[at] for one in expected]))
    network.reset()
    traced = network.trace(given_as(graph, batch))
    network.reset()
    for at, sample in enumerate(samples):
        for node, got in network.trace(given_as(graph, sample)).items():
            assert_bit_exact(traced[node][at], got)


def single(layer: Layer, *constants: np.ndarray) -> Graph:
    """One layer; its last inputs are constant."""
    shapes = [shape if layer.samples == 1 else (layer.samples, *shape) for shape in layer.input_shapes]
    values = [None] * (len(shapes) - len(constants)) + list(constants)
    tensors = [
        Tensor(f"in{at}", shape, layer.type, value)
        for at, (shape, value) in enumerate(zip(shapes, values, strict=True))
    ]
    output = layer.output_shape if layer.samples == 1 else (layer.samples, *layer.output_shape)
    names = [tensor.name for tensor in tensors]
    tensors.append(Tensor("out", output, layer.output_type))
    node = Node(layer.name, layer.op, tuple(names), ("out",), layer)
    return Graph(tensors, [node], names[: len(names) - len(constants)], ["out"])


scales = st.sampled_from((0.25, 0.003, 0.7, 2.0**-7, 1.3, 30.0))
points = st.sampled_from((-128, 127, 0, 5))


@given(seeds, scales, scales, scales, points, points, points, st.sampled_from((1, 3, 8, 24)), st.booleans())
def test_sums_of_any_scales(seed, a, b, out, za, zb, zo, period, wide) -> None:
    """The second one as long as the first, and repeated."""
    dtype = "int16" if wide else "int8"
    own = TENSOR_TYPES[dtype]
    zeros = (0, 0, 0) if wide else (za, zb, zo)
    scheme = AffineSum.of((a, b, out), zeros, (own.low, own.high // 2), sign=1 - 2 * (seed % 2), dtype=dtype)
    layer = Layer("sum", "add", dtype, (24,), (24,), more_inputs=((period,),), scheme=scheme)
    for isa in _simd.available():
        check(single(layer), np.random.default_rng(seed), isa, 1)


@ISAS
@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    "numbers", [(0.05, 0.05, 0.05), (0.05, 0.05, 0.1), (0.02, 0.07, 0.06), (0.1, 0.004, 0.3), (0.5, 0.003, 0.002)]
)
def test_sums_of_all_pairs_of_bytes(numbers: tuple[float, float, float], sign: int, isa: str) -> None:
    """Long sums run another way where that gives the same bytes: equal scales have many halves to round."""
    bytes_of = np.arange(-128, 128, dtype=np.int8)
    x, y = np.repeat(bytes_of, 256), np.tile(bytes_of, 256)
    for points, limits in (((-128, -128, -128), (-128, 127)), ((3, -7, 5), (5, 100))):
        scheme = AffineSum.of(numbers, points, limits, sign=sign)
        for period in (65536, 256, 1):
            layer = Layer("sum", "add", "int8", x.shape, x.shape, more_inputs=((period,),), scheme=scheme)
            expected = scheme.apply(x, np.resize(y[:period], x.shape)).astype(np.int8)
            assert_bit_exact(Network(single(layer), isa=isa).run((x, y[:period].copy())), expected)


@given(seeds, st.sampled_from(("maximum", "minimum")), st.sampled_from((1, 5, 40)), st.booleans())
def test_extremes(seed, op, period, wide) -> None:
    layer = Layer(
        "most", op, "int16" if wide else "int8", (40,), (40,), more_inputs=((period,),), scheme=AffineClamp(-100, 90)
    )
    for isa in _simd.available():
        check(single(layer), np.random.default_rng(seed), isa, 1)


@given(seeds, st.sampled_from((1e-3, 0.05, 0.3, 40.0)), st.sampled_from((8, 16)), st.integers(1, 70))
def test_softmax_of_bytes(seed, scale, bits, cols) -> None:
    layer = Layer(
        "prob", "softmax", "int8", (3, cols), (3, cols), scheme=AffineSoftmax.of(scale, bits=bits),
        output_dtype=f"int{bits}",
    )  # fmt: skip
    check(single(layer), np.random.default_rng(seed), runs=1)


@given(seeds, st.sampled_from((1e-5, 1e-4, 2.0**-12, 0.01)), st.integers(1, 70), st.sampled_from(("tflm", "litert")))
def test_softmax_of_words(seed, scale, cols, arithmetic) -> None:
    scheme = AffineSoftmax16.of(scale, 1.0, arithmetic)
    check(single(Layer("prob", "softmax", "int16", (2, cols), (2, cols), scheme=scheme)), np.random.default_rng(seed))


@given(st.sampled_from(("sigmoid", "tanh")), st.sampled_from((1e-5, 2.0**-12, 3e-4, 0.02, 1.0)))
def test_curves_of_words(kind, scale) -> None:
    every = np.arange(-(2**15), 2**15).astype(np.int16)
    graph = single(Layer("curve", kind, "int16", every.shape, every.shape, scheme=AffineCurve.of(kind, scale)))
    assert_bit_exact(Network(graph).run(every), Interpreter(graph).run(every)[0])


@given(
    st.sampled_from(("int8", "uint8", "int16")), st.sampled_from(("int8", "uint8", "int16")),
    st.sampled_from((0.5, 2.0**-8, 1.0, 3.3, 300.0, 0.0)), st.booleans(),
)  # fmt: skip
def test_every_number_to_another_scale(source, result, real, is_leaky) -> None:
    own, other = TENSOR_TYPES[source], TENSOR_TYPES[result]
    every = np.arange(own.low, own.high + 1).astype(own.dtype)
    below = quantize_multiplier(real / 7) if is_leaky else None
    zeros = (0 if own.bits == 16 else 3, 0 if other.bits == 16 else other.low + 1)
    scheme = AffineRescale(*zeros, *quantize_multiplier(real), other.low, other.high, below)
    layer = Layer("to", "requantise", source, every.shape, every.shape, scheme=scheme, output_dtype=result)
    if source == "uint8":
        with pytest.raises(CmsisnnError, match="expected dtype in int8, int16 for requantise, got uint8"):
            Network(single(layer))
        return
    assert_bit_exact(Network(single(layer)).run(every), scheme.apply(every).astype(other.dtype))


@given(seeds, st.sampled_from(("int8", "int16", "uint8")), st.integers(1, 6))
def test_views_of_any_axes(seed, dtype, axes) -> None:
    """Steps that go back, stand still and leap; and the same elements written instead of read."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(1, 4, axes))
    order = rng.permutation(axes)
    steps, size = np.zeros(axes, int), 1
    for axis in order:
        steps[axis], size = size, size * (shape[axis] + int(rng.integers(0, 2)))
    sign = rng.choice([1, -1], axes)
    offset = int(sum((n - 1) * s for n, s, g in zip(shape, steps, sign, strict=True) if g < 0))
    own = TENSOR_TYPES[dtype]
    view = View(shape, tuple(int(step) for step in steps * sign), offset)
    scheme = AffineClamp(own.low, own.high, fill=own.high - 3)
    copy = Layer("copy", "copy", dtype, (size,), shape, scheme=scheme, view=view)
    check(single(copy), rng, runs=1)
    check(single(replace(copy, op="pad", input_shape=shape, output_shape=(size,))), rng, runs=1)
    still = replace(copy, view=View(shape, (0,) * axes, int(rng.integers(0, size))))
    check(single(still), rng, runs=1)


def of_every_kind() -> list[Layer]:
    """A layer of each operation that the shared graphs have."""
    layers = [node.layer for make in GRAPHS.values() for node in make().nodes]
    return list({(layer.op, layer.dtype, layer.output_type.name): layer for layer in layers}.values())


@pytest.mark.parametrize("layer", of_every_kind(), ids=lambda layer: f"{layer.op}-{layer.dtype}")
def test_samples_of_a_layer_are_runs_of_it(layer: Layer) -> None:
    """One behind the other, of every input."""
    alone, together = (Network(single(replace(layer, samples=samples))) for samples in (1, 3))
    rng = np.random.default_rng(3)
    batch = [random_array(rng, (3, *shape), layer.numpy_dtype) for shape in layer.input_shapes]
    expected = np.stack([alone.run(given_as(alone.graph, [x[at] for x in batch])) for at in range(3)])
    got = together.run(given_as(together.graph, batch))
    assert_bit_exact(got.reshape(expected.shape), expected)


def test_a_leading_1_may_be_missing() -> None:
    layer = Layer("act", "look_up", "int8", (1, 2, 3), (1, 2, 3), table=np.arange(256).astype(np.int8))
    network = Network(single(layer))
    x = random_array(np.random.default_rng(0), (1, 2, 3), np.int8)
    assert_bit_exact(network.run(x), x)
    assert_bit_exact(network.run(x[0]), x[0])
    batch = random_array(np.random.default_rng(0), (5, 1, 2, 3), np.int8)
    assert_bit_exact(network.run(batch), batch)
    assert_bit_exact(network.run(batch[:, 0]), batch[:, 0])
    assert network.trace(x[0])["act"].shape == (2, 3)
    with pytest.raises(ShapeError, match=r"x: expected shape \(1, 2, 3\) or \(n, 1, 2, 3\), got \(3, 2\)"):
        network.run(np.zeros((3, 2), np.int8))
    with pytest.raises(ShapeError, match=r"x: expected shape \(1, 2, 3\) or \(n, 1, 2, 3\), got \(2, 3\)"):
        Network([layer]).run(x[0])


def test_inputs_and_constants_may_be_outputs() -> None:
    """And a tensor may be asked for twice."""
    b = Builder()
    x, table = b.input("x", (4,)), b.constant("table", (3,))
    y = b.look_up("act", x)
    graph = b.graph(y, x, table, y)
    values = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int8)
    network = Network(graph)
    for given_x in (values[0], values):
        first, same, constant, again = network.run(given_x)
        assert_bit_exact(again, first)
        assert_bit_exact(same, given_x)
        assert_bit_exact(constant, np.broadcast_to(b.tensors[table].value, (*given_x.shape[:-1], 3)))


def counting() -> Graph:
    """A sum that grows by every input, and is given out before."""
    one = TENSOR_TYPES["int8"]
    scheme = AffineSum.of((1.0, 1.0, 1.0), (0, 0, 0), (-128, 127))
    layer = Layer("grow", "add", "int8", (2,), (2,), more_inputs=((2,),), scheme=scheme)
    shown = Layer("show", "look_up", "int8", (2,), (2,), table=np.arange(256).astype(np.int8))
    tensors = [Tensor(name, (2,), one) for name in ("x", "held", "sum", "shown")]
    nodes = [
        Node("grow", "add", ("x", "held"), ("sum",), layer), Node("show", "look_up", ("held",), ("shown",), shown),
    ]  # fmt: skip
    return Graph(tensors, nodes, ["x"], ["shown"], [State("held", "sum", np.array([10, -10], np.int8))])


def test_states_are_kept_and_forgotten() -> None:
    network = Network(counting())
    x = np.array([1, 2], np.int8)
    assert [network.run(x).tolist() for _ in range(3)] == [[10, -10], [11, -8], [12, -6]]
    network.reset()
    batch = network.run(np.stack([x, x, x]), threads=2)
    assert batch.tolist() == [[10, -10], [11, -8], [12, -6]]
    network.reset()
    assert network.trace(np.stack([x, x]))["grow"].tolist() == [[11, -8], [12, -6]]
    assert network.run(x).tolist() == [12, -6]
    assert pickle.loads(pickle.dumps(network)).run(x).tolist() == [10, -10]
    check(counting(), np.random.default_rng(0), runs=4)


def test_wrong_inputs_are_named() -> None:
    network = Network(GRAPHS["two_inputs"]())
    x = np.zeros((4, 4, 3), np.int8)
    with pytest.raises(ShapeError, match="x: expected a tuple of 2 arrays, got ndarray"):
        network.run(x)
    with pytest.raises(ShapeError, match="x: expected a tuple of 2 arrays, got 3 of them"):
        network.run((x, x, x))
    with pytest.raises(CmsisnnError, match=r"x\[1\]: expected int8 for an input of int8, got int16"):
        network.run((x, x.astype(np.int16)))
    with pytest.raises(ShapeError, match=r"x\[1\]: expected shape \(4, 4, 3\) or \(n, 4, 4, 3\), got \(4, 4\)"):
        network.run((x, x[..., 0]))
    with pytest.raises(ShapeError, match="x: expected as many samples of every input"):
        network.run((np.stack([x, x]), x))


CONV = GRAPHS["chain"]().nodes[0].layer
PAIR = Layer(
    "p", "add", "int8", (8,), (8,), more_inputs=((4,),),
    scheme=AffineSum.of((1.0, 1.0, 1.0), (0, 0, 0), (-128, 127)),
)  # fmt: skip
COPY = Layer("v", "copy", "int8", (8,), (4,), scheme=AffineClamp(-128, 127), view=View((4,), (2,), 1))
TABLE = Layer("t", "look_up", "int8", (8,), (8,), table=np.zeros(256, np.int8))
GROW = Layer("g", "resize_nearest", "int8", (1, 2, 3), (1, 2, 3), table=np.array([0, 0, 3], np.int32))


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (replace(CONV, bias=np.zeros(6, np.int8)), "expected bias of type int32, got int8"),
        (replace(CONV, scheme=None), "expected a scheme of Affine, got None"),
        (replace(CONV, scheme=AffineClamp(0, 1)), "expected a scheme of Affine, got AffineClamp"),
        (replace(CONV, scheme=replace(CONV.scheme, shift=(0,) * 6, multiplier=(1,) * 5)), "as many shifts as"),
        (replace(CONV, scheme=replace(CONV.scheme, shift=(31,) * 6)), r"expected shifts in -31\.\.30"),
        (
            replace(CONV, scheme=replace(CONV.scheme, shift=(0,) * 5, multiplier=(1,) * 5)),
            "expected 1 or 6 multipliers",
        ),
        (
            replace(CONV, scheme=replace(CONV.scheme, input_zero_point=128)),
            "expected input_zero_point of int8, got 128",
        ),
        (
            replace(CONV, scheme=replace(CONV.scheme, low=5, high=4)),
            r"expected a range within that of int8, got \(5, 4\)",
        ),
        (replace(CONV, scheme=replace(CONV.scheme, bits=16)), "expected a scheme of 8 bits, got 16"),
        (replace(CONV, groups=3), "expected groups that divide the channels, got 3"),
        (replace(CONV, dilation=(0, 1)), "expected positive dilation"),
        (replace(CONV, samples=0), "expected at least one sample"),
        (replace(CONV, output_dtype="int16"), "expected output type int8, got int16"),
        (replace(PAIR, more_inputs=()), "expected two inputs, got 1"),
        (replace(PAIR, more_inputs=((3,),)), "expected a second input whose size divides 8"),
        (replace(PAIR, scheme=replace(PAIR.scheme, left_shift=31)), r"expected a left shift in 0\.\.30"),
        (replace(COPY, view=None), "expected a view, got None"),
        (replace(COPY, view=View((4,), (2,), 2)), r"expected a view within 0\.\.7, got \(2, 8\)"),
        (replace(COPY, view=View((4,), (-2,), 5)), r"expected a view within 0\.\.7, got \(-1, 5\)"),
        (replace(COPY, view=View((2, 2), (1,), 0)), "expected a view of at most 6 axes"),
        (replace(TABLE, table=np.zeros(255, np.int8)), r"expected table of shape \(256,\)"),
        (replace(TABLE, table=np.zeros(256, np.int16)), "expected table of type int8, got int16"),
        (replace(TABLE, dtype="int16"), "expected dtype in int8, uint8 for look_up, got int16"),
        (replace(GROW, table=np.array([0, 0, 4], np.int32)), "expected offsets within the input"),
        (replace(GROW, table=np.array([-1, 1, 1], np.int32)), "expected offsets within the input"),
        (Layer("s", "softmax", "int8", (8192,), (8192,), scheme=AffineSoftmax.of(1.0)), "at most 8191 columns"),
        (Layer("s", "softmax", "int8", (4,), (4,), scheme=AffineSoftmax(2**30, -1, 0)), "a scale of at least 2"),
        (Layer("m", "multiply", "q7", (4,), (4,), more_inputs=((4,),)), "expected dtype in int8, int16 for multiply"),
    ],
)
def test_impossible_layers_are_refused(layer: Layer, message: str) -> None:
    """Kernels read and write by these numbers."""
    with pytest.raises(CmsisnnError, match=message):
        Network(single(layer))
