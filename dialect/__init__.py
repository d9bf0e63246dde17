"""The `lut` dialect: linear layers as table lookups on integers, and the accelerator that computes them.

Text or builder calls in, verified MLIR out. README.md, generated from the definitions, says what every op computes.
"""

from lutllm.dialect.accelerator import EngineOp, RegionOp, RoundOp
from lutllm.dialect.attributes import (
    FixedAttr,
    SchemeAttr,
    StoreAttr,
    fixed,
    fixed_of,
    i64,
    scheme_attr,
    scheme_of,
    store_attr,
    symbol,
)
from lutllm.dialect.base import Lut, LutOp
from lutllm.dialect.boundary import DequantizeOp, QuantizeOp
from lutllm.dialect.builders import (
    built_row,
    built_table,
    centroid_search,
    declare,
    dequantize,
    exact_row,
    linear,
    prefix_sum,
    quantize,
    requantize,
    stored_table,
    table_lookup,
)
from lutllm.dialect.layer import LinearOp
from lutllm.dialect.loading import context, irdl_text, register_dialects, verify
from lutllm.dialect.lookup import PrefixSumOp, RequantizeOp, TableLookupOp
from lutllm.dialect.program import engine, region, round_
from lutllm.dialect.rows import BuiltRowOp, BuiltTableOp, ExactRowOp, StoredTableOp
from lutllm.dialect.search import CentroidSearchOp
from lutllm.dialect.stored import verify_store
from lutllm.dialect.symbols import lut_ops, symbol_table, verify_symbols

__all__ = [
    "BuiltRowOp",
    "BuiltTableOp",
    "CentroidSearchOp",
    "DequantizeOp",
    "EngineOp",
    "ExactRowOp",
    "FixedAttr",
    "LinearOp",
    "Lut",
    "LutOp",
    "PrefixSumOp",
    "QuantizeOp",
    "RegionOp",
    "RequantizeOp",
    "RoundOp",
    "SchemeAttr",
    "StoreAttr",
    "StoredTableOp",
    "TableLookupOp",
    "built_row",
    "built_table",
    "centroid_search",
    "context",
    "declare",
    "dequantize",
    "engine",
    "exact_row",
    "fixed",
    "fixed_of",
    "i64",
    "irdl_text",
    "linear",
    "lut_ops",
    "prefix_sum",
    "quantize",
    "region",
    "register_dialects",
    "requantize",
    "round_",
    "scheme_attr",
    "scheme_of",
    "store_attr",
    "stored_table",
    "symbol",
    "symbol_table",
    "table_lookup",
    "verify",
    "verify_store",
    "verify_symbols",
]
