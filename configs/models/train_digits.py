# SPDX-License-Identifier: Apache-2.0
"""Train the network of ``digits.yaml`` in float and write it as ``digits.onnx``, with its data, beside this script.

    python train_digits.py                 # needs scikit-learn (for the images) and onnx
    cmsisnn-quantize digits.onnx --calibration digits_calibration.npz --test digits_test.npz -o digits.yaml
    cmsisnn-tune digits.yaml --target cortex-m4
    cmsisnn-verify build/digits

The data are scikit-learn's bundled handwritten digits: 1797 real images of 8x8 pixels, values 0..16. A quarter is held
out. The network divides pixels by 16 itself. Everything is NumPy, seeded and on one thread of arithmetic; the
committed files come from this script.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

if TYPE_CHECKING:
    import onnx

HERE = Path(__file__).parent
LAYERS = {"conv1": (8, 3, 3, 1), "conv2": (16, 3, 3, 8), "fc": (10, 64)}
EPOCHS, BATCH, RATE, DECAY, SEED = 60, 32, 5e-3, 0.1, 0

Weights = dict[str, np.ndarray]


def split() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images ``(n, 8, 8, 1)`` of integers 0..16 and labels: training images and labels, then the held-out quarter."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = digits.images.astype(np.int64)[..., None]
    order = np.random.default_rng(0).permutation(len(images))
    train, held_out = order[len(order) // 4 :], order[: len(order) // 4]
    return images[train], digits.target[train], images[held_out], digits.target[held_out]


def to_float(pixels: np.ndarray) -> np.ndarray:
    """What the float network sees."""
    return pixels / 16.0


def columns(x: np.ndarray) -> np.ndarray:
    """The 3x3 neighbourhoods, zeros outside: ``(n, h, w, c)`` -> ``(n, h, w, 9 * c)``, row by row."""
    windows = sliding_window_view(np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0))), (3, 3), axis=(1, 2))
    return np.moveaxis(windows, 3, -1).reshape(*x.shape[:3], -1)


def forward(weights: Weights, x: np.ndarray) -> dict[str, np.ndarray]:
    """Every tensor of the float network for images ``(n, 8, 8, 1)``; ``"fc"`` holds the logits."""
    t = {"input": x}
    for conv, pool in (("conv1", "pool1"), ("conv2", "pool2")):
        source = t["input" if conv == "conv1" else "pool1"]
        t[conv + "/columns"] = columns(source)
        out_ch = weights[conv + "/weights"].shape[0]
        sums = t[conv + "/columns"] @ weights[conv + "/weights"].reshape(out_ch, -1).T
        t[conv] = np.maximum(sums + weights[conv + "/bias"], 0)
        n, h, w, c = t[conv].shape
        t[pool] = t[conv].reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    t["fc"] = t["pool2"].reshape(len(x), -1) @ weights["fc/weights"].T + weights["fc/bias"]
    return t


def gradients(weights: Weights, x: np.ndarray, labels: np.ndarray) -> Weights:
    """Gradients of the mean cross-entropy."""
    t = forward(weights, x)
    p = np.exp(t["fc"] - t["fc"].max(axis=1, keepdims=True))
    p /= p.sum(axis=1, keepdims=True)
    p[np.arange(len(x)), labels] -= 1
    d = p / len(x)
    g = {"fc/weights": d.T @ t["pool2"].reshape(len(x), -1), "fc/bias": d.sum(axis=0)}
    d = (d @ weights["fc/weights"]).reshape(t["pool2"].shape)
    for conv, pool in (("conv2", "pool2"), ("conv1", "pool1")):
        n, h, w, c = d.shape
        windows = t[conv].reshape(n, h, 2, w, 2, c)
        largest = windows == t[pool][:, :, None, :, None, :]
        # Flat background makes equal maxima; each takes its share.
        share = d[:, :, None, :, None, :] / largest.sum(axis=(2, 4), keepdims=True)
        d = (share * largest * (windows > 0)).reshape(t[conv].shape)
        kernel = weights[conv + "/weights"]
        flat = d.reshape(-1, d.shape[-1])
        g[conv + "/weights"] = (flat.T @ t[conv + "/columns"].reshape(len(flat), -1)).reshape(kernel.shape)
        g[conv + "/bias"] = flat.sum(axis=0)
        turned = kernel[:, ::-1, ::-1, :].transpose(1, 2, 0, 3).reshape(-1, kernel.shape[-1])
        d = columns(d) @ turned
    return g


def train(images: np.ndarray, labels: np.ndarray) -> Weights:
    """Adam with decoupled weight decay and a rate that falls to zero; the same weights at every run."""
    rng = np.random.default_rng(SEED)
    weights: Weights = {}
    for name, shape in LAYERS.items():
        weights[name + "/weights"] = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
        weights[name + "/bias"] = np.zeros(shape[0])
    mean = {k: np.zeros_like(v) for k, v in weights.items()}
    square = {k: np.zeros_like(v) for k, v in weights.items()}
    step, steps = 0, EPOCHS * -(-len(images) // BATCH)
    for _ in range(EPOCHS):
        order = rng.permutation(len(images))
        for start in range(0, len(order), BATCH):
            batch = order[start : start + BATCH]
            step += 1
            rate = RATE * (1 - step / (steps + 1))
            for k, g in gradients(weights, to_float(images[batch]), labels[batch]).items():
                mean[k] += 0.1 * (g - mean[k])
                square[k] += 0.001 * (g * g - square[k])
                corrected = mean[k] / (1 - 0.9**step) / (np.sqrt(square[k] / (1 - 0.999**step)) + 1e-8)
                weights[k] -= rate * (corrected + DECAY * weights[k])
    return weights


def onnx_model(weights: Weights) -> onnx.ModelProto:
    """The network as frameworks export it: channels first, raw pixels in, probabilities out."""
    from onnx import TensorProto, helper, numpy_helper

    # Channels first: (out, in, kh, kw), and the columns of the dense layer in (c, h, w) order.
    stored = {"scale": np.float32(1 / 16)}
    for name in ("conv1", "conv2"):
        stored[name + "/weights"] = weights[name + "/weights"].transpose(0, 3, 1, 2)
    stored["fc/weights"] = weights["fc/weights"].reshape(10, 2, 2, 16).transpose(0, 3, 1, 2).reshape(10, 64)
    stored |= {k: v for k, v in weights.items() if k.endswith("/bias")}

    def node(op: str, name: str, inputs: list[str], output: str, **attributes: object) -> onnx.NodeProto:
        return helper.make_node(op, inputs, [output], name, **attributes)

    nodes = [node("Mul", "normalise", ["pixels", "scale"], "t0")]
    for number in (1, 2):
        conv, t = f"conv{number}", 3 * number - 3
        inputs = [f"t{t}", conv + "/weights", conv + "/bias"]
        nodes += [
            node("Conv", conv, inputs, f"t{t + 1}", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
            node("Relu", f"relu{number}", [f"t{t + 1}"], f"t{t + 2}"),
            node("MaxPool", f"pool{number}", [f"t{t + 2}"], f"t{t + 3}", kernel_shape=[2, 2], strides=[2, 2]),
        ]
    nodes += [
        node("Flatten", "flatten", ["t6"], "t7"),
        node("Gemm", "fc", ["t7", "fc/weights", "fc/bias"], "t8", transB=1),
        node("Softmax", "prob", ["t8"], "probabilities"),
    ]
    graph = helper.make_graph(
        nodes,
        "digits",
        [helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, 8, 8])],
        [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["n", 10])],
        [numpy_helper.from_array(np.ascontiguousarray(v, np.float32), k) for k, v in stored.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images whose largest logit, the first if several are equal, is at the label."""
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    images, labels, held_out, held_out_labels = split()
    weights = {k: v.astype(np.float32) for k, v in train(images, labels).items()}
    (HERE / "digits.onnx").write_bytes(onnx_model(weights).SerializeToString())
    for file, x, y in (("digits_calibration", images, labels), ("digits_test", held_out, held_out_labels)):
        # As the ONNX model takes them: (n, 1, 8, 8).
        np.savez_compressed(HERE / f"{file}.npz", x=x.transpose(0, 3, 1, 2).astype(np.uint8), y=y.astype(np.uint8))
    logits = forward(weights, to_float(held_out))["fc"]
    print(f"float accuracy on {len(held_out)} held-out images: {accuracy(logits, held_out_labels):.4f}")


if __name__ == "__main__":
    main()
