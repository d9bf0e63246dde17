"""The record of a round that crosses units: its descriptor's fields at the width that can matter, and its tokens."""

from lutllm.lowering.hardware.lib.circt import Fields
from lutllm.lowering.machine.engine import ROUND_BITS

_NAMES = ("mode", "stages", "shift", "tokens", "groups", "blocks", "block_chunks", "last_chunks")
ROUND = Fields(**ROUND_BITS, tokens=16).subset(*_NAMES).narrowed(mode=2, shift=6)
