"""The driver of a host in C++: a header, its offsets from the register map; a device over SLASH's runtime, and what is
built of it. The same for every accelerator."""

from __future__ import annotations

import textwrap
from pathlib import Path

from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP
from lutllm.lowering.hardware.control import register_map
from lutllm.lowering.machine.accelerator import ERRORS, IMAGE_HEADER

HEADER = "lutllm_driver.hpp"
INSTANCE = f"{ACCELERATOR_TOP}_0"  # of the kernel that SLASH links
_HOST = ("lutllm_vrt.hpp", "lutllm_vrt.cpp", "lutllm_host.cpp", "CMakeLists.txt")
_CONSTANTS = (
    "START", "ABORT", "VERIFY", "ENDED", "STUCK", "STATUS_BUSY", "STATUS_DONE", "STATUS_WATCHDOG", "STATUS_ERROR_SHIFT",
    "STATUS_ERROR_MASK", "STOP_ENABLE", "STOPS", "MIN_WINDOW",
)  # fmt: skip


def driver_header() -> str:
    """The text of `HEADER`."""
    values = register_map.OFFSETS | {name: getattr(register_map, name) for name in _CONSTANTS}
    values |= {"MAP_VERSION": register_map.VERSION, "MODEL_AT": 8 * IMAGE_HEADER.index("model")}
    lines = [
        "// Byte offsets of registers, bits in them; where the sequence begins at least; where an image says its model."
    ]
    lines += [f"constexpr uint32_t {name} = {value:#x};" for name, value in values.items()]
    lines += [f"constexpr const char *ERRORS[] = {{\n{quoted(ERRORS)}}};"]
    return (Path(__file__).parent / HEADER).read_text().replace("@REGISTERS@", "\n".join(lines))


def host_files() -> dict[str, str]:
    """The texts of a host's program, and of the library that Python loads, by the name of their file."""
    texts = {name: (Path(__file__).parent / name).read_text().replace("@KERNEL@", INSTANCE) for name in _HOST}
    return {HEADER: driver_header()} | texts


def quoted(words: tuple[str, ...]) -> str:
    """As the elements of an array of C."""
    return textwrap.fill(", ".join(f'"{word}"' for word in words), 116, initial_indent="    ", subsequent_indent="    ")
