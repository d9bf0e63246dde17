"""The register map as a page of Markdown: what a driver's author must know, from the data the hardware is made of."""

from __future__ import annotations

from pathlib import Path

from lutllm.lowering.accelerator import ENGINES, ERRORS, AcceleratorConfig
from lutllm.lowering.accelerator_hw.register_map import VERSION, address_bits, register_table, window

_TEXT = """# Register map

Version {version}; generated from `register_map.py`, like the registers themselves. AXI4-Lite slave `s_axi_control`:
addresses of {bits} bits, words of 32. Numbers of 64 bits are two words, the low half first. Partial words, unknown or
unaligned addresses, writes to what is read-only and writes during a run are answered with SLVERR and change nothing.

{table}
## A run

1. Write the prompt's tokens, from `{window:#x}` + 4 * POSITION on: at most {context} tokens in all. With POSITION 0 the
   sequence begins; with more, the tokens before it are those of an earlier run, whose caches are still there.
2. Write POSITION, LENGTH, TOKENS, STOP, IMAGE and MODEL, then 1 to CONTROL.
3. Wait for `irq`: it is high from the end of a run to the next start. STATUS says how it ended.
4. Read MADE tokens from `{window:#x}` + 4 * LENGTH on; LAST holds the last one, which may lie beyond the context.

After an error the accelerator waits for a reset.

## Error codes of STATUS

{errors}
## Bits of STALLED

{engines}"""


def register_page(config: AcceleratorConfig) -> str:
    """The page of one accelerator."""
    return _TEXT.format(
        version=VERSION,
        bits=address_bits(config),
        table=register_table(config),
        window=window(config),
        context=config.context,
        errors=_numbered("code", "error", ERRORS),
        engines=_numbered("bit", "engine", ENGINES),
    )


def write_register_map(config: AcceleratorConfig, path: str | Path) -> Path:
    """Write the page to `path`; its folder is made if missing."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(register_page(config))
    return path


def _numbered(number: str, what: str, names: tuple[str, ...]) -> str:
    rows = [f"| {i} | {name.replace('_', ' ')} |" for i, name in enumerate(names)]
    return "\n".join([f"| {number} | {what} |", "| --- | --- |", *rows]) + "\n"
