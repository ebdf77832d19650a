# SPDX-License-Identifier: Apache-2.0
"""`.tflite` files.

Bytes (`flatbuffer`, `schema`) become plain data (`file`), and these a graph of layers, operator by operator (`reader`,
`fold`, `converters` through a `context`); and the other way round, from operators (`build`) to bytes (`writer`).
"""
