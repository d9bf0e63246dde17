"""The host's view of the accelerator as data: one source for the slave in hardware, the driver and the documentation.

Nothing here is hardware: a driver imports this without the bindings of CIRCT. Registers are 32 bits wide; numbers of
64 bits are two of them, the low half first. Token i of the sequence is at `window(context)` + 4 * i, where an engine
uses tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lutllm.lowering.machine.accelerator import AcceleratorConfig

WORD_BITS, WORD_BYTES = 32, 4
VERSION = 2  # of this map

STOPS = 8  # tokens that end a run, at most

MIN_WINDOW = 0x1000  # registers lie below


@dataclass(frozen=True)
class Field:
    """`bits` bits of a register from bit `low` on."""

    name: str
    low: int
    bits: int = 1
    meaning: str = ""

    def __str__(self) -> str:
        where = f"bit {self.low}" if self.bits == 1 else f"bits {self.low + self.bits - 1}:{self.low}"
        return f"{where}: {self.meaning}"


@dataclass(frozen=True)
class Register:
    """One word at byte `offset`, its low `bits` in use. `access`: "rw", "r", or "w" (reads as 0). What is not `always`
    writable is so between runs. Without `fields` all of its bits are one number."""

    name: str
    offset: int
    access: str
    bits: int
    note: str = ""
    always: bool = False
    fields: tuple[Field, ...] = ()
    clears: bool = False  # writing a 1 clears a bit

    @property
    def description(self) -> str:
        """What its fields mean and what else is to be said, in one line."""
        notes = [self.note, "writing a 1 clears a bit" if self.clears else ""]
        return "; ".join([*(str(field) for field in self.fields if field.meaning), *filter(None, notes)])


# The first four lie as in the control protocol ap_ctrl_hs.
REGISTERS = (
    Register(
        "CONTROL", 0x00, "w", 3, "starts are ignored during a run", always=True,
        fields=(
            Field("START", 0, meaning="start a run"), Field("ABORT", 1, meaning="abort it"),
            Field("VERIFY", 2, meaning="start a run that verifies the image"),
        ),
    ),
    Register("GIE", 0x04, "rw", 1, always=True, fields=(Field("ENABLE", 0, meaning="`irq` may be raised"),)),
    Register(
        "IER", 0x08, "rw", 2, "bits of ISR that raise `irq`", always=True,
        fields=(Field("ENDED", 0), Field("STUCK", 1)),
    ),
    Register(
        "ISR", 0x0C, "rw", 2, always=True, clears=True,
        fields=(Field("ENDED", 0, meaning="a run has ended"), Field("STUCK", 1, meaning="the watchdog has fired")),
    ),
    Register(
        "STATUS", 0x10, "r", 16,
        fields=(
            Field("BUSY", 0, meaning="busy, until the bus is quiet"),
            Field("DONE", 1, meaning="done, from the end of a run to the next start"),
            Field("WATCHDOG", 2, meaning="watchdog"), Field("ERROR", 8, 8, "error code"),
        ),
    ),
    Register("POSITION", 0x14, "rw", 32, "where the sequence goes on; 0: afresh"),
    Register("LENGTH", 0x18, "rw", 32, "tokens of the sequence so far, prompt included"),
    Register("TOKENS", 0x1C, "rw", 32, "tokens to make; 0: read the sequence, then end"),
    Register("IMAGE_LOW", 0x20, "rw", 32, "byte address of the memory image, a multiple of 4096, bits 31:0"),
    Register("IMAGE_HIGH", 0x24, "rw", 32, "byte address of the memory image, bits 63:32"),
    Register("MODEL_LOW", 0x28, "rw", 32, "model that the image must be of, bits 31:0"),
    Register("MODEL_HIGH", 0x2C, "rw", 32, "model that the image must be of, bits 63:32"),
    Register("MADE", 0x30, "r", 32, "tokens made in this run"),
    Register("LAST", 0x34, "r", 32, "the last token made"),
    Register("CYCLES_LOW", 0x38, "r", 32, "cycles of this run, bits 31:0; reading it holds CYCLES_HIGH"),
    Register("CYCLES_HIGH", 0x3C, "r", 32, "cycles of this run, bits 63:32, when CYCLES_LOW was last read"),
    Register("STALLED", 0x40, "r", 16, "bit i: engine i of this accelerator was busy when the watchdog fired"),
    Register("VERSION", 0x44, "r", 32, "version of this map"),
    Register("CONTEXT", 0x48, "r", 32, "tokens of a sequence at most"),
    Register("PASS_TOKENS", 0x4C, "r", 32, "tokens of a pass at most"),
    *(
        Register(
            f"STOP{i}", 0x50 + 4 * i, "rw", 32,
            fields=(Field("TOKEN", 0, 31, "a token that ends a run"), Field("ENABLE", 31, meaning="there is one")),
        )
        for i in range(STOPS)
    ),
)  # fmt: skip
OFFSETS = {register.name: register.offset for register in REGISTERS}


def mask(register: str, field: str) -> int:
    """The bits of a field, where they lie in the register."""
    found = next(f for r in REGISTERS if r.name == register for f in r.fields if f.name == field)
    return (1 << found.bits) - 1 << found.low


START, ABORT, VERIFY = (mask("CONTROL", name) for name in ("START", "ABORT", "VERIFY"))
ENDED, STUCK = mask("ISR", "ENDED"), mask("ISR", "STUCK")
STATUS_BUSY, STATUS_DONE, STATUS_WATCHDOG = (mask("STATUS", name) for name in ("BUSY", "DONE", "WATCHDOG"))
STATUS_ERROR_SHIFT = (mask("STATUS", "ERROR") & -mask("STATUS", "ERROR")).bit_length() - 1
STATUS_ERROR_MASK = mask("STATUS", "ERROR") >> STATUS_ERROR_SHIFT
STOP_ENABLE = mask("STOP0", "ENABLE")


def window(context: int) -> int:
    """Where a sequence of `context` tokens begins, and how many bytes are set aside for it: a power of two."""
    return max(MIN_WINDOW, 1 << (WORD_BYTES * context - 1).bit_length())


def address_bits(config: AcceleratorConfig) -> int:
    """Bits of an AXI4-Lite address: the window is its upper half."""
    return window(config.context).bit_length()


def register_table(config: AcceleratorConfig | None = None) -> str:
    """The map as a Markdown table; the window's address depends on `config`."""
    place = "the window" if config is None else f"`{window(config.context):#x}`"
    rows = [(f"`{r.offset:#04x}`", f"`{r.name}`", r.access, r.bits, r.description) for r in REGISTERS]
    if config is None or config.has_sequence:
        meaning = "token i of the sequence; written only between runs"
        rows.append((f"{place} + 4 * i", "token i", "rw", WORD_BITS, meaning))
    return markdown_table(("offset", "register", "access", "bits", "meaning"), rows)


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown, one line a row."""
    lines = (head, ["---"] * len(head), *rows)
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
