# SPDX-License-Identifier: Apache-2.0
"""Train a small residual network in Keras and write it, quantised to int8, as ``digits_resnet.tflite``.

    pip install tensorflow-cpu==2.21.0 keras==3.15.1
    python train_digits_resnet.py          # a minute; reads digits_calibration.npz and digits_test.npz beside it
    cmsisnn-tune digits_resnet.tflite --target cortex-m4

The way that most int8 files are made: batch normalisation behind every convolution, post-training quantisation with
some hundred images, int8 in and out. The file holds convolutions and depthwise convolutions with a scale for each
channel, three additions, a mean, a dense layer and a softmax. The network takes the pixels 0..16 of the images that
``train_digits.py`` splits. Seeded, with deterministic kernels on one thread; the committed file comes from this script
and these versions.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras

HERE = Path(__file__).parent
NAME = "digits_resnet"
EPOCHS, BATCH, RATE, DECAY, SEED = 80, 32, 4e-3, 0.1, 0


def load(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Images ``(n, 8, 8, 1)`` of float32 0..16, and labels."""
    with np.load(HERE / file) as data:
        return data["x"].transpose(0, 2, 3, 1).astype(np.float32), data["y"].astype(np.int64)


def network() -> keras.Model:
    """A convolution and three residual blocks: depthwise, at half the size with a convolution beside it, depthwise."""
    from keras import Input, Model, layers

    def conv(x: Any, channels: int, kernel: int, strides: int = 1, relu: bool = True) -> Any:
        x = layers.Conv2D(channels, kernel, strides, "same", use_bias=False)(x)
        x = layers.BatchNormalization()(x)
        return layers.ReLU()(x) if relu else x

    def separable(x: Any, channels: int) -> Any:
        x = layers.DepthwiseConv2D(3, padding="same", use_bias=False)(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        return conv(x, channels, 1, relu=False)

    pixels = Input((8, 8, 1), name="pixels")
    x = conv(pixels, 16, 3)
    x = layers.ReLU()(layers.Add()([x, separable(x, 16)]))
    x = layers.ReLU()(layers.Add()([conv(x, 24, 1, 2, relu=False), conv(x, 24, 3, 2, relu=False)]))
    x = layers.ReLU()(layers.Add()([x, separable(x, 24)]))
    x = layers.GlobalAveragePooling2D()(x)
    return Model(pixels, layers.Dense(10, activation="softmax", name="probabilities")(x), name=NAME)


def train(model: keras.Model, images: np.ndarray, labels: np.ndarray) -> None:
    """Adam on images that are moved, turned and stretched a little, with a rate that falls to zero."""
    import keras
    from keras import layers

    seen = keras.Sequential([
        layers.RandomTranslation(0.05, 0.05, fill_mode="constant"),
        layers.RandomRotation(0.02, fill_mode="constant"),
        layers.RandomZoom((-0.05, 0.05), (-0.05, 0.05), fill_mode="constant"),
        model,
    ])  # fmt: skip
    rate = keras.optimizers.schedules.CosineDecay(RATE, EPOCHS * -(-len(images) // BATCH))
    optimizer = keras.optimizers.AdamW(rate, weight_decay=DECAY)
    seen.compile(optimizer, "sparse_categorical_crossentropy", metrics=["accuracy"])
    seen.fit(images, labels, BATCH, EPOCHS, verbose=2)


def quantised(model: keras.Model, images: np.ndarray) -> bytes:
    """The network as a `.tflite` file: int8 throughout, the scales from `images`."""
    import tensorflow as tf

    def samples() -> Iterator[list[np.ndarray]]:
        for image in images:
            yield [image[None]]

    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = samples
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    return converter.convert()


def answers(content: bytes, images: np.ndarray) -> np.ndarray:
    """What LiteRT's reference kernels give for `images`: int8."""
    import tensorflow as tf

    reference = tf.lite.experimental.OpResolverType.BUILTIN_REF
    interpreter = tf.lite.Interpreter(model_content=content, experimental_op_resolver_type=reference)
    interpreter.allocate_tensors()
    (source,), (target,) = interpreter.get_input_details(), interpreter.get_output_details()
    scale, zero_point = source["quantization"]
    given = np.clip(np.round(images / np.float32(scale)) + zero_point, -128, 127).astype(np.int8)
    found = []
    for image in given:
        interpreter.set_tensor(source["index"], image[None])
        interpreter.invoke()
        found.append(interpreter.get_tensor(target["index"])[0])
    return np.array(found)


def main() -> None:
    # One machine's sums are another's: no library that chooses kernels by the processor, and no GPU.
    os.environ |= {"CUDA_VISIBLE_DEVICES": "-1", "TF_ENABLE_ONEDNN_OPTS": "0"}
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(SEED)
    tf.config.experimental.enable_op_determinism()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    images, labels = load("digits_calibration.npz")
    held_out, held_out_labels = load("digits_test.npz")
    model = network()
    train(model, images, labels)
    content = quantised(model, images[:300])
    (HERE / f"{NAME}.tflite").write_bytes(content)
    for what, found in (("float", model.predict(held_out, verbose=0)), ("int8", answers(content, held_out))):
        right = (found.argmax(axis=1) == held_out_labels).mean()
        print(f"{what} accuracy on {len(held_out)} held-out images: {right:.4f}")
    print(f"{model.count_params():,} parameters, {len(content):,} bytes")


if __name__ == "__main__":
    main()
