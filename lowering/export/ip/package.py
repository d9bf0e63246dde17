"""The files of an IP beside its SystemVerilog: component.xml, the link configuration of SLASH, constraints, README.

In: the ports of the top module, the parameters of its machine, the clocks. Out: texts by the name of their file.

What SLASH (github.com/Xilinx/SLASH, August 2026) does is behind the choices here: all clocks of a kernel are its one
user clock, interrupts are not connected, port HBM<n> reaches one gigabyte, that of its pseudo-channel, from
0x40_0000_0000 + (n / 2) * 2**30 on, and a buffer of the host lies in 512 MiB of it. MEM reaches all of HBM.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from lutllm.lowering.export.driver import INSTANCE
from lutllm.lowering.export.hw_to_arc import Port
from lutllm.lowering.export.ip.component import CLOCK, COMPONENT, component
from lutllm.lowering.export.testbench import masters
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP
from lutllm.lowering.hardware.top import BUS_CLOCK
from lutllm.lowering.machine.accelerator import AcceleratorConfig

LINK, CLOCKS, CROSSINGS = "slash.cfg", "constraints/clocks_ooc.xdc", "constraints/crossings.xdc"
HBM_BYTES = 1 << 30  # that a port of HBM reaches; two ports reach the same
NOT_DONE = (
    "This has not been on a board: no Vivado has read, synthesized, placed or routed it, and SLASH has not linked it."
)

_README = """{not_done}

`component.xml` is IP-XACT 1685-2009 of the module `{top}`, whose SystemVerilog is in `rtl/`; {clocks}.
`slash.cfg` is a link configuration of SLASH, with {count} memory ports at {places}:

    python -m slashkit link --platform hw --config slash.cfg --kernels component.xml --out lutllm.vbin

`host/` has what runs it then, where SLASH's runtime is installed; prompt and tokens are ids:

    cmake -S host -B build && cmake --build build
    build/lutllm_host BDF lutllm.vbin mem/image.bin TOKENS ID...

`{clocks_file}` is for synthesis on its own; a block design brings its own clocks.
The registers are in `component.xml`; the memory image of {bytes:,} bytes is `mem/image.bin` where this was made of.
The port `events` may be left open. docs/board.md of lutllm says what was checked, and by what.
"""


def package_files(
    ports: Sequence[Port],
    config: AcceleratorConfig,
    mhz: tuple[float, float],
    rtl: Sequence[str],
    image_bytes: int,
    *,
    version: str,
    about: str,
) -> dict[str, bytes]:
    """Everything but `rtl`, whose names are relative to the IP, in the order in which they are to be read. `mhz` of the
    core and of memory; `about`, a line: what the IP is of."""
    names = (CLOCK,) if config.clocks is None else (CLOCK, BUS_CLOCK)
    hertz = {name: round(value * 1e6) for name, value in zip(names, mhz, strict=False)}
    texts = {CLOCKS: _clocks(hertz)}
    uses: dict[str, Sequence[str]] = {CLOCKS: ("USED_IN_synthesis", "USED_IN_implementation", "USED_IN_out_of_context")}
    if len(hertz) > 1:
        texts[CROSSINGS] = _crossings(hertz)
        uses[CROSSINGS] = ("PROCESSING_ORDER_LATE",)
    memories = link_memories([name for name, _ in masters(ports)], image_bytes)
    texts[LINK] = link_configuration(memories, hertz)
    texts["README.md"] = _README.format(
        not_done=NOT_DONE, top=ACCELERATOR_TOP, count=len(memories), clocks_file=CLOCKS, bytes=image_bytes,
        places=" and ".join(sorted(set(memories.values()))),
        clocks=" and ".join(f"`{name}` at {value / 1e6:g} MHz" for name, value in hertz.items()),
    )  # fmt: skip
    made = component(ACCELERATOR_TOP, version, ports, config, hertz, rtl, uses, about)
    return {COMPONENT: made} | {name: text.encode() for name, text in texts.items()}


def link_memories(names: Sequence[str], image_bytes: int) -> dict[str, str]:
    """The memory of SLASH that each master is linked to. All masters add to one address, that of the image, so all must
    reach all of it: the two ports of one gigabyte of HBM in turn, or MEM for a larger image."""
    if image_bytes > HBM_BYTES:
        return dict.fromkeys(names, "MEM")
    return {name: f"HBM{i % 2}" for i, name in enumerate(names)}


def link_configuration(memories: Mapping[str, str], hertz: Mapping[str, int]) -> str:
    """A configuration of `slashkit link`, an instance of the kernel."""
    lines = [f"# {NOT_DONE}", "# All ports reach the whole image: HBM0 and HBM1 the same gigabyte, MEM all of HBM."]
    if len(hertz) > 1:
        lines.append(f"# SLASH gives a kernel one clock: {' and '.join(hertz)} are then the same.")
    lines += ["[connectivity]", f"nk={ACCELERATOR_TOP}:1:{INSTANCE}"]
    lines += [f"sp={INSTANCE}.{name}:{memory}" for name, memory in memories.items()]
    lines += ["", "[clock]", f"krnl={INSTANCE}", f"freqhz={hertz[CLOCK]}"]
    return "\n".join(lines) + "\n"


def _clocks(hertz: Mapping[str, int]) -> str:
    lines = [f"# {NOT_DONE}", "# Clocks of the module on its own; a block design has its own."]
    lines += [f"create_clock -name {n} -period {_period(hz)} [get_ports {n}]" for n, hz in hertz.items()]
    return "\n".join(lines) + "\n"


def _crossings(hertz: Mapping[str, int]) -> str:
    """Between the clocks nothing passes but pointers in Gray code and levels, into registers `*_meta` (ASYNC_REG in the
    SystemVerilog), and words of FIFOs that stand still while they are read: all must come within one short period."""
    clocks = f"[get_clocks -of_objects [get_ports {{{' '.join(hertz)}}}]]"
    period = _period(max(hertz.values()))
    words = "[get_cells -hierarchical -filter {ORIG_REF_NAME =~ *_async_fifo_*}]"
    return (
        f"# {NOT_DONE}\n# From one clock to the other, within the shorter period.\n"
        f"set_max_delay -datapath_only {period} -from {clocks} "
        "-to [get_cells -hierarchical -filter {NAME =~ *_meta_reg*}]\n"
        f"set_max_delay -datapath_only {period} -from {clocks} "
        f"-through [get_pins -of_objects {words} -filter {{REF_PIN_NAME =~ out_data*}}]\n"
    )


def _period(hertz: int) -> str:
    """Nanoseconds, rounded down to picoseconds."""
    return f"{1e9 / hertz - 5e-4:.3f}" if 1_000_000_000_000 % hertz else f"{1e9 / hertz:.3f}"
