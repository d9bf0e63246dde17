"""The host's registers and the watchdog, in the arc JIT: every access AXI4-Lite allows, and all that are refused."""

import random
from collections.abc import Iterator

import pytest

from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.control import register_map as rm
from lutllm.lowering.hardware.control.axi_lite import OKAY, SLAVE_ERROR
from lutllm.lowering.hardware.control.registers import PREFIX, registers
from lutllm.lowering.hardware.control.watch import watch
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.simulate import ArcSimulator

CONTEXT = 1500  # no power of two, and a window larger than the least
CONFIG = AcceleratorConfig(context=CONTEXT, watchdog=20)
WINDOW = rm.window(CONFIG.context)
INPUTS = {"quiet": 1, "error": 0x5A, "made": 7, "last": 1234, "cycles": (9 << 32) + 11, "stalled": 0x8001}


class Host:
    """Drives the slave as an AXI4-Lite master: `gaps` chooses when each channel pauses."""

    def __init__(self, simulator: ArcSimulator, seed: int | None = None) -> None:
        self.top, self.draw = simulator, random.Random(seed)
        self.pauses = seed is not None
        self.starts = 0

    def poke(self, **values: int) -> None:
        for name, value in values.items():
            self.top.poke(f"{PREFIX}_{name}", value)

    def peek(self, name: str) -> int:
        return self.top.peek(f"{PREFIX}_{name}")

    def cycle(self) -> None:
        self.top.cycle()
        self.starts += self.top.peek("start")

    def send(self, channel: str, **values: int) -> Iterator[None]:
        """Offer one word on a channel until it is taken."""
        while self.pauses and self.draw.random() < 0.5:
            yield
        self.poke(**{f"{channel}valid": 1}, **values)
        self.top.evaluate()
        while not self.peek(f"{channel}ready"):
            yield
        yield
        self.poke(**{f"{channel}valid": 0})

    def receive(self, channel: str) -> Iterator[None]:
        """Take one answer; what it says is in `self.answer`. It must not change while it waits."""
        first = None
        while True:
            ready = not self.pauses or self.draw.random() < 0.4
            self.poke(**{f"{channel}ready": int(ready)})
            self.top.evaluate()
            answer = {name: self.peek(name) for name in (f"{channel}resp", "rdata")}
            if self.peek(f"{channel}valid"):
                assert first in (None, answer) or channel == "b"
                first = answer
                if ready:
                    break
            yield
        self.answer = answer
        yield
        self.poke(**{f"{channel}ready": 0})

    def all(self, *running: Iterator[None], limit: int = 200) -> None:
        left = list(running)
        for _ in range(limit):
            left = [each for each in left if next(each, self) is None]
            if not left:
                return
            self.cycle()
        raise AssertionError("the slave hangs")

    def write(self, address: int, data: int, strobes: int = 0xF, data_first: bool = False) -> int:
        address_channel = self.send("aw", awaddr=address)
        data_channel = self.send("w", wdata=data, wstrb=strobes)
        if data_first:
            self.all(data_channel)
            self.top.cycle(3)
            assert not self.peek("bvalid")
            self.all(address_channel)
            self.all(self.receive("b"))
        else:
            self.all(address_channel, data_channel, self.receive("b"))
        return self.answer["bresp"]

    def read(self, address: int) -> tuple[int, int]:
        self.all(self.send("ar", araddr=address), self.receive("r"))
        return self.answer["rresp"], self.answer["rdata"]


@pytest.fixture(scope="module")
def compiled() -> ArcSimulator:
    design = Design("arc")
    return ArcSimulator(hw_to_arc(design, registers(design, CONFIG)), optimize=0)


@pytest.fixture(params=[None, 1, 2])
def host(compiled: ArcSimulator, request: pytest.FixtureRequest) -> Host:
    compiled.randomize(3)
    compiled.reset()
    for name, value in INPUTS.items():
        compiled.poke(name, value)
    return Host(compiled, request.param)


def test_every_register_reads_and_writes_as_the_map_says(host: Host) -> None:
    offsets = rm.OFFSETS
    constant = {"VERSION": rm.VERSION, "CONTEXT": CONTEXT, "PASS_TOKENS": CONFIG.tokens, "CONTROL": 0}
    constant |= {
        "GIE": 1,
        "IER": 2,
        "ISR": 0,
        "STATUS": 0x5A00,
        "MADE": 7,
        "LAST": 1234,
        "CYCLES_LOW": 11,
        "CYCLES_HIGH": 9,
        "STALLED": 0x8001,
    }
    for i, register in enumerate(rm.REGISTERS):
        value = 0xF1234500 + i
        if register.access != "w":
            wanted = OKAY if register.access == "rw" else SLAVE_ERROR
            assert host.write(register.offset, value, data_first=bool(i % 2)) == wanted
    for i, register in enumerate(rm.REGISTERS):
        value = constant.get(register.name, 0xF1234500 + i)
        assert host.read(register.offset) == (OKAY, value), register.name
    low = offsets["IMAGE_LOW"] // 4
    assert host.top.peek("image") == 0xF1234500 * ((1 << 32) + 1) + (low + 1 << 32) + low
    first = offsets["STOP0"] // 4
    assert host.top.peek("stops") == sum((0xF1234500 + first + i) << 32 * i for i in range(rm.STOPS))
    assert host.starts == 0


def test_what_is_refused_changes_nothing(host: Host) -> None:
    position = rm.OFFSETS["POSITION"]
    assert host.write(position, 5) == OKAY
    assert host.write(WINDOW, 6) == OKAY
    beyond = rm.REGISTERS[-1].offset + 4
    for address in (beyond, 0x800, WINDOW - 4, position + 1, WINDOW + 2, WINDOW + 4 * CONTEXT, 2 * WINDOW - 4):
        assert host.write(address, 0xFFFFFFFF) == SLAVE_ERROR, hex(address)
        assert host.read(address) == (SLAVE_ERROR, 0), hex(address)
    for address in (position, WINDOW, rm.OFFSETS["CONTROL"]):
        assert host.write(address, 0xFFFFFFFF, strobes=7) == SLAVE_ERROR
    assert host.read(position) == (OKAY, 5)
    assert host.read(WINDOW) == (OKAY, 6)
    assert host.starts == 0


def test_an_answer_that_waits_is_not_lost_to_the_next(host: Host) -> None:
    """The second access of each way is offered while the first one's answer stands; a refused one comes second."""
    position, version = rm.OFFSETS["POSITION"], rm.OFFSETS["VERSION"]
    for first, second in ((5, OKAY), (9, SLAVE_ERROR)):
        target = position if second == OKAY else version
        host.all(host.send("aw", awaddr=position), host.send("w", wdata=first, wstrb=0xF))
        host.all(host.send("aw", awaddr=target), host.send("w", wdata=first + 1, wstrb=0xF))
        host.top.cycle(3)
        assert host.top.peek("position") == first  # the second waits for the first one's answer to be taken
        for wanted in (OKAY, second):
            host.all(host.receive("b"))
            assert host.answer["bresp"] == wanted
        assert host.top.peek("position") == (first + 1 if second == OKAY else first)
    host.all(host.send("ar", araddr=position))
    host.all(host.send("ar", araddr=4 * len(rm.REGISTERS)))
    host.top.cycle(3)
    for wanted in ((OKAY, 9), (SLAVE_ERROR, 0)):
        host.all(host.receive("r"))
        assert (host.answer["rresp"], host.answer["rdata"]) == wanted


def test_a_run(host: Host) -> None:
    """Start once; during the run nothing can be changed, and everything read."""
    control, status, top = rm.OFFSETS["CONTROL"], rm.OFFSETS["STATUS"], host.top
    top.poke("error", 0)
    assert host.write(rm.OFFSETS["TOKENS"], 3) == OKAY
    assert host.write(control, 0) == OKAY and host.starts == 0
    assert host.write(control, rm.START) == OKAY and host.starts == 1
    top.poke("busy", 1)
    assert host.write(control, rm.START) == OKAY and host.starts == 1
    assert host.write(rm.OFFSETS["TOKENS"], 4) == host.write(WINDOW + 8, 4) == SLAVE_ERROR
    assert host.read(status) == (OKAY, rm.STATUS_BUSY)
    assert host.read(rm.OFFSETS["ISR"]) == (OKAY, 0)
    top.poke("done", 1)
    top.cycle()
    for name, value in (("busy", 0), ("done", 0), ("error", 17), ("watchdog", 1)):
        top.poke(name, value)
    assert host.read(status) == (OKAY, rm.STATUS_DONE | rm.STATUS_WATCHDOG | 17 << rm.STATUS_ERROR_SHIFT)
    assert host.read(rm.OFFSETS["TOKENS"]) == (OKAY, 3)
    assert host.write(control, rm.START) == OKAY and host.starts == 2
    top.poke("error", 0)
    top.poke("watchdog", 0)
    assert host.read(status) == (OKAY, 0)


@pytest.mark.parametrize("event", ["done", "watchdog"])
def test_an_interrupt_is_masked_raised_and_acknowledged(event: str, host: Host) -> None:
    """Also during a run. An event that lasts is one event; one that comes as another is cleared is not lost."""
    top, bit, offsets = host.top, {"done": rm.ENDED, "watchdog": rm.STUCK}[event], rm.OFFSETS
    top.poke("busy", 1)

    def happen(cycles: int = 1) -> None:
        top.poke(event, 1)
        top.cycle(cycles)
        top.poke(event, 0)
        top.cycle()

    for gie, ier, irq in ((0, 3, 0), (1, 3 - bit, 0), (1, 0, 0), (1, bit, 1), (1, 3, 1)):
        assert host.write(offsets["GIE"], gie) == host.write(offsets["IER"], ier) == OKAY
        happen()
        assert host.read(offsets["ISR"]) == (OKAY, bit) and top.peek("irq") == irq
        assert host.write(offsets["ISR"], 3 - bit) == OKAY  # another bit
        assert host.read(offsets["ISR"]) == (OKAY, bit) and top.peek("irq") == irq
        assert host.write(offsets["ISR"], bit) == OKAY
        assert host.read(offsets["ISR"]) == (OKAY, 0) and top.peek("irq") == 0
    if event == "watchdog":
        top.poke(event, 1)
        top.cycle(2)
        assert host.write(offsets["ISR"], bit) == OKAY
        assert host.read(offsets["ISR"]) == (OKAY, 0)
    seen = 0
    for offset in range(12):  # in every cycle around the write that clears
        happen()
        writing = [host.send("aw", awaddr=offsets["ISR"]), host.send("w", wdata=bit, wstrb=0xF), host.receive("b")]
        for cycle in range(40):
            writing = [each for each in writing if next(each, host) is None]
            top.poke(event, cycle == offset)
            host.cycle()
        assert not writing
        seen += host.read(offsets["ISR"])[1] == bit
        assert host.write(offsets["ISR"], bit) == OKAY
    assert seen > 3


def test_a_start_waits_until_the_bus_is_quiet(host: Host) -> None:
    top, control, status = host.top, rm.OFFSETS["CONTROL"], rm.OFFSETS["STATUS"]
    top.poke("error", 0)
    top.poke("quiet", 0)
    assert host.read(status) == (OKAY, rm.STATUS_BUSY)
    assert host.write(rm.OFFSETS["TOKENS"], 3) == OKAY  # there is no run yet
    assert host.write(control, rm.VERIFY) == OKAY and host.starts == 0
    assert host.write(control, rm.START) == OKAY and host.write(rm.OFFSETS["TOKENS"], 3) == SLAVE_ERROR
    top.cycle(50)
    top.poke("quiet", 1)
    top.evaluate()
    assert top.peek("start") == 1 and top.peek("verifies") == 1
    top.cycle()
    assert top.peek("start") == 0
    assert host.read(status) == (OKAY, 0)


def test_the_host_aborts(host: Host) -> None:
    top, control, aborts = host.top, rm.OFFSETS["CONTROL"], 0
    cycle = host.cycle

    def count() -> None:
        nonlocal aborts
        cycle()
        top.evaluate()
        aborts += top.peek("abort")

    host.cycle = count  # type: ignore[method-assign]
    top.poke("busy", 1)
    for value, wanted in ((rm.START, 0), (rm.ABORT, 1), (rm.START | rm.ABORT | rm.VERIFY, 2), (0, 2)):
        assert host.write(control, value) == OKAY and (aborts, host.starts) == (wanted, 0)


def test_cycles_are_read_in_one_piece(host: Host) -> None:
    host.top.poke("cycles", (1 << 32) - 1)
    assert host.read(rm.OFFSETS["CYCLES_LOW"]) == (OKAY, 0xFFFFFFFF)
    host.top.poke("cycles", 1 << 32)
    assert host.read(rm.OFFSETS["CYCLES_HIGH"]) == (OKAY, 0)


def test_the_sequence_is_shared_with_the_accelerator(host: Host) -> None:
    """Host accesses meet reads and appends of the accelerator in every cycle."""
    top, draw = host.top, random.Random(5)
    for index in (0, 1, CONTEXT - 1):
        assert host.write(WINDOW + 4 * index, 0xABC0000 + index) == OKAY
    for index in (CONTEXT - 1, 0, 1):
        assert host.read(WINDOW + 4 * index) == (OKAY, 0xABC0000 + index)
    wanted = {0: 0xABC0000, 1: 0xABC0001, CONTEXT - 1: 0xABC0000 + CONTEXT - 1}
    seen = 0
    cycle = host.cycle

    def shared() -> None:
        nonlocal seen
        read, index = draw.random() < 0.6, draw.choice(list(wanted))
        write = draw.random() < 0.5
        place = draw.randrange(10, 20)
        top.poke("ids_read", int(read))
        top.poke("ids_read_address", index)
        top.poke("token_write", int(write))
        top.poke("token_write_address", place)
        top.poke("token_write_data", place * 3)
        cycle()
        if read:
            assert top.peek("ids_read_data") == wanted[index]
            seen += 1

    host.cycle = shared  # type: ignore[method-assign]
    for i in range(30):
        index = 30 + i
        assert host.write(WINDOW + 4 * index, index) == OKAY
        assert host.read(WINDOW + 4 * index) == (OKAY, index)
    assert seen > 30
    host.cycle = cycle  # type: ignore[method-assign]
    top.poke("ids_read", 0)
    top.poke("token_write_address", CONTEXT)  # full: lost
    top.poke("token_write", 1)
    top.cycle()
    top.poke("token_write", 0)
    for place in range(10, 20):
        assert host.read(WINDOW + 4 * place) == (OKAY, place * 3)
    assert host.read(WINDOW) == (OKAY, 0xABC0000)


def test_reset_between_the_halves_of_a_write(compiled: ArcSimulator) -> None:
    host = Host(compiled)
    compiled.reset()
    host.all(host.send("w", wdata=1, wstrb=0xF))
    host.all(host.send("ar", araddr=0))
    compiled.poke("rst", 1)
    for _ in range(3):  # from the first cycle on
        for ready in ("awready", "wready", "arready", "bvalid", "rvalid"):
            compiled.evaluate()
            assert not host.peek(ready), ready
        compiled.cycle()
    compiled.reset()
    assert not host.peek("bvalid") and not host.peek("rvalid")
    assert host.write(rm.OFFSETS["LENGTH"], 9) == OKAY
    assert host.read(rm.OFFSETS["LENGTH"]) == (OKAY, 9)


@pytest.mark.parametrize(("context", "wanted"), [(1, 0x1000), (1024, 0x1000), (1025, 0x2000), (2048, 0x2000)])
def test_the_window_holds_the_context(context: int, wanted: int) -> None:
    config = AcceleratorConfig(context=context)
    assert rm.window(config.context) == wanted and rm.address_bits(config) == wanted.bit_length()
    registers(Design("sv"), config)


def test_the_map_is_documented() -> None:
    table = rm.register_table(CONFIG)
    assert len({r.offset for r in rm.REGISTERS}) == len(rm.REGISTERS)
    assert [r.offset for r in rm.REGISTERS] == [4 * i for i in range(len(rm.REGISTERS))]
    assert all(f"`{r.name}`" in table for r in rm.REGISTERS) and f"`{WINDOW:#x}` + 4 * i" in table
    assert {line.count("|") for line in table.splitlines()} == {6}


def test_the_watchdog_names_who_was_busy() -> None:
    design = Design("arc")
    top = ArcSimulator(hw_to_arc(design, watch(design, CONFIG)), optimize=0)
    top.randomize(1)
    top.reset()

    def run(cycles: int, **values: int) -> int:
        """The first of these cycles after which the watchdog has fired, or 0."""
        for name, value in values.items():
            top.poke(name, value)
        for i in range(cycles):
            top.cycle()
            if top.peek("watchdog"):
                return i + 1
        return 0

    assert run(50, busy=0, engines_busy=0x11) == 0
    for _ in range(3):
        assert run(CONFIG.watchdog - 1, busy=1, progress=0) == 0
        assert run(1, progress=1) == 0
    assert run(50, progress=0, engines_busy=0x8421) == CONFIG.watchdog
    assert run(5, progress=1, busy=0, engines_busy=1) == 1  # it stays
    assert top.peek("stalled") == 0x8421
    assert run(1, start=1) == 0 and top.peek("stalled") == 0
    assert run(50, start=0, busy=1, progress=0, engines_busy=2) == CONFIG.watchdog
    top.reset()
    assert not top.peek("watchdog") and not top.peek("stalled")
