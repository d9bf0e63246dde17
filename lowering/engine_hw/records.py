"""The records that cross units: a round as its descriptor has it, and what units are told of it."""

from lutllm.lowering.circt import Fields
from lutllm.lowering.engine import ROUND_BITS

ROUND = Fields(**ROUND_BITS)
# Each unit takes the fields it needs, at the width that can matter.
UNIT = ROUND.subset("mode", "stages", "shift", "tokens", "groups", "blocks", "block_chunks", "last_chunks").narrowed(
    mode=2, shift=6
)
