"""The AXI masters' promises for every memory and every user, by induction in Yosys: properties beside the emitted text.

AR, AW and W stand until they are taken, through a reset too; no burst crosses 4 KB; a beat always finds room, and data
that is offered is there.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.lib.axi import axi_read_stream, axi_write_stream
from lutllm.lowering.hardware.lib.circt import Design

if shutil.which("yosys") is None:
    pytest.skip("yosys is not installed (apt install yosys): no formal checks", allow_module_level=True)

# The surroundings: a clear at first, aligned commands, and a reset that is held until the unit is idle.
USER = """
  reg f_begun = 0, f_reset = 0, f_idle = 0;
  always @(posedge clk) begin
    f_begun <= 1; f_reset <= rst; f_idle <= idle;
    if (!f_begun) assume (clear && rst);
    if (f_begun) assume (!clear);
    assume (command_address[1:0] == 0);
    assume (rst || !f_reset || f_idle);
  end
"""
STANDS = """
  reg f_{0} = 0; reg [{bits}:0] f_{0}_word;
  always @(posedge clk) begin
    f_{0} <= {0} && !{1} && !clear; f_{0}_word <= {2};
    if (f_{0}) assert ({0} && f_{0}_word == {2});
  end
"""
PAGE = """
  always @(posedge clk) if ({0}valid) assert ({0}addr[1:0] == 0 && {0}addr[11:0] + ({0}len + 1) * 4 <= 4096);
  always @(posedge clk) if (active) assert (address[1:0] == 0 && left != 0);
"""
READ = """
  always @(posedge clk) if (f_begun) begin
    assert (f_reset ? free == DEPTH && f_count == 0 && owed <= DEPTH : free + owed + f_count == DEPTH);
    if (beat && !rst) assert (f_room);
  end
"""
# At most one burst at a time is between its address and its response: `f_due` words of it are still to be sent.
WRITE = """
  wire [31:0] f_due = beats_left + (_length_queue_out_valid ? _length_queue_out_data : 0);
  always @(posedge clk) if (f_begun) begin
    assert (f_reset ? stored == 0 && f_count >= f_due : f_count == stored + f_due);
    if (f_reset && f_idle) assert (f_count == 0);
    if (f_due != 0) assert (_response_queue_out_valid);
    assume (!hard && (!bvalid || f_due == 0));
    if (wvalid) assert (f_count != 0);
    if (_length_queue_out_valid) assert (_length_queue_out_data != 0 && _length_queue_out_data <= 4);
    assert (beats_left <= 4);
  end
"""
# A queue begins as a reset leaves it.
LEVEL = """
  initial begin count_0 = 0; filled = 0; spare = 1; end
  always @(posedge clk) assert (count_0 <= {0} && filled == (count_0 != 0) && spare == (count_0 != {0}));
"""
QUEUE = f"""{LEVEL}
  always @(posedge clk) assert (write_pointer == (read_pointer + count_0) % {{0}});
"""
ADDRESSES = """
  initial begin mem[0] = 0; mem[1] = 0; end
  always @(posedge clk) begin
    assert (mem[0][1:0] == 0 && mem[0][11:0] + (mem[0][71:64] + 1) * 4 <= 4096);
    assert (mem[1][1:0] == 0 && mem[1][11:0] + (mem[1][71:64] + 1) * 4 <= 4096);
  end
"""


def with_properties(path: Path, own: str) -> None:
    """Add properties to an emitted module."""
    text = path.read_text()
    if found := re.search(r"module fifo_(\d+)x", text):
        own = (QUEUE if int(found[1]) > 1 else LEVEL).format(found[1])
    elif "module ram_distributed_2x72_async" in text:
        own = ADDRESSES
    elif not re.search(r"module axi_", text):
        own = ""
    # What the unit does not connect, but a property is about.
    queue = re.search(r"fifo_\d+x32 data_queue \([^;]*;", text)
    if queue:
        shown = re.sub(r"(\.count +)\(.*?\)", r"\1(f_count)", queue[0])
        shown = re.sub(r"(\.in_ready +)\(/\* unused \*/\)", r"\1(f_room)", shown)
        text = text.replace(queue[0], shown).replace(");\n\n", ");\n  wire [31:0] f_count;\n  wire f_room;\n", 1)
    path.write_text(text.replace("endmodule", f"{own}endmodule"))


@dataclass(frozen=True)
class Unit:
    """One of the masters, small, with what it promises."""

    make: Callable[..., str]
    properties: str
    size: dict[str, int]

    def prove(self, folder: Path, old: str = "", new: str = "") -> str:
        """What Yosys says; with a fault in the text, `new` for `old`."""
        design = Design("sv")
        top = self.make(design, 32, burst_beats=4, **self.size)
        files = hw_to_sv(design, top, folder)
        for path in files:
            if old and path.stem == top:
                assert old in path.read_text()
                path.write_text(path.read_text().replace(old, new, 1))
            with_properties(path, USER + self.properties)
        read = "; ".join(f"read_verilog -sv -formal {path.name}" for path in files)
        asked = subprocess.run(["yosys", "-p", "help chformal"], capture_output=True, text=True).stdout
        lower = "chformal -lower; " if "-lower" in asked else ""  # later Yosys keeps assertions in another cell
        script = f"{read}; prep -top {top} -flatten; {lower}memory_map; opt_clean; async2sync; dffunmap; opt_clean; "
        script += "sat -tempinduct -prove-asserts -set-assumes -set-init-zero -seq 1 -maxsteps 12 -timeout 300"
        done = subprocess.run(["yosys", "-p", script], cwd=folder, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr + done.stdout[-2000:]
        return done.stdout


READER = Unit(
    axi_read_stream,
    STANDS.format("arvalid", "arready", "{araddr, arlen}", bits=71) + PAGE.format("ar") + READ.replace("DEPTH", "8"),
    dict(outstanding=2),
)
WRITER = Unit(
    axi_write_stream,
    STANDS.format("awvalid", "awready", "{awaddr, awlen}", bits=71)
    + PAGE.format("aw")
    + STANDS.format("wvalid", "wready", "{wdata, wlast}", bits=32)
    + WRITE,
    dict(outstanding=1, depth=8),
)


@pytest.mark.parametrize("unit", [READER, WRITER], ids=["reader", "writer"])
def test_the_promises_hold_for_ever(unit: Unit, tmp_path: Path) -> None:
    assert "Induction step proven: SUCCESS!" in unit.prove(tmp_path)


FAULTS = {
    "a burst of one beat more": (READER, "32'h4 - {30'h0, address[3:2]}", "32'h5 - {30'h0, address[3:2]}"),
    "a burst without room": (READER, "(|(free[3:2]))", "(|(free[3:1]))"),
    "an address that a reset takes back": (READER, "    .rst       (clear)", "    .rst       (clear | rst)"),
    "data that a reset takes back": (WRITER, "drop | rst & ~wvalid_value & no_burst", "drop | rst"),
    "a burst asked for in a reset": (WRITER, "beats_to_boundary[2:0]}) & ~rst", "beats_to_boundary[2:0]})"),
    "a burst before its data": (WRITER, "stored >= {1'h0, beats_to_boundary[2:0]}", "1'h1"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_within_some_cycles(fault: str, tmp_path: Path) -> None:
    unit, old, new = FAULTS[fault]
    assert "model found for base case: FAIL!" in unit.prove(tmp_path, old, new)
