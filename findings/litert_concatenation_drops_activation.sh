#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# LiteRT's default interpreter runs a CONCATENATION with a fused RELU and leaves the RELU out; all others refuse it
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: ConcatenationOptions has a field fused_activation_function. A runtime applies it or refuses the file.
# Seen: LiteRT's reference and optimised kernels and TFLM refuse anything but NONE. The default interpreter hands the
# operator to XNNPACK, which neither looks at the field nor refuses it: int8 and float32 outputs keep their negative values.
# Why it matters: a graph tool that fuses activations wherever there is a field makes such a file. The desktop runs it, with wrong
# numbers, and the refusal comes only on the board, where it looks like a gap of TFLM.
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


for dtype, version, scale in (("int8", 2, 0.1), ("float32", 1, None)):
    x = np.array([[-3, -2, -1, 0, 1, 2, 3, 4]]).astype(dtype)
    file = file_of("CONCATENATION", version, [tensor(x.shape, dtype, scale), tensor(x.shape, dtype, scale)],
                   tensor((1, 16), dtype, scale), "ConcatenationOptions", axis=1,
                   fusedActivationFunction=schema.ActivationFunctionType.RELU)
    expect(f"{dtype}, LiteRT default", litert(file, x, x, kernels="AUTO"), np.concatenate([x, x], 1).tolist())
    for name, run in (("TFLM", tflm), ("LiteRT reference", litert),
                      ("LiteRT optimised", lambda *a: litert(*a, kernels="BUILTIN_WITHOUT_DEFAULT_DELEGATES"))):
        try:
            refused = f"no: {run(file, x, x)}"
        except RuntimeError:
            refused = True
        expect(f"{dtype}, {name} refuses", refused, True)
EOF
venv/bin/python run.py
