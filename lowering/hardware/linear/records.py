"""The records that cross units: a round's descriptor and its tokens, the beats that walk down the chains of pairs.

A lookup beat adds one row's entries to `lanes` sums. A row beat makes a row, or its next `row_writes` entries; where
rows are made at once, it goes with the lookup of the row. A build beat makes a row of every stage's table, or a part.
"""

from lutllm.lowering.hardware.lib.signal import Fields
from lutllm.lowering.machine.engine import ROUND_BITS, TABLE_BANKS, EngineConfig
from lutllm.numerics import bits_for

_NAMES = ("mode", "stages", "shift", "tokens", "groups", "blocks", "block_chunks", "last_chunks")
ROUND = Fields(**ROUND_BITS, tokens=16).subset(*_NAMES).narrowed(mode=2, shift=6)

ROW_STAGE = 4  # cycles from a beat at an engine to its lookup, and to its row
CODES_STAGE = 3  # to the read of its codes
TABLE_STAGE = 2  # to the last use of its table


def lookup_fields(config: EngineConfig) -> Fields:
    """Which codes, which row, where the sum goes. Where rows are made at once, codes are read with a chunk's first
    token; else for each token, of which the last gives them back."""
    kept = dict(half=1, row_last=1, token_last=1) if config.row_steps > 1 else dict(token_first=1)
    return Fields(
        valid=1, **kept, group_last=1, address=bits_for(config.acc_words), first_step=1, acc_bank=1, round_last=1
    )


def row_fields(config: EngineConfig) -> Fields:
    """Which token and banks, whether it is the first or last of a block; which part of the row, and where it goes."""
    kept = dict(step=bits_for(config.row_steps), half=1) if config.row_steps > 1 else {}
    banks = dict(operand_bank=config.bank_bits, table_bank=bits_for(TABLE_BANKS))
    return Fields(valid=1, token=bits_for(config.tokens), first=1, last=1, mode=2, **banks, **kept)


def build_fields(config: EngineConfig) -> Fields:
    kept = dict(step=bits_for(config.row_steps)) if config.row_steps > 1 else {}
    banks = dict(operand_bank=config.bank_bits, table_bank=bits_for(TABLE_BANKS))
    return Fields(valid=1, row=config.index_bits, first=1, **banks, **kept)


def accumulator_fields(config: EngineConfig) -> Fields:
    """What of a lookup beat the accumulator needs."""
    return lookup_fields(config).subset("valid", "address", "first_step", "acc_bank", "round_last")
