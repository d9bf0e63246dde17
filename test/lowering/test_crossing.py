"""The FIFO with a clock at each end: words in order at any two clocks, and by induction in Yosys, whatever they do."""

from __future__ import annotations

import shutil
import subprocess
from collections import deque
from pathlib import Path

import numpy as np
import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.crossing import SYNCHRONIZED
from lutllm.lowering.hardware.lib.stream import async_fifo
from lutllm.simulate import ArcSimulator

DEPTH = 4
CLOCKS = ((5, 8, 0), (8, 5, 3), (5, 5, 2), (5, 5, 0), (2, 31, 1), (31, 2, 1), (13, 17, 5))


def simulator() -> ArcSimulator:
    design = Design("arc")
    return ArcSimulator(hw_to_arc(design, async_fifo(design, 9, DEPTH)))


class Run:
    """The FIFO between a writer and a reader that both pause; `held` is what should be in it."""

    def __init__(self, periods: tuple[int, int], phase: int, pauses: float = 0.3) -> None:
        self.sim, self.rng, self.pauses = simulator(), np.random.default_rng(1), pauses
        self.next, self.periods = [0, phase], periods
        self.held: deque[int] = deque()
        self.moved, self.edges, self.sent = 0, [0, 0], 0
        self.times: tuple[list[int], list[int]] = ([], [])

    def edge(self) -> None:
        """The next edge, or both where they come at a time."""
        sim, now = self.sim, min(self.next)
        clocks = [i for i in (0, 1) if self.next[i] == now]
        for i in clocks:
            sim.poke(("clk", "read_clk")[i], 0)
            go = self.rng.random() >= self.pauses
            if i == 0:
                sim.poke("in_valid", go)
                sim.poke("in_data", self.sent % 512)
            else:
                sim.poke("out_ready", go)
        sim.evaluate()
        popped = 1 in clocks and sim.peek("out_valid") and sim.peek("out_ready")
        if popped:
            assert sim.peek("out_data") == self.held.popleft()
            self.moved += 1
            self.times[1].append(now)
        if 0 in clocks and sim.peek("in_valid") and sim.peek("in_ready"):
            self.held.append(self.sent % 512)
            self.sent += 1
            self.times[0].append(now)
        assert len(self.held) <= DEPTH
        before = [sim.peek_state(f"{end}_gray") for end in ("write", "read")]
        for i in clocks:
            sim.poke(("clk", "read_clk")[i], 1)
            self.next[i] += self.periods[i]
        sim.evaluate()
        for end, old in zip(("write", "read"), before, strict=True):
            if not sim.peek("clear") and not sim.peek("read_clear"):
                assert bin(old ^ sim.peek_state(f"{end}_gray")).count("1") <= 1  # what may be seen half changed

    def clear(self) -> None:
        """Both ends at once, as `crossing_control` does."""
        for level in (1, 0):
            for name in ("clear", "read_clear"):
                self.sim.poke(name, level)
            self.held.clear()
            end = max(self.next) + 8 * max(self.periods)
            while level and min(self.next) < end:
                self.edge()


@pytest.mark.parametrize(("write", "read", "phase"), CLOCKS)
def test_words_come_in_order_at_any_two_clocks(write: int, read: int, phase: int) -> None:
    run = Run((write, read), phase)
    for _ in range(3):
        run.clear()
        assert not run.held
        before = run.moved
        while run.moved < before + 150:
            run.edge()


@pytest.mark.parametrize(("write", "read", "phase"), CLOCKS)
def test_a_word_is_there_after_as_many_edges_as_declared(write: int, read: int, phase: int) -> None:
    """Of the other clock, after the edge at which it entered; and the FIFO is full at most for as many."""
    run = Run((write, read), phase, pauses=0)
    run.clear()
    while run.moved < 60:
        run.edge()
    entered, left = (np.array(times[:60]) for times in run.times)
    first = -(-(entered + 1 - phase) // read) * read + phase  # the first edge after it
    there = first + (SYNCHRONIZED - 1) * read
    before = np.concatenate([[-(1 << 30)], left[:-1]])
    assert (left == np.maximum(there, before + read)).all()
    gone = left[: 60 - DEPTH]
    room = -(-(gone + 1) // write) * write + (SYNCHRONIZED - 1) * write
    assert (entered[DEPTH:] == np.maximum(room, entered[DEPTH - 1 : -1] + write)).all()


# Pointers in the order in which one cannot overtake the other, as distances from the oldest.
PROPERTIES = """
  function automatic [2:0] f_binary(input [2:0] gray);
    f_binary = {gray[2], gray[2] ^ gray[1], gray[2] ^ gray[1] ^ gray[0]};
  endfunction
  wire [2:0] f_tail = f_binary(tail_sync);
  wire [2:0] f_1 = f_binary(tail_meta) - f_tail, f_2 = read_pointer - f_tail, f_3 = f_binary(head_sync) - f_tail;
  wire [2:0] f_4 = f_binary(head_meta) - f_tail, f_5 = write_pointer - f_tail;
  always @* begin
    assume (!clear && !read_clear);
    assert (f_binary(write_gray) == write_pointer && f_binary(read_gray) == read_pointer);
    assert (f_1 <= f_2 && f_2 <= f_3 && f_3 <= f_4 && f_4 <= f_5 && f_5 <= 4);
  end
endmodule
"""
FAULTS = {"none": ("", ""), "full too late": ("3'h6", "3'h7"), "a pointer not in Gray code": ("^ {1'h0", "& {1'h1")}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_lost_or_read_twice_whatever_the_clocks_do(fault: str, tmp_path: Path) -> None:
    """Both clocks are free: any order of edges. No word is read before it is there, none overwritten before it is
    read."""
    if shutil.which("yosys") is None:
        pytest.skip("yosys is not installed (apt install yosys): no formal checks")
    design = Design("sv")
    top = async_fifo(design, 2, DEPTH)
    files = hw_to_sv(design, top, tmp_path)
    for path in files:
        text = path.read_text()
        if path.stem == top:
            old, new = FAULTS[fault]
            assert old in text
            path.write_text(text.replace(old, new, 1).replace("endmodule", PROPERTIES))
    read = "; ".join(f"read_verilog -sv -formal {path.name}" for path in files)
    script = f"{read}; prep -top {top} -flatten; memory_map; clk2fflogic; opt_clean; "
    script += "sat -tempinduct -prove-asserts -set-assumes -set-init-zero -seq 1 -maxsteps 12 -timeout 300"
    done = subprocess.run(["yosys", "-p", script], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout[-2000:]
    proven = "Induction step proven: SUCCESS!" in done.stdout
    assert proven == (fault == "none"), done.stdout[-2000:]
    assert proven or "model found for base case: FAIL!" in done.stdout
