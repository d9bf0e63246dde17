"""What others published of Qwen3-1.7B, and where: nothing here was measured by us."""

from __future__ import annotations

from dataclasses import dataclass

LUT_LLM = "LUT-LLM"
SOURCE = (
    "arXiv 2511.06174 and its artifact; LUT-LLM's own are one decoder layer's RTL simulation x 28 layers at 250 MHz, "
    "without LM head, embedding and launches; GPUs as its authors measured them"
)
PAIRS = ((32, 16), (32, 64), (32, 256), (128, 16), (128, 64), (128, 256))  # tokens of prompt and answer
LATENCY_MS = {
    "A100 BF16": (241.4, 935.0, 3895.8, 323.7, 1080.2, 4086.2),
    "A100 INT8": (96.0, 404.6, 1683.0, 128.7, 467.3, 1765.1),
    "A100 INT4": (88.3, 377.1, 1460.5, 118.1, 435.4, 1531.6),
    "MI210 BF16": (268.0, 1134.0, 4336.2, 356.7, 1307.7, 4546.0),
    "MI210 INT8": (268.1, 1136.4, 4394.0, 371.9, 1323.5, 4618.6),
    LUT_LLM: (105.9, 351.1, 1331.8, 284.7, 529.9, 1510.7),
}
WATTS = {LUT_LLM: 62.75}  # its power tool's, of an earlier build
WEIGHTS = 1_409_286_144  # of the linears of its 28 layers


@dataclass(frozen=True)
class Device:
    """`tops`: 10^12 operations a second at most, a multiplication and an addition being two; `gb_per_s` of memory;
    `bits` a weight that a token reads, and milliseconds that one took."""

    name: str
    tops: float
    gb_per_s: float
    bits: float
    token_ms: float
    source: str

    @property
    def point(self) -> tuple[float, float]:
        """Operations a byte, and 10^12 operations a second."""
        return 2 * 8 / self.bits, 2 * WEIGHTS / self.token_ms / 1e9


def _step(name: str) -> float:
    """Milliseconds of a token, from answers of 16 and of 256 tokens to the same prompt."""
    row = LATENCY_MS[name]
    return (row[2] - row[0]) / (PAIRS[2][1] - PAIRS[0][1])


DEVICES = (
    Device(LUT_LLM, 8192 * 2 * 2 * 250e6 / 1e12, 819.2, 6.0, 5.108,
           f"{SOURCE}; 8,192 lookups of two weights a cycle; 6 bits: INT4 tables of 64 x 16 and codes, our reckoning"),
    Device("A100 BF16", 312, 1555, 16, _step("A100 BF16"), "NVIDIA's data sheet, 40 GB; latencies: LUT-LLM's authors"),
    Device("MI210 BF16", 181, 1638, 16, _step("MI210 BF16"), "AMD MI210 data sheet; latencies: LUT-LLM's authors"),
)  # fmt: skip
