# SPDX-License-Identifier: Apache-2.0
"""The same layers by NumPy, ONNX Runtime, LiteRT with XNNPACK and this package, one thread each, in one process.

    python benchmarks/peers.py

Times include each library's Python call. int8 everywhere; ONNX Runtime gets unsigned activations, its fast path.
NumPy multiplies float32 (im2col and sgemm only, no requantisation). A library that is not installed is named as absent.
"""

# ruff: noqa: E402  (BLAS reads its thread count when NumPy is imported)
from __future__ import annotations

import os

for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ[name] = "1"

import argparse
import time
from collections.abc import Callable

import numpy as np
from benchmarks.paper import convolution, dense, depthwise, draw, macs, max_pool, paper_network

from cmsisnn_x.layers import Layer
from cmsisnn_x.network import Network

Run = Callable[[], object]


def ours(layers: list[Layer], x: np.ndarray) -> Run:
    network = Network(layers)
    return lambda: network.run(x)


def by_numpy(layers: list[Layer], x: np.ndarray) -> Run | None:
    if len(layers) > 1 or layers[0].op not in ("conv2d", "fully_connected"):
        return None
    (layer,) = layers
    weights = layer.weights.reshape(len(layer.weights), -1).T.astype(np.float32)
    if layer.op == "fully_connected":
        vector = x.reshape(1, -1).astype(np.float32)
        return lambda: vector @ weights
    image = np.pad(x.astype(np.float32), (*layer.padding, (0, 0)))

    def run() -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(image, layer.kernel, axis=(0, 1))
        return windows.transpose(0, 1, 3, 4, 2).reshape(-1, len(weights)) @ weights

    return run


def by_onnx_runtime(layers: list[Layer], x: np.ndarray) -> Run:
    import onnx
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    if layers[0].op == "avg_pool2d":
        raise NotImplementedError("no quantized average pooling in the standard operators")
    onnxruntime.set_default_logger_severity(3)
    scale, zero = np.float32(1 / 128), np.uint8(0)
    constants = {"scale": scale, "zero": zero, "weight_zero": np.int8(0)}
    nodes, value = [], "x"
    for layer in layers:
        out, name = f"{layer.name}_out", layer.name
        if layer.op in ("conv2d", "depthwise_conv2d"):
            axes = (0, 3, 1, 2) if layer.op == "conv2d" else (2, 0, 1)
            weights = layer.weights.transpose(axes)
            weights = weights if layer.op == "conv2d" else weights[:, None]
            constants |= {f"{name}_w": np.ascontiguousarray(weights), f"{name}_s": np.float32(2.0**-layer.out_shift)}
            constants[f"{name}_b"] = layer.bias.astype(np.int32)
            (top, bottom), (left, right) = layer.padding
            inputs = [value, "scale", "zero", f"{name}_w", f"{name}_s", "weight_zero", "scale", "zero", f"{name}_b"]
            nodes.append(helper.make_node("QLinearConv", inputs, [out], pads=[top, left, bottom, right],
                                          group=1 if layer.op == "conv2d" else layer.image[2]))  # fmt: skip
        elif layer.op == "max_pool2d":
            window = {"kernel_shape": layer.kernel, "strides": layer.stride, "ceil_mode": 1}
            nodes.append(helper.make_node("MaxPool", [value], [out], **window))
        elif layer.op == "fully_connected":
            constants |= {f"{name}_w": np.ascontiguousarray(layer.weights.T)}
            constants |= {f"{name}_s": np.float32(2.0**-layer.out_shift)}
            constants["flat"] = np.array([1, -1])
            nodes.append(helper.make_node("Reshape", [value, "flat"], [f"{name}_flat"]))
            inputs = [f"{name}_flat", "scale", "zero", f"{name}_w", f"{name}_s", "weight_zero", "scale", "zero"]
            nodes.append(helper.make_node("QLinearMatMul", inputs, [out]))
        elif layer.op == "softmax":
            continue
        value = out
    tensors = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    shape = [1, layers[0].image[2], *layers[0].image[:2]]
    result = ["n", *"chw"[: len(layers[-1].output_shape)]]
    graph = helper.make_graph(
        nodes, "peer",
        [helper.make_tensor_value_info("x", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info(value, TensorProto.UINT8, result)], tensors,
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(model)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    unsigned = (x.astype(np.int16) + 128).astype(np.uint8)
    image = np.ascontiguousarray(unsigned.reshape(layers[0].image).transpose(2, 0, 1)[None])
    return lambda: session.run(None, {"x": image})


def tflite_model(layers: list[Layer]) -> bytes:
    """A LiteRT flatbuffer of the layers: all activations at scale 1/128, weights at 2^-out_shift per channel."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.subgraphs, model.buffers, model.operatorCodes = 3, [graph], [schema.BufferT()], []
    graph.tensors, graph.operators = [], []

    def tensor(name: str, shape: tuple[int, ...], kind: int, scales: list[float], zero: int = 0, axis: int = 0,
               data: np.ndarray | None = None) -> int:  # fmt: skip
        t, quantization = schema.TensorT(), schema.QuantizationParametersT()
        quantization.scale, quantization.zeroPoint, quantization.quantizedDimension = scales, [zero] * len(scales), axis
        t.name, t.shape, t.type, t.quantization, t.buffer = name.encode(), list(shape), kind, quantization, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            model.buffers.append(buffer)
            t.buffer = len(model.buffers) - 1
        graph.tensors.append(t)
        return len(graph.tensors) - 1

    def operator(code: int, inputs: list[int], output: int, kind: int, options: object) -> None:
        operator_code, op = schema.OperatorCodeT(), schema.OperatorT()
        operator_code.builtinCode, operator_code.deprecatedBuiltinCode, operator_code.version = code, code, 3
        model.operatorCodes.append(operator_code)
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, [output]
        op.builtinOptionsType, op.builtinOptions = kind, options
        graph.operators.append(op)

    codes, kinds, int8 = schema.BuiltinOperator, schema.BuiltinOptions, schema.TensorType.INT8
    first = layers[0]
    value = tensor("x", (1, *first.image) if len(first.input_shape) == 3 else (1, *first.input_shape), int8, [1 / 128])
    graph.inputs = [value]
    for layer in layers:
        flat = len(layer.output_shape) == 1
        softmax = layer.op == "softmax"
        out = tensor(layer.name, (1, *layer.output_shape) if flat else (1, *layer.output_image), int8,
                     [1 / 256 if softmax else 1 / 128], -128 if softmax else 0)  # fmt: skip
        inputs = [value]
        if layer.weights is not None:
            channels = layer.output_image[2]
            scales = [2.0**-layer.out_shift] * channels
            spread = layer.op == "depthwise_conv2d"
            weights = layer.weights[None] if spread else layer.weights
            bias = layer.bias.astype(np.int32) << layer.bias_shift
            inputs.append(tensor(f"{layer.name}_w", weights.shape, int8, scales, 0, 3 if spread else 0, weights))
            scales = [scale / 128 for scale in scales]
            inputs.append(tensor(f"{layer.name}_b", (channels,), schema.TensorType.INT32, scales, 0, 0, bias))
        if layer.op == "fully_connected":
            code, kind, options = codes.FULLY_CONNECTED, kinds.FullyConnectedOptions, schema.FullyConnectedOptionsT()
        elif softmax:
            code, kind, options = codes.SOFTMAX, kinds.SoftmaxOptions, schema.SoftmaxOptionsT()
            options.beta = 1.0
        else:
            code, kind, make = {
                "conv2d": (codes.CONV_2D, kinds.Conv2DOptions, schema.Conv2DOptionsT),
                "depthwise_conv2d": (
                    codes.DEPTHWISE_CONV_2D, kinds.DepthwiseConv2DOptions, schema.DepthwiseConv2DOptionsT,
                ),
                "max_pool2d": (codes.MAX_POOL_2D, kinds.Pool2DOptions, schema.Pool2DOptionsT),
                "avg_pool2d": (codes.AVERAGE_POOL_2D, kinds.Pool2DOptions, schema.Pool2DOptionsT),
            }[layer.op]  # fmt: skip
            options = make()
            options.padding = schema.Padding.SAME
            options.strideH, options.strideW = layer.stride
            if layer.op in ("max_pool2d", "avg_pool2d"):
                options.filterHeight, options.filterWidth = layer.kernel
            else:
                options.dilationHFactor = options.dilationWFactor = options.depthMultiplier = 1
        if layer.activation == "relu":
            options.fusedActivationFunction = schema.ActivationFunctionType.RELU
        operator(code, inputs, out, kind, options)
        value = out
    graph.outputs = [value]
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def by_litert(layers: list[Layer], x: np.ndarray) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=tflite_model(layers), num_threads=1)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    image = x.reshape(source["shape"])

    def run() -> np.ndarray:
        interpreter.set_tensor(source["index"], image)
        interpreter.invoke()
        return interpreter.get_tensor(result["index"])

    return run


PEERS: dict[str, Callable[[list[Layer], np.ndarray], Run | None]] = {
    "cmsisnn-x": ours,
    "LiteRT+XNNPACK": by_litert,
    "ONNX Runtime": by_onnx_runtime,
    "NumPy f32": by_numpy,
}

CASES = {
    "conv1 5x5 3->32, 32x32": [convolution("conv1", 32, 3, 32, 5)],
    "conv2 5x5 32->32, 16x16": [convolution("conv2", 16, 32, 32, 5)],
    "conv3 5x5 32->64, 8x8": [convolution("conv3", 8, 32, 64, 5)],
    "3x3 64->64, 8x8": [convolution("conv64", 8, 64, 64, 3)],
    "3x3 3->16, 32x32": [convolution("resnet1", 32, 3, 16, 3)],
    "3x3 16->16, 32x32": [convolution("resnet2", 32, 16, 16, 3)],
    "3x3 1->8, 28x28": [convolution("grey", 28, 1, 8, 3)],
    "1x1 8->16, 48x48": [convolution("pointwise8", 48, 8, 16, 1)],
    "1x1 32->32, 16x16": [convolution("pointwise", 16, 32, 32, 1)],
    "1x1 256->256, 7x7": [convolution("pointwise256", 7, 256, 256, 1)],
    "depthwise 3x3, 16x16x32": [depthwise("depthwise", 16, 32, 3)],
    "depthwise 3x3, 48x48x8": [depthwise("depthwise8", 48, 8, 3)],
    "depthwise 5x5, 25x25x64": [depthwise("depthwise25", 25, 64, 5)],
    "depthwise 3x3, 48x48x64": [depthwise("depthwise48", 48, 64, 3)],
    "max pool 3x3 s2, 32x32x32": [max_pool("pool", 32, 32)],
    "avg pool 3x3 s2, 32x32x32": [max_pool("pool", 32, 32, op="avg_pool2d")],
    "FC 1024->10": [dense("fc1", (4, 4, 64), 10)],
    "FC 640->128": [dense("fc128", (640,), 128)],
    "FC 1024->512": [dense("fc512", (1024,), 512)],
    "softmax 10": [Layer("prob", "softmax", "q7", (10,), (10,))],
    "paper network": paper_network(),
}


def seconds(run: Run, budget: float) -> float:
    """Time of one call: the median of samples of about 1 ms each, taken for `budget` seconds."""
    start = time.perf_counter()
    run()
    calls = max(1, int(1e-3 / max(time.perf_counter() - start, 1e-7)))
    samples = []
    end = time.perf_counter() + budget
    while time.perf_counter() < end or len(samples) < 5:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        samples.append((time.perf_counter() - start) / calls)
    return float(np.median(samples))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.3, help="per library and case")
    parser.add_argument("--only", default="", help="cases whose name contains this")
    options = parser.parse_args()
    absent: dict[str, str] = {}
    print(f"{'':28}" + "".join(f"{name:>30}" for name in PEERS))
    for case, layers in CASES.items():
        if options.only not in case:
            continue
        x = draw("x", layers[0].input_shape, "q7")
        mine = None
        line = f"{case:28}"
        for name, build in PEERS.items():
            if name in absent:
                run = None
            else:
                try:
                    run = build(layers, x)
                except ImportError as error:
                    absent[name], run = str(error), None
                except (NotImplementedError, RuntimeError, ValueError, KeyError) as error:
                    absent[f"{name}, {case}"], run = str(error).splitlines()[0], None
            if run is None:
                line += f"{'-':>30}"
                continue
            taken = seconds(run, options.seconds)
            mine = mine or taken
            rate = f"{macs(layers) / taken * 1e-9:6.1f} GMAC/s" if macs(layers) else " " * 13
            line += f"{taken * 1e6:8.1f} us {rate} {taken / mine:4.1f}x"
        print(line, flush=True)
    for name, reason in absent.items():
        print(f"absent: {name}: {reason}")


if __name__ == "__main__":
    main()
