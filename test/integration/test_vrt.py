"""The driver over SLASH's runtime: `VrtDevice`, its library and its program, before accelerators that are simulated.

Once before a stand-in for the runtime (`Inputs/vrt`), which is a board that can be programmed, and, where CMake finds
SLASH's own (`test/bench/slash.sh`), before that: its simulation asks a server over ZeroMQ, which is here ours.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lutllm.accelerator.hardware import build
from lutllm.board.driver import Driver
from lutllm.board.vrt import VrtDevice, library
from lutllm.compiler.compiled import Compiled
from lutllm.errors import DeviceError, InputError, MissingDependencyError
from lutllm.lowering.export.driver import INSTANCE
from lutllm.lowering.hardware.control.register_map import OFFSETS, STATUS_BUSY, STATUS_ERROR_SHIFT
from lutllm.lowering.machine.accelerator import ERRORS
from lutllm.simulate import AxiTiming
from lutllm.simulate.host import SimulatedDevice
from lutllm.simulate.simulator import Simulator
from lutllm.simulate.testbench import Memory, TestBench
from lutllm.tools.lutllm import main

for needed in ("cmake", "g++"):
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed (apt install {needed})", allow_module_level=True)

HBM, REGION = 0x40_0000_0000, 0x4000
PROMPT, TOKENS = list(b"abc"), 4
STANDIN = Path(__file__).parent / "Inputs" / "vrt"
ZMQ_ADDRESS = "tcp://127.0.0.1:5555"  # where SLASH's runtime looks for a simulation
SYSTEM_MAP = f"""<SystemMap><Platform>Simulation</Platform><ClockFrequency>250000000</ClockFrequency>
<Kernel><Name>{INSTANCE}</Name><BaseAddress>0x10000</BaseAddress><Range>0x2000</Range></Kernel></SystemMap>"""


class Board:
    """A simulated accelerator behind HBM, whose clock runs on while nobody asks for anything. `log`: what was
    asked, `seen`: what registers said last."""

    def __init__(self, simulator: Simulator, timing: Any = None, size: int = 1 << 22) -> None:
        simulator.configure()
        self.memory = Memory(size, HBM)
        self.bench = TestBench(simulator, memory=self.memory, until="irq", events="events", timing=timing)
        self.device = SimulatedDevice(self.bench)
        self.log: list[str] = []
        self.seen: dict[int, int] = {}
        self.clock = 0
        self.gone = self.full = self.apart = False
        self.stride = 500  # cycles between two looks for a request
        self.device.reset()

    def idle(self) -> None:
        if self.stride:
            self.bench.step(self.stride)

    def answer(self, what: str, address: int, value: int, data: bytes = b"") -> int:
        self.log.append(what)
        if what == "p":
            self.device.reset()
            self.clock = 400_000_000
        elif what == "c":
            self.clock = value
        elif what == "w" and not self.gone:
            self.device.write_register(address, value)
        elif what == "r":
            self.seen[address] = 0xFFFFFFFF if self.gone else self.device.read_register(address)
            return self.seen[address]
        elif what == "a":
            assert value <= REGION
            return 0 if self.full and address else HBM + address * (2 if self.apart else 1) * REGION
        elif what == "b":
            self.device.write_memory(address, np.frombuffer(data, np.uint8))
        return 0

    def serve_standin(self, listening: socket.socket, stop: threading.Event) -> None:
        while not stop.is_set():
            if not select.select([listening], [], [], 0.01)[0]:
                continue
            with listening.accept()[0] as client, contextlib.suppress(ConnectionError):
                while not stop.is_set():
                    if not select.select([client], [], [], 0)[0]:
                        self.idle()
                        continue
                    head = client.recv(24, socket.MSG_WAITALL)
                    if not head:
                        break
                    what, address, value = struct.unpack("3Q", head)
                    data = client.recv(value, socket.MSG_WAITALL) if chr(what) == "b" else b""
                    client.sendall(struct.pack("Q", self.answer(chr(what), address, value, data)))

    def serve_zmq(self, asked: Any, stop: threading.Event) -> None:
        """As SLASH's simulation does: JSON in, "OK" or JSON out."""
        while not stop.is_set():
            if not asked.poll(0):
                self.idle()
                continue
            parts = asked.recv_multipart()
            request = json.loads(parts[0])
            name = {"reg": "w", "fetch": "r", "populate": "b"}.get(request["command"], request["command"])
            place = request.get("addr", 0) - (0x10000 if name in "rw" else 0)
            found = self.answer(name, place, request.get("val", 0), *parts[1:])
            asked.send(json.dumps(found).encode() if name == "r" else b"OK")


@pytest.fixture(scope="module")
def simulator(compiled: Path) -> Simulator:
    """Verilator's, where it is installed."""
    return build(Compiled(compiled).plan.config, "verilator" if shutil.which("verilator") else "arc")


@pytest.fixture(scope="module")
def image(compiled: Path) -> np.ndarray:
    return Compiled(compiled).image


@contextlib.contextmanager
def serving(board: Board, kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The file to program the board with, while it is served."""
    stop = threading.Event()
    with contextlib.ExitStack() as open_:
        if kind == "standin":
            path = Path(open_.enter_context(tempfile.TemporaryDirectory())) / "s"
            monkeypatch.setenv("LUTLLM_STANDIN", str(path))
            monkeypatch.setenv("CMAKE_PREFIX_PATH", str(STANDIN))
            listening = open_.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
            thread = threading.Thread(target=board.serve_standin, args=(listening, stop))
        else:
            zmq = pytest.importorskip("zmq", reason="a simulation of SLASH: pip install pyzmq")
            context = open_.enter_context(zmq.Context())
            asked = open_.enter_context(context.socket(zmq.REP))
            asked.bind(ZMQ_ADDRESS)
            monkeypatch.setenv("SLASH_CACHE_PATH", str(folder))
            thread = threading.Thread(target=board.serve_zmq, args=(asked, stop))
        vbin = folder / "lutllm.vbin"
        with tarfile.open(vbin, "w") as tar:
            for name, text in (("system_map.xml", SYSTEM_MAP), ("vpp_sim", "#!/bin/sh\n")):
                entry = tarfile.TarInfo(name)
                entry.size, entry.mode = len(text), 0o755
                tar.addfile(entry, io.BytesIO(text.encode()))
        thread.start()
        try:
            yield vbin
        finally:
            stop.set()
            thread.join()


@pytest.fixture(scope="session")
def kinds() -> dict[str, bool]:
    """Which runtimes there are: SLASH's own only where CMake finds it."""
    with contextlib.suppress(MissingDependencyError):
        library()
        return {"standin": True, "slash": True}
    return {"standin": True, "slash": False}


@pytest.fixture(params=["standin", "slash"])
def kind(request: pytest.FixtureRequest, kinds: dict[str, bool]) -> str:
    if not kinds[request.param]:
        pytest.skip("SLASH's runtime is not installed (test/bench/slash.sh builds it)")
    return request.param


@pytest.fixture
def board(simulator: Simulator) -> Board:
    return Board(simulator)


@pytest.fixture
def vbin(board: Board, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with serving(board, kind, tmp_path, monkeypatch) as found:
        yield found


@pytest.fixture
def standin(board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    with serving(board, "standin", tmp_path, monkeypatch) as found:
        yield found


def test_the_driver_gets_the_golden_models_tokens(
    vbin: Path, board: Board, image: np.ndarray, golden: list[int]
) -> None:
    with VrtDevice("0000:03:00", vbin, image.size) as device:
        driver = Driver.connect(device)
        driver.load(image, device.base)
        assert device.base >= HBM and np.array_equal(board.memory.read(device.base, image.size)[:64], image[:64])
        assert driver.generate(PROMPT, 2).check().tokens == golden[:2] and driver.read("ISR") == 0
        rest = driver.generate(golden[1:2], 2, position=len(PROMPT) + 1)
        assert rest.check().tokens == golden[2:] and driver.context == 32
        driver.prompt(PROMPT)
        driver.begin(len(PROMPT), 29)
        with pytest.raises(DeviceError, match="got 'abort' after"):
            driver.abort(len(PROMPT)).check()
        assert driver.generate(PROMPT, TOKENS).check().tokens == golden
    with pytest.raises(DeviceError, match="expected an open one, got one that was closed"):
        device.wait()


def test_a_damaged_image_is_not_loaded(vbin: Path, compiled: Path, image: np.ndarray, golden: list[int]) -> None:
    damaged = image.copy()
    damaged[next(iter(Compiled(compiled).plan.regions_of("w"))).address] ^= 1
    with VrtDevice("0000:03:00", vbin, image.size) as device:
        driver = Driver.connect(device)
        with pytest.raises(DeviceError, match="got 'checksum'"):
            driver.load(damaged, device.base)
        driver.load(image, device.base)
        assert driver.generate(PROMPT, TOKENS).check().tokens == golden


def test_a_reset_programs_the_board_and_writes_memory_again(
    standin: Path, board: Board, image: np.ndarray, golden: list[int]
) -> None:
    """What stands in it was changed before: it is what the host wrote again."""
    with VrtDevice("0000:03:00", standin, image.size) as device:
        driver = Driver.connect(device)
        driver.load(image, device.base)
        driver.prompt(PROMPT)
        driver.begin(len(PROMPT), 29)
        board.log.clear()
        assert board.clock == 250_000_000
        driver.reset()
        assert board.clock == 250_000_000
        assert board.log.count("p") == 1 and board.log.count("b") == -(-image.size // REGION) > 1
        assert "w" in board.log[: board.log.index("p")]  # the run was ended first
        assert driver.read("STATUS") == 0 and driver.read("MADE") == 0
        board.memory.data[:] = 0
        driver.reset()
        assert driver.generate(PROMPT, TOKENS).check().tokens == golden


@pytest.mark.parametrize("kind", ["slash"], indirect=True)
def test_a_simulation_of_slash_has_no_reset(vbin: Path, image: np.ndarray) -> None:
    with VrtDevice("0000:03:00", vbin, image.size) as device, pytest.raises(DeviceError, match="cannot be; start it"):
        Driver.connect(device).reset()


def test_memory_that_is_silent_ends_in_the_watchdog(
    simulator: Simulator, image: np.ndarray, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    board = Board(simulator, timing=AxiTiming(latency=1 << 30))
    board.stride = 20_000
    with serving(board, kind, tmp_path, monkeypatch) as vbin, VrtDevice("0000:03:00", vbin, image.size) as device:
        with pytest.raises(DeviceError, match=r"got 'watchdog' after \d+ cycles; memory has not answered"):
            Driver.connect(device).load(image, device.base)
        board.stride = 0


def test_what_cannot_be_is_refused(standin: Path, board: Board, image: np.ndarray, tmp_path: Path) -> None:
    def refused(message: str, vbin: Path = standin, size: int = image.size) -> None:
        with pytest.raises((DeviceError, InputError), match=message):
            VrtDevice("0000:03:00", vbin, size)

    refused(r"none.vbin': expected what `slashkit link` made, a .vbin, got no such file", tmp_path / "none.vbin")
    refused(f"device 0000:03:00: expected 1..{64 * REGION} bytes of HBM, got {64 * REGION + 1}", size=64 * REGION + 1)
    emulated = Path(shutil.copy(standin, tmp_path / "emu.vbin"))
    refused("got an emulation, which runs no RTL", emulated)
    board.full = True
    refused(f"expected {REGION} bytes in region 1 of HBM, got none; end what else uses them")
    board.full, board.apart = False, True
    refused(
        f"expected regions of HBM side by side, got address {HBM + 2 * REGION} for byte {REGION} of memory at {HBM}"
    )
    board.apart = False
    with VrtDevice("0000:03:00", standin, image.size) as device:
        driver = Driver.connect(device)
        with pytest.raises(DeviceError, match=f"expected all {image.size} bytes of .* got {image.size - 1} at {HBM}"):
            driver.load(image[:-1], device.base)
        board.gone, board.stride = True, 0
        with pytest.raises(DeviceError, match="whose registers have version 2, got 4294967295"):
            Driver.connect(device)
        with pytest.raises(DeviceError, match=r"at most 32 tokens made, .* got 4294967295; the device does not answer"):
            driver.wait(0)


def test_the_library_is_of_the_runtime_that_is_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))
    (tmp_path / "vrtConfig.cmake").write_text("find_package(zmq_that_is_not_there CONFIG REQUIRED)\n")
    monkeypatch.setenv("CMAKE_PREFIX_PATH", str(tmp_path))
    with pytest.raises(MissingDependencyError, match="package 'zmq_that_is_not_there', got none; install its package"):
        library()
    (tmp_path / "vrtConfig.cmake").write_text("add_library(vrt::vrt INTERFACE IMPORTED)\n")
    with pytest.raises(MissingDependencyError, match=r"expected to build .*, got '.*vrt/buffer.hpp.*' of cmake"):
        library()
    shutil.copytree(STANDIN, tmp_path, dirs_exist_ok=True)
    assert library() == library() and (first := library().stat().st_mtime_ns)
    os.utime(tmp_path / "vrtConfig.cmake")  # as another version of the runtime is installed
    assert library().stat().st_mtime_ns > first
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "empty"))
    with pytest.raises(MissingDependencyError, match="expected program 'cmake' on the path, got none"):
        library()


def test_the_verb_is_one_line(
    vbin: Path, board: Board, compiled: Path, golden: list[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = ["run", str(compiled), "abc", "--backend", "board", "--raw", "--tokens", str(TOKENS)]
    at = ["--device", "vrt:0000:03:00", "--vbin", str(vbin)]
    assert main([*run, *at, "--json", str(tmp_path / "run.json")]) == 0
    report = json.loads((tmp_path / "run.json").read_text())
    assert report["token_ids"] == golden and report["equal"] and report["device"] == "vrt:0000:03:00"
    said = capsys.readouterr().err
    assert f"prompt 3 tokens; {TOKENS} tokens after {report['cycles']:,} cycles, all equal to the golden" in said
    for options, message in (
        (at[:2], "expected --vbin, what slashkit linked, with a device vrt:BDF"),
        (["--vbin", "x"], "expected --vbin, what slashkit linked, with a device vrt:BDF and with no other"),
        (["--device", "vrt:"], "expected a device sim or vrt:BDF, as vrt:0000:03:00, got 'vrt:'"),
        ([*at, "--simulator", "arc"], "expected no --simulator with a device vrt:BDF"),
    ):
        assert main([*run, *options]) == 1
        assert message in capsys.readouterr().err


def test_ctrl_c_ends_the_wait_and_the_run(vbin: Path, board: Board, image: np.ndarray) -> None:
    with pytest.raises(KeyboardInterrupt), VrtDevice("0000:03:00", vbin, image.size) as device:
        driver = Driver.connect(device)
        driver.load(image, device.base)
        board.stride = 20  # so slow that the run would go on for long
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        driver.generate(PROMPT, 29)
    assert ended(board) == "abort"


def test_a_signal_breaks_off_no_call(vbin: Path, image: np.ndarray, golden: list[int]) -> None:
    """A thousand a second; the runtime cannot go on with a wait that one ended."""
    seen: list[int] = []
    before, stop = signal.signal(signal.SIGINT, lambda number, _frame: seen.append(number)), threading.Event()

    def fire() -> None:
        while not stop.wait(0.001):
            os.kill(os.getpid(), signal.SIGINT)

    firing = threading.Thread(target=fire)
    try:
        with VrtDevice("0000:03:00", vbin, image.size) as device:
            firing.start()
            driver = Driver.connect(device)
            driver.load(image, device.base)
            assert driver.generate(PROMPT, TOKENS).check().tokens == golden and seen
    finally:
        stop.set()
        firing.join()
        signal.signal(signal.SIGINT, before)


def ended(board: Board) -> str:
    """The error of a run that ended, as the device saw it before it was closed."""
    status = board.seen[OFFSETS["STATUS"]]
    assert status & STATUS_BUSY == 0
    return ERRORS[status >> STATUS_ERROR_SHIFT]


def test_the_package_has_a_program(
    vbin: Path, board: Board, compiled: Path, image: np.ndarray, golden: list[int], tmp_path: Path
) -> None:
    """Built as the page says; ids in, ids out."""
    assert main(["package", str(compiled), "-o", str(tmp_path / "ip")]) == 0
    host = tmp_path / "ip" / "host"
    for command in (["cmake", "-B", "build"], ["cmake", "--build", "build"]):
        subprocess.run(command, cwd=host, check=True, capture_output=True)
    given = [host / "build" / "lutllm_host", "0000:03:00", vbin, compiled / "mem" / "image.bin", TOKENS, *PROMPT]

    def said(*more: object) -> tuple[int, str, str]:
        done = subprocess.run([*map(str, given), *map(str, more)], capture_output=True, text=True, timeout=60)
        return done.returncode, done.stdout, done.stderr

    assert said() == (0, "".join(f"{token}\n" for token in golden), "")
    assert said("--stop", golden[1])[1] == f"{golden[0]}\n{golden[1]}\n"
    given[4] = "4x"
    assert said() == (1, "", "error: expected a number up to 2147483647, got '4x'\n")
    given[3] = compiled / "none.bin"
    assert said() == (1, "", f"error: expected an image that can be read, got '{given[3]}'\n")
    given[3], given[4], board.stride = compiled / "mem" / "image.bin", 29, 20
    with subprocess.Popen(list(map(str, given)), stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and int(running.stdout.readline()) == golden[0]
        running.send_signal(signal.SIGINT)
        assert running.wait(60) == 130 and ended(board) == "abort"
