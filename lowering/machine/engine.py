"""The accelerator's parameters: what `lut.linear_engine` holds, and every width that follows from it.

Nothing here depends on a model: rounds (`lut.round`) carry the shapes, memory images the weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field

from lutllm.dialect.machines.limits import engine_problems
from lutllm.errors import CapacityError
from lutllm.numerics import bits_for
from lutllm.scheme import MULTIPLIER_BITS

MODES = ("exact_row", "built_row", "built_table", "stored_table")  # a round's mode is the index
# Tables a PSum engine holds: a short last block is looked up sooner than the next table comes, so two would stall.
TABLE_BANKS = 4
QUEUE = 2  # tasks that an engine may have waiting besides the one it works on
ROUNDS_AHEAD = 8  # rounds that a unit of LutLinear may have: their weights are asked for before their inputs come
DESCRIPTOR_PORT_BITS = 64
MULTIPLIER_FIELD = 32  # bits of a multiplier in stream q, where it comes behind a bias of as many
# Bits of a round's fields in its descriptor, lowest first.
ROUND_BITS = {
    "mode": 8,
    "stages": 8,
    "shift": 8,
    "reserved": 8,
    "groups": 16,
    "blocks": 16,
    "block_chunks": 16,
    "last_chunks": 16,
}
MAX_WORD_BEATS = 255


@dataclass(frozen=True)
class EngineConfig:
    """One LutLinear engine.

    `pairs` channel pairs a step, each with a search unit of `chains` x (`centroids` / `chains`) distance units and
    a 2D-PSum engine of `lanes` lookups; `sum_chains` chains of them, whose sums a tree adds. A row of `row_entries` is
    made `row_writes` entries a cycle. `act_stages` additive activation stages. Widths in bits: `operand_bits`
    (inputs and centroids), `weight_bits`, `table_bits` (a stored entry), `term_bits` (a row entry after the left
    shift), `acc_bits`, `bias_bits` (0: no biases), `out_bits`. `requant_lanes` outputs leave a cycle. `tokens` a round
    at most; the accumulator holds `acc_words` words of `lanes` sums, twice. `codes_depth` chunks of codes wait in each
    PSum engine. `port_bits` are AXI data widths: w, c, q. `weight_ports` share the PSum engines evenly.
    """

    pairs: int = 4
    lanes: int = 64
    centroids: int = 64
    chains: int = 4
    act_stages: int = 1
    metric: str = "chebyshev"
    row_entries: int = 16
    row_writes: int = 16
    sum_chains: int = 1
    operand_bits: int = 16
    weight_bits: int = 8
    table_bits: int = 8
    term_bits: int = 24
    acc_bits: int = 32
    bias_bits: int = 32
    out_bits: int = 24
    requant_lanes: int = 16
    tokens: int = 16
    acc_words: int = 512
    codes_depth: int = 16
    row_sources: tuple[str, ...] = MODES
    weight_ports: int = 1
    port_bits: dict[str, int] = field(default_factory=lambda: {"w": 512, "c": 512, "q": 512})
    burst_beats: int = 16
    outstanding: int = 8

    def __post_init__(self) -> None:
        for problem in self._problems():
            raise CapacityError(f"engine: {problem}")

    def _problems(self) -> Iterator[str]:
        yield from engine_problems(vars(self))
        for name in ("c", "q"):
            bits, word = self.port_bits[name], self.word_bits[name]
            if bits > word:
                yield f"expected port {name} at most {word} bits wide, as its word is, got {bits}; use a narrower port"
            elif self.word_beats(name) > MAX_WORD_BEATS:
                beats = f"at most {MAX_WORD_BEATS} beats for a word of {word} bits"
                yield f"expected port {name} to need {beats}, got {self.word_beats(name)}; use a wider port"
        if self.port_bits["w"] % (8 * self.engines_per_port):
            share = f"port w to give each of its {self.engines_per_port} engines whole bytes"
            yield f"expected {share}, got {self.port_bits['w']} bits; widen it, or use more ports"
        elif max(self.table_units, self.codes_units, self.codebook_units) >= 1 << 16:
            yield f"expected tables and codes of fewer than 65536 units of port w, got {self.table_units}; widen port w"

    @property
    def weight_streams(self) -> list[str]:
        return [f"w{i}" for i in range(self.weight_ports)]

    @property
    def searches(self) -> bool:
        """Whether any row source needs the centroid search."""
        return set(self.row_sources) != {"exact_row"}

    @property
    def builds_rows(self) -> bool:
        return bool(set(self.row_sources) - {"stored_table"})

    @property
    def builds_tables(self) -> bool:
        return "built_table" in self.row_sources

    @property
    def has_tables(self) -> bool:
        return bool({"built_table", "stored_table"} & set(self.row_sources))

    @property
    def chain_length(self) -> int:
        return self.centroids // self.chains

    @property
    def index_bits(self) -> int:
        return bits_for(self.centroids)

    @property
    def operand_width(self) -> int:
        """Bits of one additive stage's operand: the centroid's index where there are tables, its two values where rows
        are built."""
        return self.index_bits * self.has_tables + 2 * self.operand_bits * self.builds_rows

    @property
    def operand_banks(self) -> int:
        """Groups in flight between the front end and the PSum engines. A group keeps its bank until it has passed the
        whole chain, so they grow with it; four cost no more LUTRAM than two."""
        return max(4, 1 << (self.chain_pairs // 4 - 1).bit_length())

    @property
    def bank_bits(self) -> int:
        return bits_for(self.operand_banks)

    @property
    def row_steps(self) -> int:
        """Cycles that it takes to make a row; where more than one, it is kept in the lanes."""
        return self.row_entries // self.row_writes

    @property
    def strip_chunks(self) -> int:
        """Chunks of a block that one token is looked up in before the next token is: a power of two, so many that
        codes of as many more wait. Where rows are made at once, all tokens are looked up in a chunk."""
        return 1 if self.row_steps == 1 else 1 << (self.codes_depth // 2).bit_length() - 1

    @property
    def chain_pairs(self) -> int:
        """Pairs of one of the chains that sum."""
        return self.pairs // self.sum_chains

    @property
    def chain_bits(self) -> int:
        """Bits of a sum in a chain: a term grown by the number of its pairs, never wider than the accumulator."""
        return self._sum_bits(self.chain_pairs)

    @property
    def psum_bits(self) -> int:
        """Bits of the sum of all pairs."""
        return self._sum_bits(self.pairs)

    def _sum_bits(self, pairs: int) -> int:
        return min(self.acc_bits, self.term_bits + (pairs - 1).bit_length())

    @property
    def engines_per_port(self) -> int:
        return self.pairs // self.weight_ports

    @property
    def unit_bits(self) -> int:
        """Bits of a weight beat that go to one PSum engine."""
        return self.port_bits["w"] // self.engines_per_port

    @property
    def code_bits(self) -> int:
        return (self.row_entries - 1).bit_length()

    @property
    def codebooks_ahead(self) -> int:
        """Codebooks that wait in a PSum engine beside codes: one for eight chunks, or for as many as rows must last,
        and enough for short blocks."""
        return max(4, self.codes_depth // max(8, self.row_steps))

    @property
    def codes_units(self) -> int:
        """Weight units of one chunk of codes (`lanes` codes)."""
        return -(-self.lanes * self.code_bits // self.unit_bits)

    @property
    def codebook_units(self) -> int:
        return -(-self.row_entries * 2 * self.weight_bits // self.unit_bits)

    @property
    def row_units(self) -> int:
        """Weight units of one stored table row."""
        return -(-self.row_entries * self.table_bits // self.unit_bits)

    @property
    def table_units(self) -> int:
        return self.act_stages * self.centroids * self.row_units

    @property
    def word_bits(self) -> dict[str, int]:
        """Bits of the words of streams x, c, q and y, of a beat of stream w."""
        return {
            "w": self.port_bits["w"],
            "x": self.pairs * 2 * self.operand_bits,
            "c": max(32, self.pairs * max(16, self.act_stages * self.chains * 2 * self.operand_bits * self.searches)),
            "q": self.requant_lanes * (2 * MULTIPLIER_FIELD if self.bias_bits else MULTIPLIER_BITS),
            "y": self.requant_lanes * self.out_bits,
        }

    def word_beats(self, stream: str) -> int:
        """Beats of port c or q that a word takes."""
        return -(-self.word_bits[stream] // self.port_bits[stream])

    def to_dict(self) -> dict:
        return asdict(self)
