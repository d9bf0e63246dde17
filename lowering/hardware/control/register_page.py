"""The register map as a page of Markdown: what a driver's author must know, from the data the hardware is made of."""

from __future__ import annotations

from lutllm.lowering.hardware.control.register_map import VERSION, address_bits, markdown_table, register_table, window
from lutllm.lowering.machine.accelerator import ERROR_MEANINGS, AcceleratorConfig

_TEXT = """# Register map

Version {version}; generated from `register_map.py`, like the registers themselves. AXI4-Lite slave `s_axi_control`:
addresses of {bits} bits, words of 32. Numbers of 64 bits are two words, the low half first. Partial words, unknown or
unaligned addresses, writes to what is read-only and writes during a run are answered with SLVERR and change nothing.

{table}
## A run

1. {prompt} With POSITION 0 the
   sequence begins; with more, the tokens before it are those of an earlier run, whose caches are still there.
2. Write POSITION, LENGTH, TOKENS, STOP0 to STOP7, IMAGE and MODEL, then 1 to CONTROL.
3. Wait for bit 0 of ISR, or for `irq` where GIE is 1 and IER has the bit. STATUS says how it ended; write ISR to clear.
4. {results}

After an error, write what was wrong and start again. A run that does not move raises bit 1 of ISR, and ends with an
error once the bus is quiet; so does one that is aborted by bit 1 of CONTROL. STATUS is busy until then. After loading
an image, start with bit 2 of CONTROL: that run reads all of it, and ends with error `checksum` if it is damaged.

## Error codes of STATUS

{errors}
## Bits of STALLED

{engines}"""

_TOKENS = (
    "Write the prompt's tokens, from `{window:#x}` + 4 * POSITION on: at most {context} tokens in all.",
    "Read MADE tokens from `{window:#x}` + 4 * LENGTH on; LAST holds the last one, which may lie beyond the context.",
)
_ROWS = (
    "Write the inputs of each pass to where engine load reads them: rows of at most {context} tokens in all.",
    "Read the outputs where engine save wrote them. There are no tokens to make: TOKENS is 0.",
)


def register_page(config: AcceleratorConfig) -> str:
    """The page of one accelerator."""
    prompt, results = _TOKENS if config.has_sequence else _ROWS
    errors = [(i, name.replace("_", " "), meaning) for i, (name, meaning) in enumerate(ERROR_MEANINGS.items())]
    return _TEXT.format(
        version=VERSION,
        bits=address_bits(config),
        table=register_table(config),
        prompt=prompt.format(window=window(config.context), context=config.context),
        results=results.format(window=window(config.context)),
        errors=markdown_table(("code", "error", "meaning"), errors),
        engines=markdown_table(("bit", "engine"), enumerate(config.engines)),
    )
