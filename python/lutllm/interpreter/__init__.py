"""The golden model: `lut` ops in plain integers. Everything below this level must equal it, integer for integer. Float
ops run too, as PyTorch computes them.

`linear` takes a QuantizedLinear, `run` a function of a `lut` module with its parameter store; both go through one
function for each op.
"""

from lutllm.interpreter.integers import (
    Terms,
    build_tables,
    built_row,
    centroid_search,
    exact_row,
    prefix_sum,
    requantize,
    table_lookup,
    table_rows,
)
from lutllm.interpreter.layer import linear, make_tables, rows_of
from lutllm.interpreter.module import run
