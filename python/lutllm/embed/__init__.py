"""lutllm's passes in other compilers: a pass manager of whatever MLIR bindings and a pipeline as text in, a pass more
in it; and what any compiler does with the output of `lut-to-linalg`, done by MLIR's own passes.
"""

from lutllm.embed.hosts import add
from lutllm.embed.upstream import compile_linalg
