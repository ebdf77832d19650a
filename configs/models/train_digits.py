# SPDX-License-Identifier: Apache-2.0
"""Train the network of ``digits.yaml`` and quantise it: ``python train_digits.py`` writes both npz files beside itself.

The data are scikit-learn's bundled handwritten digits: 1797 real images of 8x8 pixels, values 0..16. A quarter is held
out. The float network sees ``pixel / 16``; the q7 network sees ``4 * pixel``, the same number with 6 fraction bits, so
no pixel is rounded.

A q7 number with f fraction bits stands for ``integer / 2**f``. With ``fx``, ``fw``, ``fb`` and ``fy`` the fraction bits
of a layer's input, weights, bias and output, a product has ``fx + fw`` of them, hence

    bias_shift = fx + fw - fb          out_shift = fx + fw - fy

Everything is NumPy, seeded and on one thread of arithmetic; the committed files come from this script.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

HERE = Path(__file__).parent
LAYERS = {"conv1": (8, 3, 3, 1), "conv2": (16, 3, 3, 8), "fc": (10, 64)}
INPUT_FRACTION = 6
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


def to_q7(pixels: np.ndarray) -> np.ndarray:
    """What the q7 network sees: :func:`to_float` with `INPUT_FRACTION` fraction bits, exactly."""
    return (pixels * 2**INPUT_FRACTION // 16).astype(np.int8)


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


def fraction_bits(values: np.ndarray) -> int:
    """The number of fraction bits, at most 15, whose q7 rendering of `values` has the smallest squared error."""
    errors = [np.square(round_q7(values, f) / 2.0**f - values).sum() for f in range(16)]
    return int(np.argmin(errors))


def round_q7(values: np.ndarray, fraction: int) -> np.ndarray:
    return np.clip(np.floor(values * 2.0**fraction + 0.5), -128, 127)


def quantise(weights: Weights, images: np.ndarray) -> tuple[Weights, dict[str, dict[str, int]]]:
    """The q7 arrays and, per layer, its shifts; `images` (integers 0..16) give the ranges of the outputs."""
    t = forward(weights, to_float(images))
    arrays: Weights = {}
    shifts = {}
    fx = INPUT_FRACTION
    for name in LAYERS:
        w, b = weights[name + "/weights"], weights[name + "/bias"]
        fw, fy = fraction_bits(w), fraction_bits(t[name])
        fb = min(fraction_bits(b), fx + fw)
        fy = min(fy, fx + fw)
        for key, values, f in ((name + "/weights", w, fw), (name + "/bias", b, fb)):
            arrays[key] = round_q7(values, f).astype(np.int8)
        shifts[name] = {"bias_shift": fx + fw - fb, "out_shift": fx + fw - fy}
        fx = fy
    return arrays, shifts


def forward_q7(arrays: Weights, shifts: dict[str, dict[str, int]], pixels: np.ndarray) -> np.ndarray:
    """The logits of the q7 network in integer NumPy, for the accuracy that this script prints."""

    def requantise(sums: np.ndarray, name: str) -> np.ndarray:
        s = shifts[name]
        bias = arrays[name + "/bias"].astype(np.int64) << s["bias_shift"]
        return np.clip((sums + bias + (1 << s["out_shift"] >> 1)) >> s["out_shift"], -128, 127)

    x = to_q7(pixels).astype(np.int64)
    for conv in ("conv1", "conv2"):
        kernel = arrays[conv + "/weights"].astype(np.int64)
        x = np.maximum(requantise(columns(x) @ kernel.reshape(len(kernel), -1).T, conv), 0)
        n, h, w, c = x.shape
        x = x.reshape(n, h // 2, 2, w // 2, 2, c).max(axis=(2, 4))
    return requantise(x.reshape(len(x), -1) @ arrays["fc/weights"].astype(np.int64).T, "fc")


def accuracy(logits: np.ndarray, labels: np.ndarray) -> float:
    """Share of the images whose largest logit, the first if several are equal, is at the label."""
    return float((logits.argmax(axis=1) == labels).mean())


def main() -> None:
    images, labels, held_out, held_out_labels = split()
    weights = {k: v.astype(np.float32) for k, v in train(images, labels).items()}
    arrays, shifts = quantise(weights, images)
    np.savez(HERE / "digits_float.npz", **weights)
    np.savez(HERE / "digits.npz", **arrays)
    for name, s in shifts.items():
        print(f"{name}: bias_shift: {s['bias_shift']}, out_shift: {s['out_shift']}")
    float_logits = forward(weights, to_float(held_out))["fc"]
    q7_logits = forward_q7(arrays, shifts, held_out)
    for kind, logits in (("float", float_logits), ("q7", q7_logits)):
        print(f"{kind} accuracy on {len(held_out)} held-out images: {accuracy(logits, held_out_labels):.4f}")


if __name__ == "__main__":
    main()
