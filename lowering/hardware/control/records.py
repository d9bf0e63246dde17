"""The records that cross engines: a task as its engine gets it from the sequencer."""

from lutllm.lowering.hardware.lib.signal import Fields
from lutllm.lowering.machine.accelerator import DYNAMIC_BITS, TASK_BITS


def task_record(engine: str) -> Fields:
    """A task of `engine`: the fields of its descriptor, then the tokens and the position of the pass."""
    fields = {name: bits for name, bits in TASK_BITS[engine].items() if name != "reserved"}
    return Fields(**fields, **DYNAMIC_BITS)
