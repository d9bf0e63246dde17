"""Words of the on-chip memories out of a running arc simulator, many at a time."""

from __future__ import annotations

import numpy as np

from lutllm.errors import SimulationError
from lutllm.lowering.export.hw_to_arc import State
from lutllm.lowering.machine.accelerator import WRITERS, X_BITS
from lutllm.quantization import RESIDUAL_BITS
from lutllm.simulate.accelerator import Accelerator
from lutllm.simulate.transactions.chip import Written

# Names of memories and registers in hardware (lowering.hardware).
_SQUARES, _TOKEN = "residual/sums/mem", "sequencer/last_q"
_RESULTS = "linear/requantizer/results"  # the queue that all words of stream y go through
# What tasks write to external memory, and its channels.
EXTERNAL: dict[str, np.dtype] = {"kv": np.dtype("i1"), "saved": np.dtype("<i4")}
_STEP = 8  # cycles between two looks at it


class ChipState:
    """The memories of one accelerator. KV rows and saved words are read from its external memory."""

    def __init__(self, accelerator: Accelerator) -> None:
        config = accelerator.config
        self.accelerator, self.simulator = accelerator, accelerator.bench.simulator
        layout = self.simulator.layout
        built = [memory for memory in WRITERS if config.having(config.writers(memory))]
        names = {memory: f"memory_{memory}" for memory in built} | {"q": "memory_q0"}  # its copies are equal
        self.places = {memory: layout.state(f"{names[memory]}/mem") for memory in built}
        self.places |= {"squares": layout.state(_SQUARES)} if "r" in built else {}
        self.places |= {"token": layout.state(_TOKEN)}
        self.bits = {"r": RESIDUAL_BITS, "x": X_BITS, "y": config.y_bits, "q": X_BITS, "squares": 64, "token": 32}

    def read(self, written: Written) -> np.ndarray:
        """What now stands where these words were written."""
        if written.memory in EXTERNAL:
            return external(self.accelerator.memory.data, written)
        words = self.bytes(written.memory, written.addresses)
        return unpacked(words, self.bits[written.memory], written.values.shape[1])

    def bytes(self, memory: str, addresses: np.ndarray) -> np.ndarray:
        """Words at `addresses` [n] as bytes [n, size]."""
        return _words(self.simulator.state, self.places[memory], addresses)


def external(memory: np.ndarray, written: Written) -> np.ndarray:
    """What external memory now holds where these words were written."""
    kind = EXTERNAL[written.memory]
    at = written.addresses[:, None] + np.arange(written.values.shape[1] * kind.itemsize)
    return memory[at].view(kind).astype(np.int64)


def _words(state: np.ndarray, place: State, addresses: np.ndarray) -> np.ndarray:
    at = place.offset + addresses * place.stride
    return state[at[:, None] + np.arange(place.bytes)]


def unpacked(words: np.ndarray, bits: int, lanes: int) -> np.ndarray:
    """Bytes [n, size] as signed numbers of `bits` bits [n, lanes], the lowest lane first."""
    flat = np.unpackbits(words, axis=1, count=bits * lanes, bitorder="little").reshape(len(words), lanes, bits)
    values = flat.astype(np.uint64) @ np.left_shift(np.uint64(1), np.arange(bits, dtype=np.uint64))
    return values.view(np.int64) << (64 - bits) >> (64 - bits)


def stream_y(accelerator: Accelerator, first: int, count: int, most: int) -> np.ndarray | None:
    """Words `first` .. `first + count - 1` that LutLinear gives from now on, when it is empty, as numbers [count,
    lanes]; None where they do not come within `most` cycles, or cannot be seen."""
    bench, lanes = accelerator.bench, accelerator.config.lanes
    layout, state = bench.simulator.layout, bench.simulator.state
    try:
        store, pointer = layout.state(f"{_RESULTS}/store/mem"), layout.state(f"{_RESULTS}/write_pointer")
    except KeyError:
        return None
    step, end = min(_STEP, store.depth - 1), bench.cycle + most
    seen, before, parts = 0, bench.simulator.peek_state(pointer.name), []
    while seen < first + count and bench.cycle < end:
        bench.step(step)
        after = bench.simulator.peek_state(pointer.name)
        new = np.arange((after - before) % store.depth)
        wanted = new[(first <= seen + new) & (seen + new < first + count)]
        parts.append(_words(state, store, (before + wanted) % store.depth))
        seen, before = seen + new.size, after
    return unpacked(np.concatenate(parts), store.bits // lanes, lanes) if seen >= first + count else None


def check_visible(accelerator: Accelerator) -> ChipState:
    """Raises `SimulationError` where hardware calls its memories otherwise."""
    try:
        return ChipState(accelerator)
    except KeyError as error:
        raise SimulationError(
            f"expected to find the on-chip memories, got {error.args[0]}; use an arc simulator"
        ) from None
