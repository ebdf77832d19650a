#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# No LiteRT mode has a device's bytes for an int8 FULLY_CONNECTED, though two of them agree; as a 1x1 CONV_2D it is exact
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: BUILTIN_REF computes what TFLM computes, as it does for CONV_2D, so a golden file may come from it; and where
# reference and default interpreter agree, the number is right.
# Seen: one layer of 8 units, written once as FULLY_CONNECTED and once as CONV_2D 1x1 with the same weights. CONV_2D:
# LiteRT's reference equals TFLM in every byte. FULLY_CONNECTED: TFLM gives the same bytes again, but LiteRT's reference turns
# the accumulator to int8 in floating point, with one rounding: 13 % of the bytes differ from TFLM's with the multiplier 0.18,
# 21 % with 0.25. The default interpreter (XNNPACK) has the reference's bytes; the optimised kernels differ from all others.
# TFLM's two roundings do not give the nearest integer: its error is up to 0.75 steps, the reference's 0.5.
# Why it matters: most networks end in a dense layer, so golden outputs from LiteRT do not hold on a Cortex-M board (an
# autoencoder of dense layers shows it in a large part of its bytes), and nothing is broken there. Take them from tflite-micro.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q tflite-micro==0.dev20261023182759 ai-edge-litert==2.3.0 flatbuffers==25.12.19 numpy==2.4.6
cat >run.py <<'EOF'
import flatbuffers
import numpy as np
from ai_edge_litert import interpreter as lite
from ai_edge_litert import schema_py_generated as schema
from tflite_micro.python.tflite_micro import runtime as micro

TYPES = {"float32": 0, "int32": 2, "int64": 4, "int16": 7, "int8": 9}


def tensor(shape, dtype, scale=None, zero=0, values=None):
    t = schema.TensorT()
    t.shape, t.type, t.name, t.values = list(shape), TYPES[dtype], b"t", values
    if scale is not None:
        t.quantization = schema.QuantizationParametersT()
        t.quantization.scale = np.atleast_1d(np.float32(scale))
        t.quantization.zeroPoint = np.full(t.quantization.scale.size, zero, np.int64)
    return t


def constant(values, scale=None):
    return tensor(values.shape, values.dtype.name, scale, 0, values)


def file_of(operator, version, inputs, output, options=None, **fields):
    """A .tflite file with one operator; tensors without values are its inputs."""
    code, node, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode, code.version = getattr(schema.BuiltinOperator, operator), version
    code.deprecatedBuiltinCode = min(code.builtinCode, 127)
    node.inputs, node.outputs = list(range(len(inputs))), [len(inputs)]
    if options:
        node.builtinOptionsType = getattr(schema.BuiltinOptions, options)
        node.builtinOptions = getattr(schema, options + "T")()
        vars(node.builtinOptions).update(fields)
    graph.tensors, graph.operators, graph.outputs = [*inputs, output], [node], [len(inputs)]
    graph.inputs = [n for n, t in enumerate(inputs) if t.values is None]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    for t in inputs:
        if t.values is not None:
            t.buffer = len(model.buffers)
            model.buffers.append(schema.BufferT())
            model.buffers[-1].data = np.frombuffer(t.values.tobytes(), np.uint8)
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def tflm(file, *inputs):
    run = micro.Interpreter.from_bytes(file, arena_size=1 << 21)
    for n, x in enumerate(inputs):
        run.set_input(x, n)
    run.invoke()
    return run.get_output(0)


def litert(file, *inputs, kernels="BUILTIN_REF"):
    run = lite.Interpreter(model_content=file, num_threads=1,
                           experimental_op_resolver_type=lite.OpResolverType[kernels])
    run.allocate_tensors()
    for detail, x in zip(run.get_input_details(), inputs):
        run.set_tensor(detail["index"], x)
    run.invoke()
    return run.get_tensor(run.get_output_details()[0]["index"])


def expect(what, seen, wanted):
    seen = seen.tolist() if hasattr(seen, "tolist") else seen
    print(f"{what}: {seen}")
    if seen != wanted:
        raise SystemExit(f"changed: {what} was {wanted}")


weights = (np.arange(8 * 16) * 37 % 15 - 7).astype(np.int8).reshape(8, 16)
bias = (np.arange(8) * 11 - 40).astype(np.int32)
x = (np.arange(256 * 16) * 7919 % 61 - 30).astype(np.int8).reshape(256, 16)


def dense(scale):
    return file_of("FULLY_CONNECTED", 4, [tensor(x.shape, "int8", 0.05), constant(weights, 0.05), constant(bias, 0.0025)],
                   tensor((256, 8), "int8", scale), "FullyConnectedOptions")


def convolution(scale):
    shape = (1, 1, 256, 16)
    return file_of("CONV_2D", 3, [tensor(shape, "int8", 0.05), constant(weights.reshape(8, 1, 1, 16), 0.05),
                                  constant(bias, 0.0025)], tensor((1, 1, 256, 8), "int8", scale), "Conv2DOptions",
                   padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)


def differ(a, b):
    return int((a.ravel() != b.ravel()).sum())


for scale, reference_off, optimised_off, error in ((0.0137, 276, 367, 0.62), (0.01, 436, 604, 0.75)):
    print("multiplier", round(0.0025 / scale, 3))
    device = tflm(dense(scale), x)
    as_convolution = tflm(convolution(scale), x.reshape(1, 1, 256, 16))
    reference, xnnpack = litert(dense(scale), x), litert(dense(scale), x, kernels="AUTO")
    optimised = litert(dense(scale), x, kernels="BUILTIN_WITHOUT_DEFAULT_DELEGATES")
    factor = float(np.float32(0.05)) ** 2 / float(np.float32(scale))
    exact = np.clip((x.astype(int) @ weights.T.astype(int) + bias) * factor, -128, 127)
    expect("CONV_2D 1x1, TFLM against LiteRT reference, of 2048",
           differ(as_convolution, litert(convolution(scale), x.reshape(1, 1, 256, 16))), 0)
    expect("TFLM, CONV_2D 1x1 against FULLY_CONNECTED", differ(as_convolution, device), 0)
    expect("FULLY_CONNECTED, TFLM against LiteRT reference", differ(device, reference), reference_off)
    expect("FULLY_CONNECTED, TFLM against LiteRT optimised", differ(device, optimised), optimised_off)
    expect("FULLY_CONNECTED, TFLM against LiteRT default (XNNPACK)", differ(device, xnnpack), reference_off)
    expect("FULLY_CONNECTED, LiteRT reference against XNNPACK", differ(reference, xnnpack), 0)
    expect("greatest error of TFLM", round(float(abs(device - exact).max()), 2), error)
    expect("greatest error of LiteRT reference", round(float(abs(reference - exact).max()), 2), 0.5)
EOF
venv/bin/python run.py
