"""The `lut` dialect: a decoder in integers, its linear layers as table lookups, and the accelerator that computes them.

Text or builder calls in, verified MLIR out. README.md, generated from the definitions, says what every op computes.
"""

from lutllm.dialect.attributes import (
    FixedAttr,
    StoreAttr,
    bits_of,
    exponent_of,
    exponents_of,
    fixed,
    fixed_of,
    i64,
    store_attr,
    symbol,
)
from lutllm.dialect.base import Lut, LutOp, fault
from lutllm.dialect.decoders.attention import AppendOp, AttentionOp, RopeOp
from lutllm.dialect.decoders.builders import (
    add,
    append,
    argmax,
    attention,
    embedding,
    last_token,
    rescale,
    rms_norm,
    rope,
    slice_channels,
    swiglu,
    tanh,
)
from lutllm.dialect.decoders.ops import (
    AddOp,
    ArgmaxOp,
    EmbeddingOp,
    LastTokenOp,
    RescaleOp,
    RmsNormOp,
    SliceOp,
    SwigluOp,
    TanhOp,
)
from lutllm.dialect.floats.builders import (
    float_add,
    float_attention,
    float_embedding,
    float_gated,
    float_linear,
    float_norm,
    float_rope,
    float_slice,
    float_tanh,
)
from lutllm.dialect.floats.ops import (
    FloatAddOp,
    FloatAttentionOp,
    FloatEmbeddingOp,
    FloatGatedOp,
    FloatLinearOp,
    FloatNormOp,
    FloatOp,
    FloatRopeOp,
    FloatSliceOp,
    FloatTanhOp,
)
from lutllm.dialect.linears.boundary import DequantizeOp, QuantizeOp
from lutllm.dialect.linears.builders import (
    built_row,
    built_table,
    centroid_search,
    declare,
    declare_all,
    dequantize,
    exact_row,
    linear,
    prefix_sum,
    quantize,
    requantize,
    stored_table,
    table_lookup,
)
from lutllm.dialect.linears.layer import LinearOp
from lutllm.dialect.linears.lookup import PrefixSumOp, RequantizeOp, TableLookupOp
from lutllm.dialect.linears.rows import BuiltRowOp, BuiltTableOp, ExactRowOp, StoredTableOp
from lutllm.dialect.linears.schemes import SchemeOp, declare_scheme, scheme_of, schemes
from lutllm.dialect.linears.search import CentroidSearchOp
from lutllm.dialect.loading import context, irdl_text, register_dialects, verify
from lutllm.dialect.machines.machine import ClocksOp, FifoOp, LinearEngineOp, MachineOp, MemoryOp
from lutllm.dialect.machines.placement import BufferOp, ClusterOp, LayoutOp, RegionOp, RoundOp, YieldOp
from lutllm.dialect.machines.tasks import TaskOp, TokenType
from lutllm.dialect.stored import verify_store
from lutllm.dialect.symbols import lut_ops, store_of, symbol_table, verify_symbols
from lutllm.dialect.text import module_text
