#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Keras exports no ONNX file of a model that was just loaded or built: it must have been called once
# keras 3.15.1, torch 2.13.0, onnx 1.23.2, onnxscript 0.7.2 (Python 3.11, x86-64 Linux)
#
# Expected: model.export("model.onnx", format="onnx") writes a model whose inputs are known (Sequential with an Input, functional),
# as keras.models.load_model gives it; both have `built` set and their input signature is found.
# Seen: ValueError "The model provided has never called." for both kinds, built, and loaded from a .keras file. After one
# model.predict the same object is exported; saved and loaded once more it is refused again. Nothing tells what to do.
# Why it matters: training and conversion are mostly two programs, and loading a trained .keras file to export it is all that the
# second one does. model.predict(np.zeros((1, *model.input_shape[1:]))) in front of export is enough.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q keras==3.15.1 torch==2.13.0 onnx==1.23.2 onnxscript==0.7.2 numpy==2.4.6
cat >run.py <<'EOF'
import os

os.environ["KERAS_BACKEND"] = "torch"

import keras
import numpy as np


def expect(what, seen, wanted):
    print(f"{what}: {seen}")
    if seen != wanted:
        raise SystemExit(f"changed: {what} was {wanted}")


def sequential():
    return keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])


def functional():
    given = keras.Input((4,))
    return keras.Model(given, keras.layers.Dense(3)(given))


def exported(model):
    try:
        model.export("model.onnx", format="onnx", verbose=False)
    except ValueError as problem:
        return str(problem).strip()
    return "exported"


def loaded(model):
    model.save("model.keras")
    return keras.models.load_model("model.keras")


refused = "The model provided has never called."
for build in (sequential, functional):
    model, name = build(), build.__name__
    expect(f"{name}, built", (model.built, exported(model)), (True, refused))
    model = loaded(model)
    expect(f"{name}, loaded", (model.built, exported(model)), (True, refused))
    model.predict(np.zeros((1, 4), np.float32), verbose=0)
    expect(f"{name}, after one call", exported(model), "exported")
    expect(f"{name}, saved and loaded again", exported(loaded(model)), refused)
EOF
venv/bin/python run.py
