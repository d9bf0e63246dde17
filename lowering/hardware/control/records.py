"""What crosses engines: a task as its engine gets it from the sequencer; streams, and ports of memories."""

from lutllm.lowering.hardware.lib.bundle import Bundle
from lutllm.lowering.hardware.lib.signal import Fields
from lutllm.lowering.hardware.lib.stream import Read, Stream, Write
from lutllm.lowering.machine.accelerator import DYNAMIC_BITS, AcceleratorConfig


def task_record(config: AcceleratorConfig, engine: str) -> Fields:
    """A task of `engine`: the fields of its descriptor, then the tokens and the position of the pass."""
    fields = {name: bits for name, bits in config.task_bits(engine).items() if name != "reserved"}
    return Fields(**fields, **DYNAMIC_BITS)


def task_port(config: AcceleratorConfig, engine: str) -> Bundle:
    """The stream of tasks of `engine`."""
    return Stream.of(task_record(config, engine).width)


def words(config: AcceleratorConfig, memory: str) -> Bundle:
    """A stream of the words of an on-chip memory."""
    return Stream.of(config.word_bits(memory))


def reads(config: AcceleratorConfig, memory: str) -> Bundle:
    """A port that reads an on-chip memory."""
    return Read.of(config.address_bits(memory), config.word_bits(memory))


def writes(config: AcceleratorConfig, memory: str) -> Bundle:
    """A port that writes an on-chip memory."""
    return Write.of(config.address_bits(memory), config.word_bits(memory))
