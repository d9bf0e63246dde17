"""component.xml: the ports of the top module and the register map as IP-XACT (IEEE 1685-2009).

Interfaces are named as Vivado names them: xilinx.com:interface:aximm, xilinx.com:signal:clock, ... Every port of the
top module stands in exactly one.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from lutllm.errors import IRError
from lutllm.lowering.export.hw_to_arc import Port
from lutllm.lowering.export.testbench import masters
from lutllm.lowering.hardware.control.register_map import REGISTERS, WORD_BITS, Register, window
from lutllm.lowering.hardware.control.registers import PREFIX
from lutllm.lowering.hardware.lib.axi import burst_limit
from lutllm.lowering.machine.accelerator import AcceleratorConfig

SPIRIT = "http://www.spiritconsortium.org/XMLSchema/SPIRIT/1685-2009"
XILINX = "http://www.xilinx.com"
COMPONENT = "component.xml"
VENDOR, LIBRARY = "lutllm", "accelerator"
SLAVE, CLOCK, RESET = PREFIX.removesuffix("_"), "ap_clk", "ap_rst_n"
_ACCESS = {"rw": "read-write", "r": "read-only", "w": "write-only"}
# Ports that are an interface alone: (interface, kind, logical port, parameters). SLASH wants the name `interrupt`.
_SIGNALS = {
    RESET: (RESET, "reset", "RST", {"POLARITY": "ACTIVE_LOW"}),
    "irq": ("interrupt", "interrupt", "INTERRUPT", {"SENSITIVITY": "LEVEL_HIGH"}),
    "events": ("events", "data", "DATA", {}),  # for simulation; may be left open
}

ET.register_namespace("spirit", SPIRIT)
ET.register_namespace("xilinx", XILINX)


@dataclass(frozen=True)
class Interface:
    """A bus interface: `kind` is "aximm" or that of a signal, `ports` maps logical to physical names."""

    name: str
    kind: str
    master: bool
    ports: Mapping[str, str]
    parameters: Mapping[str, object] = field(default_factory=dict)


def interfaces(ports: Sequence[Port], config: AcceleratorConfig, hertz: Mapping[str, int]) -> list[Interface]:
    """Those of a top module with `ports`; `hertz` of each clock by its port. Raises `IRError` for a port that belongs
    to none."""
    names = [SLAVE, *(name for name, _ in masters(ports))]
    buses: dict[str, dict[str, Port]] = {name: {} for name in names}
    found = []
    for port in ports:
        bus = next((name for name in names if port.name.startswith(f"{name}_")), None)
        if bus is not None:
            buses[bus][port.name.removeprefix(f"{bus}_").upper()] = port
        elif port.name in hertz:
            own = names if len(hertz) == 1 else names[:1] if port.name == CLOCK else names[1:]
            about: dict[str, object] = {"ASSOCIATED_BUSIF": ":".join(own)}
            about |= {"ASSOCIATED_RESET": RESET} if port.name == CLOCK else {}
            about |= {"FREQ_HZ": hertz[port.name]}
            found.append(Interface(port.name, "clock", False, {"CLK": port.name}, about))
        elif port.name in _SIGNALS:
            name, kind, logical, constants = _SIGNALS[port.name]
            found.append(Interface(name, kind, port.direction == "out", {logical: port.name}, constants))
        else:
            raise IRError(f"expected every port of the top module in an interface, got '{port.name}' of none")
    missing = {RESET, *hertz} - {port.name for port in ports}
    if missing:
        raise IRError(f"expected the ports of a whole accelerator, got none named {', '.join(sorted(missing))}")
    of_buses = (
        Interface(name, "aximm", name != SLAVE, {key: port.name for key, port in bus.items()}, _aximm(bus, config))
        for name, bus in buses.items()
    )
    return [*of_buses, *found]


def _aximm(bus: Mapping[str, Port], config: AcceleratorConfig) -> dict[str, object]:
    """Parameters of an AXI interface, from its ports."""
    way = "READ_WRITE" if {"AWADDR", "ARADDR"} <= set(bus) else "READ_ONLY" if "ARADDR" in bus else "WRITE_ONLY"
    bits = (bus.get("WDATA") or bus["RDATA"]).bits
    address = (bus.get("AWADDR") or bus["ARADDR"]).bits
    values: dict[str, object] = {"DATA_WIDTH": bits, "ADDR_WIDTH": address, "READ_WRITE_MODE": way}
    if "ARLEN" not in bus and "AWLEN" not in bus:
        return values | {"PROTOCOL": "AXI4LITE"}
    # Bursts are INCR, and their beats as wide as the bus: what AMD asks to be said so of a kernel.
    values |= {"PROTOCOL": "AXI4", "HAS_BURST": 0, "SUPPORTS_NARROW_BURST": 0}
    return values | {"MAX_BURST_LENGTH": burst_limit(bits, config.burst_beats(bits))}


def component(
    name: str,
    version: str,
    ports: Sequence[Port],
    config: AcceleratorConfig,
    hertz: Mapping[str, int],
    rtl: Sequence[str],
    constraints: Mapping[str, Sequence[str]],
    description: str,
) -> bytes:
    """The component of top module `name`. `rtl`: its SystemVerilog, in the order in which it is to be read;
    `constraints`: XDC files with what Vivado is to use each for. The same bytes for the same input."""
    buses = interfaces(ports, config, hertz)
    spaces = [bus for bus in buses if bus.kind == "aximm" and bus.master]
    root = _node(
        "component",
        _node("vendor", VENDOR), _node("library", LIBRARY), _node("name", name), _node("version", version),
        _node("busInterfaces", *map(_interface, buses)),
        _node("addressSpaces", *map(_space, spaces)),
        _node("memoryMaps", _memory_map(config)),
        _node("model", _node("views", *_views(name)), _node("ports", *map(_port, ports))),
        _node("fileSets", *_file_sets(rtl, constraints)),
        _node("description", description),
        _node("parameters", _parameter("Component_Name", name)),
        _node("vendorExtensions", _core(name)),
    )  # fmt: skip
    ET.indent(root)
    return ET.tostring(root, encoding="UTF-8", xml_declaration=True) + b"\n"


def _node(tag: str, *content: ET.Element | str | int, **attributes: str) -> ET.Element:
    made = ET.Element(f"{{{SPIRIT}}}{tag}", {f"{{{SPIRIT}}}{key}": value for key, value in attributes.items()})
    for part in content:
        if isinstance(part, ET.Element):
            made.append(part)
        else:
            made.text = str(part)
    return made


def _interface(bus: Interface) -> ET.Element:
    library = "interface" if bus.kind == "aximm" else "signal"
    types = (
        _node(tag, vendor="xilinx.com", library=library, name=kind, version="1.0")
        for tag, kind in (("busType", bus.kind), ("abstractionType", f"{bus.kind}_rtl"))
    )
    of: list[ET.Element] = []
    if bus.kind == "aximm":
        reference = "addressSpaceRef" if bus.master else "memoryMapRef"
        of.append(_node(reference, **{reference: bus.name}))
    maps = (
        _node(
            "portMap",
            _node("logicalPort", _node("name", logical)),
            _node("physicalPort", _node("name", physical)),
        )
        for logical, physical in bus.ports.items()
    )
    said = [_node("parameters", *(_parameter(*pair) for pair in bus.parameters.items()))] if bus.parameters else []
    role = _node("master" if bus.master else "slave", *of)
    return _node("busInterface", _node("name", bus.name), *types, role, _node("portMaps", *maps), *said)


def _parameter(name: str, value: object) -> ET.Element:
    return _node("parameter", _node("name", name), _node("value", str(value)))


def _space(bus: Interface) -> ET.Element:
    """All that the addresses of a master can say."""
    size = 1 << int(str(bus.parameters["ADDR_WIDTH"]))
    width = int(str(bus.parameters["DATA_WIDTH"]))
    return _node("addressSpace", _node("name", bus.name), _node("range", f"{size:#x}"), _node("width", width))


def _memory_map(config: AcceleratorConfig) -> ET.Element:
    """One block, for SLASH makes its first block of registers the window of the kernel."""
    start = window(config.context)
    registers = [_register(register) for register in REGISTERS]
    if config.has_sequence:
        note = "token i of the sequence; written only between runs"
        registers.append(_register(Register("TOKEN", start, "rw", WORD_BITS, note), dim=config.context))
    block = _node(
        "addressBlock",
        _node("name", "registers"), _node("baseAddress", "0x0"), _node("range", f"{2 * start:#x}"),
        _node("width", WORD_BITS), _node("usage", "register"), _node("access", "read-write"), *registers,
    )  # fmt: skip
    return _node("memoryMap", _node("name", SLAVE), block)


def _register(register: Register, dim: int | None = None) -> ET.Element:
    access = _node("access", _ACCESS[register.access])
    fields = [(f.name, f.meaning, f.low, f.bits) for f in register.fields]
    return _node(
        "register",
        _node("name", register.name), _node("description", register.description),
        *([] if dim is None else [_node("dim", dim)]),
        _node("addressOffset", f"{register.offset:#x}"), _node("size", WORD_BITS), access,
        *(
            _node(
                "field", _node("name", name), *([_node("description", meaning)] if meaning else []),
                _node("bitOffset", low), _node("bitWidth", bits), access,
                *([_node("modifiedWriteValue", "oneToClear")] if register.clears else []),
            )
            for name, meaning, low, bits in fields or [(register.name, "", 0, register.bits)]
        ),
    )  # fmt: skip


_SYNTHESIS, _SIMULATION = "xilinx_anylanguagesynthesis", "xilinx_anylanguagebehavioralsimulation"


def _views(name: str) -> Iterator[ET.Element]:
    for view, what in ((_SYNTHESIS, "synthesis"), (_SIMULATION, "simulation")):
        yield _node(
            "view",
            _node("name", view), _node("envIdentifier", f":vivado.xilinx.com:{what}"),
            _node("language", "SystemVerilog"), _node("modelName", name),
            _node("fileSetRef", _node("localName", f"{view}_view_fileset")),
        )  # fmt: skip


def _port(port: Port) -> ET.Element:
    vector = [_node("vector", _node("left", port.bits - 1), _node("right", 0))] if port.bits > 1 else []
    return _node("port", _node("name", port.name), _node("wire", _node("direction", port.direction), *vector))


def _file_sets(rtl: Sequence[str], constraints: Mapping[str, Sequence[str]]) -> Iterator[ET.Element]:
    sources = [_file(name, fileType=["systemVerilogSource"]) for name in rtl]
    limits = [_file(name, userFileType=["xdc", *uses]) for name, uses in constraints.items()]
    for view, files in ((_SYNTHESIS, [*sources, *limits]), (_SIMULATION, sources)):
        yield _node("fileSet", _node("name", f"{view}_view_fileset"), *files)


def _file(name: str, **kinds: Sequence[str]) -> ET.Element:
    return _node("file", _node("name", name), *(_node(tag, kind) for tag, all_ in kinds.items() for kind in all_))


def _core(name: str) -> ET.Element:
    """What Vivado wants to know before it offers an IP: for which devices it is, and where it is listed."""
    core = ET.Element(f"{{{XILINX}}}coreExtensions")
    families = ET.SubElement(core, f"{{{XILINX}}}supportedFamilies")
    for family in ("versal", "virtexuplus", "virtexuplusHBM"):
        made = ET.SubElement(families, f"{{{XILINX}}}family", {f"{{{XILINX}}}lifeCycle": "Pre-Production"})
        made.text = family
    taxonomies = ET.SubElement(core, f"{{{XILINX}}}taxonomies")
    ET.SubElement(taxonomies, f"{{{XILINX}}}taxonomy").text = "/UserIP"
    ET.SubElement(core, f"{{{XILINX}}}displayName").text = name
    ET.SubElement(core, f"{{{XILINX}}}coreRevision").text = "1"
    return core
