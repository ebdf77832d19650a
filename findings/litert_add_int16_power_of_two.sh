#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# int16 ADD with power-of-two scales: LiteRT takes other arithmetic or refuses; TFLM ignores the option behind it
# tflite-micro 0.dev20261023182759, ai-edge-litert 2.3.0 (Python 3.11, x86-64 Linux)
#
# Expected: AddOptions.pot_scale_int16 is true in a file that says nothing (it is the schema's default, and most writers leave
# it out). Power-of-two scales being the simple case, everybody adds alike.
# Seen, for three power-of-two scales:
# - 2^-12 + 2^-13 -> 2^-12: LiteRT shifts and adds, TFLM does not look at the option and requantises as for any scale. Each
#   rounds exact halves its own way: 19 % of the results differ by 1. With pot_scale_int16 false all are equal.
# - 2^-12 + 2^-12 -> 2^-11, a sum with the head room it needs: LiteRT refuses the file, because neither input has the
#   output's scale. TFLM runs it, and so does LiteRT if the option is false.
# Why it matters: 16x8 files of fixed-point flows have these scales. A file may run on the board and not on the desktop, and
# where it runs on both its golden bytes are not the board's. Write pot_scale_int16 = false: TFLM's results do not change.
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


a = (np.arange(4096) * 7919 % 65536 - 32768).astype(np.int16)[None]
b = (np.arange(4096) * 104729 % 65536 - 32768).astype(np.int16)[None]


def add(exponents, **option):
    first, second, output = (tensor(a.shape, "int16", 2.0**e) for e in exponents)
    return file_of("ADD", 3, [first, second], output, "AddOptions", **option)


for exponents, count, example in (((-12, -13, -12), 773, [-24849, 6425, -21637, -21636]),
                                  ((-12, -14, -12), 449, [-19114, 31482, -11244, -11243])):
    silent, without = add(exponents), add(exponents, potScaleInt16=False)
    device, desktop = tflm(silent, a, b), litert(silent, a, b)
    first = np.flatnonzero(device != desktop)[0]
    expect(f"{exponents}, differ of 4096", int((device != desktop).sum()), count)
    expect("the first: a, b, TFLM, LiteRT", [int(v[0, first]) for v in (a, b, device, desktop)], example)
    expect("greatest difference", int(abs(device.astype(int) - desktop).max()), 1)
    expect("LiteRT default against reference", int((litert(silent, a, b, kernels="AUTO") != desktop).sum()), 0)
    expect("pot_scale_int16 false, differ", int((tflm(without, a, b) != litert(without, a, b)).sum()), 0)
    expect("TFLM, with the option against without", int((device != tflm(without, a, b)).sum()), 0)

silent, without = add((-12, -12, -11)), add((-12, -12, -11), potScaleInt16=False)
try:
    refused = f"no: {litert(silent, a, b)}"
except RuntimeError as error:
    refused = "input1_shift == 0 || data->input2_shift == 0 was not true" in str(error)
expect("(-12, -12, -11), refused by LiteRT", refused, True)
expect("(-12, -12, -11), TFLM against LiteRT with pot_scale_int16 false",
       int((tflm(silent, a, b) != litert(without, a, b)).sum()), 0)
EOF
venv/bin/python run.py
