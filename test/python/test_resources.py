"""The estimate of resources: sums over the instance tree, the cache, and a run without Yosys or in too little time."""

import json
import shutil
from pathlib import Path

import pytest

from lutllm.cost import yosys
from lutllm.cost.resources import (
    KINDS,
    Resources,
    counted,
    estimate_resources,
    resources_markdown,
    save_resources,
    write_resources,
)
from lutllm.lowering.machine.targets import find_target

V80 = find_target("v80").device

# A register of 5 bits three times, once under a module that multiplies; a memory of 4096 x 8 bits.
MODULES = {
    "delay": "module delay(\n  input clk, input [4:0] d, output reg [4:0] q);\n"
    "  always @(posedge clk) q <= d;\nendmodule\n",
    "product": "module product(\n  input clk, input [4:0] a, b, output reg [31:0] q, output [4:0] late);\n"
    "  reg [15:0] x, y;\n  always @(posedge clk) begin x <= {a, 11'd5}; y <= {b, 11'd9}; q <= x * y; end\n"
    "  delay inner (\n    .clk(clk), .d(a), .q(late));\nendmodule\n",
    "store": "module store(\n  input clk, we, input [11:0] wa, ra, input [7:0] wd, output reg [7:0] rd);\n"
    '  (* ram_style = "block" *) reg [7:0] memory [0:4095];\n'
    "  always @(posedge clk) begin if (we) memory[wa] <= wd; rd <= memory[ra]; end\nendmodule\n",
    "top": "module top(\n  input clk, we, input [4:0] a, b, input [11:0] wa, ra, input [7:0] wd,\n"
    "  output [7:0] rd, output [31:0] q, output [4:0] late, p, r);\n"
    "  delay first (\n    .clk(clk), .d(a), .q(p));\n  delay second (\n    .clk(clk), .d(b), .q(r));\n"
    "  product product (\n    .clk(clk), .a(p), .b(r), .q(q), .late(late));\n"
    "  store memory (\n    .clk(clk), .we(we), .wa(wa), .ra(ra), .wd(wd), .rd(rd));\nendmodule\n",
}


@pytest.fixture
def rtl(tmp_path: Path) -> Path:
    folder = tmp_path / "the rtl"
    folder.mkdir()
    for name, text in MODULES.items():
        (folder / f"{name}.sv").write_text(text)
    (folder / "filelist.f").write_text("".join(f"{name}.sv\n" for name in MODULES))
    return folder


needs_yosys = pytest.mark.skipif(shutil.which("yosys") is None, reason="yosys is not installed (apt install yosys)")


def test_cells_become_what_a_device_has() -> None:
    cells = {"LUT2": 3, "LUT6": 4, "INV": 5, "FDRE": 6, "FDSE": 1, "DSP48E2": 2, "RAMB36E2": 3, "RAMB18E2": 1}
    cells |= {"RAM64M8": 2, "SRL16E": 1, "URAM288": 7, "CARRY4": 9, "MUXF7": 8}
    expected = {"LUT": 7 + 17, "FF": 7, "DSP": 2, "BRAM": 3.5, "URAM": 7, "LUTRAM": 17}
    assert counted(cells) == expected and list(expected) == list(KINDS)


def test_the_statistics_of_old_and_new_yosys() -> None:
    old = "=== a ===\n\n   Number of cells:    4\n     LUT2       3\n     FDRE       1\n\n"
    old += "=== b ===\n\n   Number of cells:    0\n"
    assert yosys._statistics(old) == {"a": {"LUT2": 3, "FDRE": 1}, "b": {}}
    new = "=== a ===\n\n        4 cells\n        3   LUT2\n        1  6.5   FDRE\n"
    assert yosys._statistics(new)["a"].items() >= {"LUT2": 3, "FDRE": 1}.items()


def test_without_yosys_there_is_a_note(rtl: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    found = estimate_resources(rtl, "top", V80, cache=tmp_path / "cache")
    files = write_resources(rtl, "top", V80, tmp_path / "reports", cache=tmp_path / "cache", quiet=True)
    assert [path.name for path in files] == ["resources.json", "resources.md"]
    assert files[1].read_text() == resources_markdown(found)
    assert found.rows == [] and found.problems == [
        "yosys is not installed (apt install yosys): no estimate of resources"
    ]
    assert found.problems[0] in resources_markdown(found)


@needs_yosys
def test_modules_are_summed_over_their_instances(
    rtl: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    found = estimate_resources(rtl, "top", V80, cache=tmp_path / "cache")
    assert "yosys: 1/1" in capsys.readouterr().err and found.problems == []
    rows = {row["module"]: row for row in found.rows}
    assert {name: row["instances"] for name, row in rows.items()} == {"delay": 3, "product": 1, "store": 1, "top": 1}
    assert rows["delay"]["FF"] == 5 and rows["top"]["FF"] == 0
    assert rows["product"]["DSP"] == 1 and rows["store"]["BRAM"] == 1
    parts = {part["part"]: part for part in found.parts}
    assert set(parts) == {"first", "second", "product", "memory"} and parts["memory"]["module"] == "store"
    assert parts["product"]["FF"] == rows["product"]["FF"] + 5
    assert found.total["FF"] == sum(part["FF"] for part in found.parts)
    assert found.share == {kind: found.total[kind] / count for kind, count in V80.available.items()}

    def refuse(*_: object) -> None:
        raise AssertionError("expected everything in the cache")

    monkeypatch.setattr(yosys, "_run", refuse)
    assert estimate_resources(rtl, "top", V80, cache=tmp_path / "cache") == found
    assert capsys.readouterr().err == ""


@needs_yosys
def test_what_takes_too_long_or_fails_is_named_and_left_out(rtl: Path, tmp_path: Path) -> None:
    found = estimate_resources(rtl, "top", V80, cache=tmp_path / "none", seconds=0.01, quiet=True)
    assert found.problems == [f"{name}: took more than 0.01 s" for name in sorted(MODULES)] and found.rows == []
    (rtl / "store.sv").write_text("module store(input clk; endmodule\n")
    found = estimate_resources(rtl, "top", V80, cache=tmp_path / "cache", quiet=True)
    assert {row["module"] for row in found.rows} == set(MODULES) - {"store"} - {p.split(":")[0] for p in found.problems}
    assert any(p.startswith("store: ") and "ERROR" in p for p in found.problems)


def test_the_tables(tmp_path: Path) -> None:
    counts = {"LUT": 123_456, "FF": 50, "DSP": 1, "BRAM": 1.5, "URAM": 0, "LUTRAM": 16}
    share = {kind: counts[kind] / count for kind, count in V80.available.items()}
    row, part = {"module": "m", "instances": 2, **counts}, {"part": "the_m", "module": "m", **counts}
    found = Resources([row], [part], counts, share, ["n: took more than 300 s"], "Yosys 0.23", "V80", V80.available)
    files = {path.name: path.read_text() for path in save_resources(found, tmp_path)}
    assert json.loads(files["resources.json"])["rows"] == [row]
    text = files["resources.md"]
    assert "UltraScale+-style estimate by Yosys, no placement, no timing" in text and "* n: took more than" in text
    assert "| `m` | 2 | 123,456 | 50 | 1 | 1.5 | 0 | 16 | 9.59 | 0.00 | 0.02 | 0.08 | 0.00 |" in text
    assert "| `the_m` | 123,456 | 50 |" in text and "| `everything` | 123,456 |" in text
