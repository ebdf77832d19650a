# SPDX-License-Identifier: Apache-2.0
"""What the fields of a `.tflite` file mean: schema version 3 as tables, as much of it as is read.

Numbers are positions: of a field in its table, of an operator, type or choice in its list. They are written down here
because the published packages of the schema load some 190 modules for them, without bounds checks; the tests build
files with such a package, so that these tables are held against it.
"""

from __future__ import annotations

from .flatbuffer import (
    BOOL,
    FLOAT,
    INT8,
    INT32,
    UINT8,
    UINT32,
    UINT64,
    Child,
    Children,
    Choice,
    Number,
    Schema,
    Span,
    Text,
    Vector,
)

IDENTIFIER = b"TFL3"
VERSION = 3

OPERATORS = """
    ADD AVERAGE_POOL_2D CONCATENATION CONV_2D DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE EMBEDDING_LOOKUP FLOOR
    FULLY_CONNECTED HASHTABLE_LOOKUP L2_NORMALIZATION L2_POOL_2D LOCAL_RESPONSE_NORMALIZATION LOGISTIC LSH_PROJECTION
    LSTM MAX_POOL_2D MUL RELU RELU_N1_TO_1 RELU6 RESHAPE RESIZE_BILINEAR RNN SOFTMAX SPACE_TO_DEPTH SVDF TANH
    CONCAT_EMBEDDINGS SKIP_GRAM CALL CUSTOM EMBEDDING_LOOKUP_SPARSE PAD UNIDIRECTIONAL_SEQUENCE_RNN GATHER
    BATCH_TO_SPACE_ND SPACE_TO_BATCH_ND TRANSPOSE MEAN SUB DIV SQUEEZE UNIDIRECTIONAL_SEQUENCE_LSTM STRIDED_SLICE
    BIDIRECTIONAL_SEQUENCE_RNN EXP TOPK_V2 SPLIT LOG_SOFTMAX DELEGATE BIDIRECTIONAL_SEQUENCE_LSTM CAST PRELU MAXIMUM
    ARG_MAX MINIMUM LESS NEG PADV2 GREATER GREATER_EQUAL LESS_EQUAL SELECT SLICE SIN TRANSPOSE_CONV SPARSE_TO_DENSE
    TILE EXPAND_DIMS EQUAL NOT_EQUAL LOG SUM SQRT RSQRT SHAPE POW ARG_MIN FAKE_QUANT REDUCE_PROD REDUCE_MAX PACK
    LOGICAL_OR ONE_HOT LOGICAL_AND LOGICAL_NOT UNPACK REDUCE_MIN FLOOR_DIV REDUCE_ANY SQUARE ZEROS_LIKE FILL FLOOR_MOD
    RANGE RESIZE_NEAREST_NEIGHBOR LEAKY_RELU SQUARED_DIFFERENCE MIRROR_PAD ABS SPLIT_V UNIQUE CEIL REVERSE_V2 ADD_N
    GATHER_ND COS WHERE RANK ELU REVERSE_SEQUENCE MATRIX_DIAG QUANTIZE MATRIX_SET_DIAG ROUND HARD_SWISH IF WHILE
    NON_MAX_SUPPRESSION_V4 NON_MAX_SUPPRESSION_V5 SCATTER_ND SELECT_V2 DENSIFY SEGMENT_SUM BATCH_MATMUL
    PLACEHOLDER_FOR_GREATER_OP_CODES CUMSUM CALL_ONCE BROADCAST_TO RFFT2D CONV_3D IMAG REAL COMPLEX_ABS HASHTABLE
    HASHTABLE_FIND HASHTABLE_IMPORT HASHTABLE_SIZE REDUCE_ALL CONV_3D_TRANSPOSE VAR_HANDLE READ_VARIABLE
    ASSIGN_VARIABLE BROADCAST_ARGS RANDOM_STANDARD_NORMAL BUCKETIZE RANDOM_UNIFORM MULTINOMIAL GELU
    DYNAMIC_UPDATE_SLICE RELU_0_TO_1 UNSORTED_SEGMENT_PROD UNSORTED_SEGMENT_MAX UNSORTED_SEGMENT_SUM ATAN2
    UNSORTED_SEGMENT_MIN SIGN BITCAST BITWISE_XOR RIGHT_SHIFT STABLEHLO_LOGISTIC STABLEHLO_ADD STABLEHLO_DIVIDE
    STABLEHLO_MULTIPLY STABLEHLO_MAXIMUM STABLEHLO_RESHAPE STABLEHLO_CLAMP STABLEHLO_CONCATENATE
    STABLEHLO_BROADCAST_IN_DIM STABLEHLO_CONVOLUTION STABLEHLO_SLICE STABLEHLO_CUSTOM_CALL STABLEHLO_REDUCE
    STABLEHLO_ABS STABLEHLO_AND STABLEHLO_COSINE STABLEHLO_EXPONENTIAL STABLEHLO_FLOOR STABLEHLO_LOG STABLEHLO_MINIMUM
    STABLEHLO_NEGATE STABLEHLO_OR STABLEHLO_POWER STABLEHLO_REMAINDER STABLEHLO_RSQRT STABLEHLO_SELECT
    STABLEHLO_SUBTRACT STABLEHLO_TANH STABLEHLO_SCATTER STABLEHLO_COMPARE STABLEHLO_CONVERT STABLEHLO_DYNAMIC_SLICE
    STABLEHLO_DYNAMIC_UPDATE_SLICE STABLEHLO_PAD STABLEHLO_IOTA STABLEHLO_DOT_GENERAL STABLEHLO_REDUCE_WINDOW
    STABLEHLO_SORT STABLEHLO_WHILE STABLEHLO_GATHER STABLEHLO_TRANSPOSE DILATE STABLEHLO_RNG_BIT_GENERATOR
    REDUCE_WINDOW STABLEHLO_COMPOSITE STABLEHLO_SHIFT_LEFT STABLEHLO_CBRT""".split()  # noqa: SIM905
TYPES = """
    FLOAT32 FLOAT16 INT32 UINT8 INT64 STRING BOOL INT16 COMPLEX64 INT8 FLOAT64 COMPLEX128 UINT64 RESOURCE VARIANT
    UINT32 UINT16 INT4 BFLOAT16""".split()  # noqa: SIM905
PACKED = frozenset(["STRING", "RESOURCE", "VARIANT", "INT4", "BFLOAT16"])
"""Types without a twin in NumPy; the others are called as NumPy calls them."""
ACTIVATIONS = ("NONE", "RELU", "RELU_N1_TO_1", "RELU6", "TANH", "SIGN_BIT")

MODEL = Schema(
    version=UINT32,
    operator_codes=Children(),
    subgraphs=Children(),
    description=Text(),
    buffers=Children(),
    metadata_buffer=None,
    metadata=Children(),
    signature_defs=Children(),
)
OPERATOR_CODE = Schema(deprecated_builtin_code=INT8, custom_code=Text(), version=Number("<i", 1), builtin_code=INT32)
SUBGRAPH = Schema(
    tensors=Children(), inputs=Vector("<i4"), outputs=Vector("<i4"), operators=Children(), name=Text()
)  # fmt: skip
TENSOR = Schema(
    shape=Vector("<i4"),
    type=UINT8,
    buffer=UINT32,
    name=Text(),
    quantization=Child(),
    is_variable=BOOL,
    sparsity=Child(),
    shape_signature=Vector("<i4"),
)
QUANTIZATION = Schema(
    min=None,
    max=None,
    scale=Vector("<f4"),
    zero_point=Vector("<i8"),
    details_type=None,
    details=None,
    quantized_dimension=INT32,
)
OPERATOR = Schema(
    opcode_index=UINT32,
    inputs=Vector("<i4"),
    outputs=Vector("<i4"),
    builtin_options_type=UINT8,
    builtin_options=Child(),
)
BUFFER = Schema(data=Span(), offset=UINT64, size=UINT64)
SIGNATURE = Schema(
    inputs=Children(), outputs=Children(), signature_key=Text(), deprecated_tag=None, subgraph_index=UINT32
)  # fmt: skip
METADATA = Schema(name=Text(), buffer=UINT32)
LAYER_NAMES = "cmsisnn_x.layers"
"""Metadata of ours: what the layers are called that the operators of the first subgraph become, a line for each."""
TENSOR_MAP = Schema(name=Text(), tensor_index=UINT32)

_activation = Choice(ACTIVATIONS)
_padding = Choice(("SAME", "VALID"))
_type = Choice(TYPES)
_one = Number("<i", 1)
_true = Number("<?", 1)

_CONV_2D = Schema(
    padding=_padding,
    stride_w=INT32,
    stride_h=INT32,
    fused_activation_function=_activation,
    dilation_w_factor=_one,
    dilation_h_factor=_one,
    quantized_bias_type=_type,
)
_DEPTHWISE_CONV_2D = Schema(
    padding=_padding,
    stride_w=INT32,
    stride_h=INT32,
    depth_multiplier=INT32,
    fused_activation_function=_activation,
    dilation_w_factor=_one,
    dilation_h_factor=_one,
)
_POOL_2D = Schema(
    padding=_padding,
    stride_w=INT32,
    stride_h=INT32,
    filter_width=INT32,
    filter_height=INT32,
    fused_activation_function=_activation,
)
_FULLY_CONNECTED = Schema(
    fused_activation_function=_activation,
    weights_format=Choice(("DEFAULT", "SHUFFLED4x16INT8")),
    keep_num_dims=BOOL,
    asymmetric_quantize_inputs=BOOL,
    quantized_bias_type=_type,
)
_TRANSPOSE_CONV = Schema(
    padding=_padding,
    stride_w=INT32,
    stride_h=INT32,
    fused_activation_function=_activation,
    quantized_bias_type=_type,
)
_SEQUENCE_LSTM = Schema(
    fused_activation_function=_activation,
    cell_clip=FLOAT,
    proj_clip=FLOAT,
    time_major=BOOL,
    asymmetric_quantize_inputs=BOOL,
    diagonal_recurrent_tensors=BOOL,
)
_STRIDED_SLICE = Schema(
    begin_mask=INT32,
    end_mask=INT32,
    ellipsis_mask=INT32,
    new_axis_mask=INT32,
    shrink_axis_mask=INT32,
    offset=BOOL,
)
_SVDF = Schema(rank=INT32, fused_activation_function=_activation, asymmetric_quantize_inputs=BOOL)
_ACTIVATION = Schema(fused_activation_function=_activation)
_ADD = Schema(fused_activation_function=_activation, pot_scale_int16=_true)
_REDUCER = Schema(keep_dims=BOOL)
_EMPTY = Schema()

OPTIONS: dict[str, tuple[int, Schema]] = {
    "ADD": (11, _ADD),
    "ARG_MAX": (40, Schema(output_type=_type)),
    "ARG_MIN": (57, Schema(output_type=_type)),
    "ASSIGN_VARIABLE": (113, _EMPTY),
    "AVERAGE_POOL_2D": (5, _POOL_2D),
    "BATCH_MATMUL": (101, Schema(adj_x=BOOL, adj_y=BOOL, asymmetric_quantize_inputs=BOOL)),
    "CALL_ONCE": (103, Schema(init_subgraph_index=INT32)),
    "CAST": (37, Schema(in_data_type=_type, out_data_type=_type)),
    "CONCATENATION": (10, Schema(axis=INT32, fused_activation_function=_activation)),
    "CONV_2D": (1, _CONV_2D),
    "DEPTHWISE_CONV_2D": (2, _DEPTHWISE_CONV_2D),
    "DIV": (29, _ACTIVATION),
    "EXPAND_DIMS": (52, _EMPTY),
    "FULLY_CONNECTED": (8, _FULLY_CONNECTED),
    "GATHER": (23, Schema(axis=INT32, batch_dims=INT32)),
    "GELU": (116, Schema(approximate=BOOL)),
    "L2_NORMALIZATION": (12, _ACTIVATION),
    "LEAKY_RELU": (75, Schema(alpha=FLOAT)),
    "MAX_POOL_2D": (5, _POOL_2D),
    "MEAN": (27, _REDUCER),
    "MIRROR_PAD": (77, Schema(mode=Choice(("REFLECT", "SYMMETRIC")))),
    "MUL": (21, _ACTIVATION),
    "PACK": (59, Schema(values_count=INT32, axis=INT32)),
    "READ_VARIABLE": (112, _EMPTY),
    "REDUCE_MAX": (27, _REDUCER),
    "REDUCE_MIN": (27, _REDUCER),
    "REDUCE_PROD": (27, _REDUCER),
    "RESHAPE": (17, Schema(new_shape=Vector("<i4"))),
    "RESIZE_BILINEAR": (15, Schema(new_height=None, new_width=None, align_corners=BOOL, half_pixel_centers=BOOL)),
    "RESIZE_NEAREST_NEIGHBOR": (74, Schema(align_corners=BOOL, half_pixel_centers=BOOL)),
    "SHAPE": (55, Schema(out_type=_type)),
    "SOFTMAX": (9, Schema(beta=FLOAT)),
    "SPLIT": (35, Schema(num_splits=INT32)),
    "SPLIT_V": (79, Schema(num_splits=INT32)),
    "SQUEEZE": (30, Schema(squeeze_dims=Vector("<i4"))),
    "STRIDED_SLICE": (32, _STRIDED_SLICE),
    "SUB": (28, _ADD),
    "SUM": (27, _REDUCER),
    "SVDF": (6, _SVDF),
    "TRANSPOSE": (26, _EMPTY),
    "TRANSPOSE_CONV": (49, _TRANSPOSE_CONV),
    "UNIDIRECTIONAL_SEQUENCE_LSTM": (71, _SEQUENCE_LSTM),
    "UNPACK": (64, Schema(num=INT32, axis=INT32)),
    "VAR_HANDLE": (111, Schema(container=Text(), shared_name=Text())),
}
"""Operator -> number of its options in the union, and their fields."""
WITHOUT_OPTIONS = frozenset("""
    ABS CEIL COS DEQUANTIZE ELU EXP FLOOR HARD_SWISH LOG LOGISTIC MAXIMUM MINIMUM NEG PAD PADV2 QUANTIZE RELU
    RELU6 RELU_N1_TO_1 ROUND SIN SLICE SQRT SQUARE TANH""".split())  # noqa: SIM905
"""Operators that have no options, or a table of them without a field."""
