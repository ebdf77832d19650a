# SPDX-License-Identifier: Apache-2.0
"""Twenty-five small networks with random weights, as people write them: PyTorch, Keras, scikit-learn.

Sizes of an image differ in all axes, so that no order of axes can be taken for another. Imports of a framework stand in
the functions: each exporter needs its own alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

SEED = 18


def torch_networks() -> dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]]:
    """Name -> a module's constructor, and shapes of its inputs, batch first."""
    import torch
    import torch.nn.functional as fn
    from torch import nn

    def normed(*layers: Any) -> Any:
        return nn.Sequential(*layers)

    def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1, groups: int = 1, act: Any = nn.ReLU) -> Any:
        parts = [
            nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        return normed(*parts, *([act()] if act else []))

    class Lenet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 12, 5)
            self.fc1, self.fc2 = nn.Linear(12 * 5 * 4, 24), nn.Linear(24, 10)

        def forward(self, x: Any) -> Any:
            x = fn.max_pool2d(fn.relu(self.conv1(x)), 2)
            x = fn.max_pool2d(fn.relu(self.conv2(x)), 2)
            x = x.view(x.size(0), -1)
            return fn.log_softmax(self.fc2(fn.relu(self.fc1(x))), dim=1)

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.a, self.b = conv(inputs, outputs, 3, stride), conv(outputs, outputs, act=None)
            self.short = conv(inputs, outputs, 1, stride, act=None) if stride > 1 else nn.Identity()

        def forward(self, x: Any) -> Any:
            return fn.relu(self.b(self.a(x)) + self.short(x))

    class Inverted(nn.Module):
        def __init__(self, channels: int, outputs: int, act: Any, gate: bool = False) -> None:
            super().__init__()
            wide = 3 * channels
            self.a, self.dw = conv(channels, wide, 1, act=act), conv(wide, wide, 3, 1, wide, act)
            self.gate = nn.Sequential(
                nn.AdaptiveAvgPool2d(1), nn.Conv2d(wide, 6, 1), nn.ReLU(), nn.Conv2d(6, wide, 1), nn.Hardsigmoid()
            )
            self.b, self.gated = conv(wide, outputs, 1, act=None), gate

        def forward(self, x: Any) -> Any:
            y = self.dw(self.a(x))
            y = self.b(y * self.gate(y) if self.gated else y)
            return x + y if x.shape == y.shape else y

    class Fire(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.squeeze = conv(3, 8, 3, 2), nn.Conv2d(8, 4, 1)
            self.one, self.three = nn.Conv2d(4, 6, 1), nn.Conv2d(4, 6, 3, padding=1)
            self.end = nn.Conv2d(12, 5, 1)

        def forward(self, x: Any) -> Any:
            x = fn.relu(self.squeeze(self.stem(x)))
            x = torch.cat([fn.relu(self.one(x)), fn.relu(self.three(x))], 1)
            return fn.relu(self.end(x)).mean((2, 3)).softmax(-1)

    class Shuffle(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.stem, self.a, self.b = conv(3, 8, 3, 2), conv(4, 4, 1), conv(4, 4, 3, 1, 4, None)
            self.head = nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            x = self.stem(x)
            kept, other = x.chunk(2, dim=1)
            x = torch.cat([kept, self.b(self.a(other))], 1)
            n, c, h, w = x.shape
            x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
            return self.head(fn.adaptive_avg_pool2d(x, 1).flatten(1))

    class Unet(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(3, 6), conv(6, 8)
            self.c, self.d = conv(14, 6), nn.Conv2d(6, 2, 1)
            self.up = nn.Upsample(scale_factor=2, mode="nearest")

        def forward(self, x: Any) -> Any:
            a = self.a(x)
            return torch.sigmoid(self.d(self.c(torch.cat([a, self.up(self.b(fn.max_pool2d(a, 2)))], 1))))

    class Tcn(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Conv1d(3, 8, 3, dilation=1)
            self.second, self.third = nn.Conv1d(8, 8, 3, dilation=2), nn.Conv1d(8, 8, 3, dilation=4)
            self.head = nn.Linear(8, 4)

        def forward(self, x: Any) -> Any:
            x = fn.relu(self.first(fn.pad(x, (2, 0))))
            x = x + fn.relu(self.second(fn.pad(x, (4, 0))))
            x = x + fn.relu(self.third(fn.pad(x, (8, 0))))
            return self.head(x[:, :, -1])

    class Last(nn.Module):
        """Images channels last, as cameras give them."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.head = conv(3, 8, 3, 2), nn.Linear(8, 5)

        def forward(self, x: Any) -> Any:
            return self.head(fn.adaptive_avg_pool2d(self.a(x.permute(0, 3, 1, 2)), 1).flatten(1))

    class Two(nn.Module):
        """An image and a vector in, a class and a number out."""

        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = conv(3, 8, 3, 2), nn.Linear(6, 8)
            self.kind, self.number = nn.Linear(16, 4), nn.Linear(16, 1)

        def forward(self, image: Any, vector: Any) -> Any:
            x = torch.cat([fn.adaptive_avg_pool2d(self.a(image), 1).flatten(1), fn.relu(self.b(vector))], 1)
            return self.kind(x), torch.tanh(self.number(x))

    def curves() -> Any:
        return nn.Sequential(
            nn.Conv2d(3, 8, 3, padding=1), nn.LeakyReLU(0.1), nn.Conv2d(8, 8, 3, padding=2, dilation=2), nn.Hardtanh(),
            nn.Conv2d(8, 8, 3, groups=2, padding=1), nn.PReLU(8), nn.AvgPool2d(2), nn.Conv2d(8, 4, 1), nn.ELU(),
            nn.Conv2d(4, 4, 1), nn.GELU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(4, 3), nn.Tanh(),
        )  # fmt: skip

    def decoder() -> Any:
        return nn.Sequential(
            nn.Conv2d(1, 6, 3, 2, 1), nn.ReLU(), nn.ConvTranspose2d(6, 4, 3, 2, 1, output_padding=1), nn.ReLU(),
            nn.Conv2d(4, 1, 3, padding=1), nn.Sigmoid(),
        )  # fmt: skip

    def pooled(*layers: Any, channels: int, classes: int = 5) -> Any:
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, classes))

    image = (1, 3, 16, 12)
    return {
        "mlp": (lambda: nn.Sequential(nn.Linear(20, 24), nn.ReLU(), nn.Linear(24, 12), nn.ReLU(), nn.Linear(12, 4),
                                      nn.Softmax(-1)), ((1, 20),)),
        "lenet": (Lenet, ((1, 1, 28, 24),)),
        "vgg": (lambda: pooled(conv(3, 8), nn.MaxPool2d(2), conv(8, 12), nn.MaxPool2d(2), channels=12), (image,)),
        "ds_cnn": (lambda: pooled(conv(1, 8, 3, 2), conv(8, 8, 3, 1, 8), conv(8, 12, 1), nn.Dropout(), channels=12),
                   ((1, 1, 25, 10),)),
        "mobilenet1": (lambda: pooled(conv(3, 8, 3, 2, 1, nn.ReLU6), conv(8, 8, 3, 1, 8, nn.ReLU6),
                                      conv(8, 12, 1, act=nn.ReLU6), channels=12), (image,)),
        "resnet": (lambda: pooled(conv(3, 8), Block(8, 8, 1), Block(8, 12, 2), channels=12), (image,)),
        "mobilenet2": (lambda: pooled(conv(3, 8, 3, 2), Inverted(8, 8, nn.ReLU6), Inverted(8, 12, nn.ReLU6),
                                      channels=12), (image,)),
        "mobilenet3": (lambda: pooled(conv(3, 8, 3, 2, act=nn.Hardswish), Inverted(8, 8, nn.Hardswish, True),
                                      channels=8), (image,)),
        "efficientnet": (lambda: pooled(conv(3, 8, 3, 2, act=nn.SiLU), Inverted(8, 8, nn.SiLU), channels=8), (image,)),
        "squeezenet": (Fire, (image,)),
        "shufflenet": (Shuffle, (image,)),
        "unet": (Unet, (image,)),
        "autoencoder": (lambda: nn.Sequential(nn.Linear(32, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 4),
                                              nn.ReLU(), nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 32)), ((1, 32),)),
        "decoder": (decoder, ((1, 1, 16, 12),)),
        "conv1d": (lambda: nn.Sequential(nn.Conv1d(3, 8, 5, 2, 2), nn.BatchNorm1d(8), nn.ReLU(), nn.MaxPool1d(2),
                                         nn.Conv1d(8, 8, 3, padding=1), nn.ReLU(), nn.AvgPool1d(2), nn.Flatten(),
                                         nn.Linear(80, 4)), ((1, 3, 80),)),
        "tcn": (Tcn, ((1, 3, 40),)),
        "curves": (curves, ((1, 3, 12, 10),)),
        "channels_last": (Last, ((1, 16, 12, 3),)),
        "two_by_two": (Two, (image, (1, 6))),
    }  # fmt: skip


def keras_networks() -> dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]]:
    """As those of PyTorch; images are channels last."""
    import keras
    from keras import layers as k

    def sequential() -> Any:
        return keras.Sequential(
            [keras.Input((14, 12, 1)), k.Conv2D(6, 3, activation="relu"), k.MaxPooling2D(2), k.Dropout(0.2),
             k.Flatten(), k.Dense(12, activation="relu"), k.Dense(4, activation="softmax")]
        )  # fmt: skip

    def separable() -> Any:
        return keras.Sequential(
            [keras.Input((16, 12, 3)), k.Rescaling(1 / 2, offset=-0.1), k.Conv2D(8, 3, 2, padding="same"),
             k.BatchNormalization(), k.ReLU(6.0), k.DepthwiseConv2D(3, padding="same"), k.ReLU(),
             k.SeparableConv2D(12, 3, activation="relu"), k.GlobalAveragePooling2D(), k.Dense(5)]
        )  # fmt: skip

    def residual() -> Any:
        given = keras.Input((16, 12, 3))
        x = k.Conv2D(8, 3, padding="same", activation="relu")(given)
        y = k.BatchNormalization()(k.Conv2D(8, 3, padding="same")(x))
        x = k.ReLU()(k.Add()([x, y]))
        x = k.Concatenate()([x, k.Conv2D(4, 1, activation="hard_swish")(x)])
        return keras.Model(given, k.Dense(5, activation="softmax")(k.GlobalAveragePooling2D()(x)))

    def causal() -> Any:
        return keras.Sequential(
            [keras.Input((32, 3)), k.Conv1D(8, 3, padding="causal", activation="relu"),
             k.Conv1D(8, 3, padding="causal", dilation_rate=2, activation="relu"), k.GlobalMaxPooling1D(),
             k.Dense(4, activation="sigmoid")]
        )  # fmt: skip

    return {
        "keras_sequential": (sequential, ((1, 14, 12, 1),)),
        "keras_separable": (separable, ((1, 16, 12, 3),)),
        "keras_residual": (residual, ((1, 16, 12, 3),)),
        "keras_causal": (causal, ((1, 32, 3),)),
    }


def sklearn_networks() -> dict[str, Callable[[], tuple[Any, np.ndarray]]]:
    """Name -> a fitted estimator, and samples like those that it was fitted on."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(SEED)
    x = rng.normal(2, 3, (256, 10)).astype(np.float32)
    values = x @ rng.normal(0, 1, 10)
    classes = np.digitize(values, np.quantile(values, [1 / 3, 2 / 3]))

    def fitted(estimator: Any, y: np.ndarray) -> Callable[[], tuple[Any, np.ndarray]]:
        return lambda: (estimator.fit(x, y), x)

    small = {"hidden_layer_sizes": (12,), "random_state": 0, "max_iter": 80}
    return {
        "sk_mlp_classifier": fitted(make_pipeline(StandardScaler(), MLPClassifier(**small)), classes),
        "sk_mlp_regressor": fitted(make_pipeline(StandardScaler(), MLPRegressor(**small)), values / values.std()),
        "sk_logistic": fitted(LogisticRegression(max_iter=300), classes > 1),
    }


def small_torch_networks() -> dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]]:
    """For the tests: a file of each exporter in a few kB."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(8, 3)

        def forward(self, x: Any) -> Any:
            x = torch.relu(self.a(x))
            x = torch.cat([torch.relu(x + self.b(x)), x], 1)
            return self.head(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))

    return {
        "small_cnn": (lambda: nn.Sequential(nn.Conv2d(2, 4, 3, 2, 1), nn.BatchNorm2d(4), nn.ReLU(),
                                            nn.Conv2d(4, 4, 3, groups=4), nn.ReLU6(), nn.MaxPool2d((2, 1)),
                                            nn.Flatten(), nn.Linear(8, 3)), ((1, 2, 10, 7),)),
        "small_residual": (Residual, ((1, 2, 6, 5),)),
    }  # fmt: skip


def small_keras_networks() -> dict[str, tuple[Callable[[], Any], tuple[tuple[int, ...], ...]]]:
    import keras
    from keras import layers as k

    def image() -> Any:
        return keras.Sequential(
            [keras.Input((8, 6, 2)), k.Conv2D(4, 3, 2, padding="same", activation="relu"), k.DepthwiseConv2D(3),
             k.BatchNormalization(), k.ReLU(), k.Flatten(), k.Dense(3, activation="softmax")]
        )  # fmt: skip

    return {"small_keras": (image, ((1, 8, 6, 2),))}


def inputs(shapes: tuple[tuple[int, ...], ...], count: int, seed: int = SEED) -> list[np.ndarray]:
    """Samples for each input: smooth in the last axes, as images and signals are."""
    rng = np.random.default_rng(seed)
    made = []
    for shape in shapes:
        x = rng.normal(0, 1, (count, *shape[1:]))
        if len(shape) > 2:
            light = rng.normal(0, 0.3, (count, *[1] * (x.ndim - 1)))
            x = (x + np.roll(x, 1, -1) + np.roll(x, 1, -2)) / np.sqrt(3) + light
        made.append((np.round(x * 16) / 16).astype(np.float32))  # few digits, so that files are small
    return made
