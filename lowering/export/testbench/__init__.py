"""The folder `tb/`: a C++ bench of a whole accelerator that needs Verilator and nothing of ours.

In: the accelerator's parameters and ports, a prompt and the tokens expected. Out: main.cpp and axi_memory.h (the same
for every design), design.h and expected.txt (generated), run.sh and README.txt; the same bytes for the same input.
"""

from __future__ import annotations

import textwrap
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from lutllm.errors import IRError
from lutllm.lowering.export.hw_to_arc import Port
from lutllm.lowering.hardware.control import register_map
from lutllm.lowering.hardware.control.register_map import OFFSETS, window
from lutllm.lowering.machine.accelerator import ERRORS, AcceleratorConfig
from lutllm.lowering.machine.targets import MEMORY_LATENCY

_TEMPLATES = Path(__file__).parent
_FIXED = ("main.cpp", "axi_memory.h", "README.txt")
_CONSTANTS = (
    "START",
    "VERIFY",
    "ENDED",
    "STATUS_WATCHDOG",
    "STATUS_ERROR_SHIFT",
    "STATUS_ERROR_MASK",
    "STOP_ENABLE",
    "STOPS",
)
_NEEDED = ("ap_clk", "ap_rst_n", "irq", "events", "s_axi_control_awaddr")


def write_testbench(
    config: AcceleratorConfig,
    ports: Sequence[Port],
    directory: str | Path,
    prompt: Sequence[int],
    expected: Sequence[int],
    model: int,
    image: str = "../mem/image.bin",
    *,
    rtl: str = "../rtl",
    top: str = "lut_accelerator",
    memory_bytes: int = 0,
    stops: Collection[int] = (),
    latency: int = MEMORY_LATENCY,
    length: int = 0,
    inputs: Mapping[int, bytes] = MappingProxyType({}),
    outputs: Mapping[int, bytes] = MappingProxyType({}),
) -> list[Path]:
    """Write the bench of the design with `ports` to `directory`, made if missing; returns its files.

    `image` and `rtl` are relative to `directory`. Memory is as large as the image, or `memory_bytes` if that is more.
    `model`: the hash in the image's header. `stops`: tokens that end a run. `latency` of memory where
    none is asked for. Of rows instead of tokens: `length` of
    them, `inputs` by address that are in memory before the run and `outputs` that are there after it.
    """
    missing = set(_NEEDED) - {port.name for port in ports}
    if missing:
        raise IRError(f"expected the ports of a whole accelerator, got none named {', '.join(sorted(missing))}")
    script = (_TEMPLATES / "run.sh").read_text()
    for name, value in (("TOP", top), ("RTL", rtl), ("IMAGE", image), ("LATENCY", str(latency))):
        script = script.replace(f"@{name}@", value)
    texts = {name: (_TEMPLATES / name).read_text() for name in _FIXED}
    texts |= {"design.h": design_header(config, ports, latency), "run.sh": script}
    binaries = {f"input_{address:x}.bin": data for address, data in inputs.items()}
    binaries |= {f"output_{address:x}.bin": data for address, data in outputs.items()}
    run = _expected(prompt, expected, model, memory_bytes, stops) + (f"length {length}\n" if length else "")
    for kind, given in (("input", inputs), ("output", outputs)):
        run += "".join(f"{kind} {address:#x} {kind}_{address:x}.bin\n" for address in given)
    texts["expected.txt"] = run
    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    for name, data in (binaries | {name: text.encode() for name, text in texts.items()}).items():
        (directory / name).write_bytes(data)
    (directory / "run.sh").chmod(0o755)
    return [directory / name for name in sorted(texts | dict.fromkeys(binaries, ""))]


def masters(ports: Sequence[Port]) -> list[tuple[str, str]]:
    """(name, READ or WRITE) of every AXI4 master, in port order."""
    kinds = {"_arvalid": "READ", "_awvalid": "WRITE"}
    outputs = [port.name for port in ports if port.direction == "out"]
    return [(name.removesuffix(end), kind) for name in outputs for end, kind in kinds.items() if name.endswith(end)]


def design_header(config: AcceleratorConfig, ports: Sequence[Port], latency: int = MEMORY_LATENCY) -> str:
    """design.h: what main.cpp must know of this design."""
    values = OFFSETS | {name: getattr(register_map, name) for name in _CONSTANTS} | {"WINDOW": window(config)}
    engines = config.engines
    pick_done = len(engines) + engines.index("pick") if "pick" in engines else 63  # a bit that is never set
    lines = ["// Generated: registers, engines and AXI4 masters of this design.", "#pragma once", ""]
    lines += ["#include <memory>", "#include <vector>", "", '#include "Vmodel.h"', '#include "axi_memory.h"', ""]
    lines += ["namespace design {", "", "using Top = Vmodel;", ""]
    lines += ["// Byte offsets of registers, bits in them, and where the sequence of tokens begins."]
    lines += [f"constexpr uint32_t {name} = {value:#x};" for name, value in values.items()]
    lines += ["", f"constexpr uint64_t WATCHDOG = {config.watchdog};  // cycles until the accelerator's own fires"]
    lines += [f"constexpr uint64_t LATENCY = {latency};  // of memory, in cycles, where nothing else is asked for"]
    core, bus = (1, 1) if config.clocks is None else config.clocks.periods
    lines += [
        f"constexpr uint64_t PERIOD = {core}, BUS_PERIOD = {bus};  // of the clocks of the design and of its ports"
    ]
    lines += [f"constexpr unsigned PICK_DONE = {pick_done};  // bit of the port `events`"]
    lines += [
        f"constexpr const char *{name}[] = {{\n{_quoted(words)}}};"
        for name, words in (("ENGINES", engines), ("ERRORS", ERRORS))
    ]
    drives = "top.ap_clk_2 = level;" if config.clocks is not None else "(void)top, (void)level;"
    lines += ["", f"inline void bus_clock(Top &top, bool level) {{ {drives} }}"]
    lines += ["", "inline std::vector<std::unique_ptr<AxiPort>> axi_ports(Top &top, Memory &memory) {"]
    lines += ["  std::vector<std::unique_ptr<AxiPort>> ports;"]
    lines += [f"  ports.push_back({kind}_PORT(top, memory, {name}));" for name, kind in masters(ports)]
    lines += ["  return ports;", "}", "", "}  // namespace design"]
    return "\n".join(lines) + "\n"


def _quoted(words: Sequence[str]) -> str:
    return textwrap.fill(", ".join(f'"{word}"' for word in words), 116, initial_indent="    ", subsequent_indent="    ")


def _expected(
    prompt: Sequence[int], tokens: Sequence[int], model: int, memory_bytes: int, stops: Collection[int]
) -> str:
    lines = [f"model {model:#x}", f"memory {memory_bytes}"]
    lines += [" ".join(["stop", *map(str, sorted(stops))])] if stops else []
    lines += [" ".join(["prompt", *map(str, prompt)]), " ".join(["expected", *map(str, tokens)])]
    return "\n".join(lines) + "\n"
