"""FIFO and RAM leaves against a queue and an array, with random traffic at both ends."""

import random
from collections import deque

import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.lib.memory import ram
from lutllm.lowering.hardware.lib.stream import fifo
from lutllm.simulate import ArcSimulator


@pytest.mark.parametrize(("depth", "width"), [(1, 5), (2, 96), (3, 1), (5, 64), (8, 200), (130, 127)])
def test_fifo_is_a_queue(depth: int, width: int) -> None:
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, fifo(design, width, depth)), optimize=0)
    top.randomize(1)
    top.reset()
    queue: deque[int] = deque()
    draw, most, moved, phase = random.Random(depth), 0, 0, 200 + 2 * depth
    for cycle in range(3 * phase):
        eager = (0.9, 0.2, 0.5)[cycle // phase]
        word = draw.getrandbits(width)
        push, pop = int(draw.random() < eager), int(draw.random() < 1 - eager / 2)
        for name, value in (("in_valid", push), ("in_data", word), ("out_ready", pop)):
            top.poke(name, value)
        top.evaluate()
        ready, valid = top.peek("in_ready"), top.peek("out_valid")
        assert (ready, valid, top.peek("count")) == (len(queue) < depth, len(queue) > 0, len(queue))
        if valid:
            assert top.peek("out_data") == queue[0]
        if valid and pop:
            queue.popleft()
            moved += 1
        if ready and push:
            queue.append(word)
        most = max(most, len(queue))
        top.cycle()
    assert most == depth and moved > 100  # it was full, and it moved


def test_fifo_moves_a_word_every_cycle() -> None:
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, fifo(design, 8, 2)), optimize=0)
    top.reset()
    top.poke("in_valid", 1)
    top.poke("out_ready", 1)
    for i in range(20):
        top.poke("in_data", i)
        top.evaluate()
        assert top.peek("in_ready") == 1
        assert (top.peek("out_valid"), top.peek("out_data")) == ((1, i - 1) if i else (0, 0))
        top.cycle()


def test_fifo_in_ready_does_not_follow_out_ready() -> None:
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, fifo(design, 8, 2)), optimize=0)
    top.reset()
    top.poke("in_valid", 1)
    top.cycle(2)
    for ready in (0, 1):
        top.poke("out_ready", ready)
        top.evaluate()
        assert top.peek("in_ready") == 0


@pytest.mark.parametrize(("depth", "width", "latency"), [(2, 1, 0), (5, 70, 0), (16, 33, 1), (12, 8, 1), (1, 8, 1)])
def test_ram_is_an_array(depth: int, width: int, latency: int) -> None:
    """One read and one write a cycle; a read of the word being written gives the old one."""
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, ram(design, depth, width, read_latency=latency)), optimize=0)
    draw, cells, read, met = random.Random(depth), [0] * depth, None, 0
    for i in range(300):
        write, enable, value = (i < depth) or draw.random() < 0.5, draw.random() < 0.7, draw.getrandbits(width)
        to = i if i < depth else draw.randrange(depth)
        at = to if draw.random() < 0.3 else draw.randrange(depth)
        for name, signal in (("we", int(write)), ("wa", to), ("wd", value), ("ra", at)):
            top.poke(name, signal)
        if latency:
            top.poke("re", int(enable))
        top.evaluate()
        if not latency and i >= depth:
            assert top.peek("rd") == cells[at]
        if latency and enable and i >= depth:
            read = cells[at]
            met += write and at == to
        if write:
            cells[to] = value
        top.cycle()
        if latency and read is not None:
            assert top.peek("rd") == read
    assert met or not latency


@pytest.mark.parametrize(
    ("depth", "width", "latency", "name"),
    [
        (16, 255, 1, "ram_distributed_16x255"),
        (64, 64, 1, "ram_block_64x64"),
        (512, 576, 1, "ram_block_512x576"),
        (1024, 288, 1, "ram_ultra_1024x288"),
        (4096, 72, 1, "ram_ultra_4096x72"),
        (4096, 72, 0, "ram_distributed_4096x72_async"),
    ],
)
def test_ram_asks_for_the_memory_its_size_suits(depth: int, width: int, latency: int, name: str) -> None:
    design = Design("sv")
    assert ram(design, depth, width, read_latency=latency) == name
    assert f'"ram_style" = "\\22{name.split("_")[1]}\\22"' in design.text()
