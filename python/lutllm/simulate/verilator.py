"""Simulates the emitted SystemVerilog: Verilator compiles it to a library with the arc simulator's interface.

In: a directory with `filelist.f`, the top module's name and ports. Out: a `VerilatorSimulator`. Needs the Debian
packages verilator, g++ and make.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from lutllm.errors import MissingDependencyError, SimulationError
from lutllm.lowering.export.hw_to_arc import Layout, Port
from lutllm.simulate.simulator import Simulator
from lutllm.workers import program

_HEADER = 8  # the state begins with a pointer to the C++ model
_LIBRARY = "libmodel.so"
_FLAGS = ("-fPIC", "-fvisibility=hidden", "-fno-gnu-unique")  # models in one process must not share C++ statics

_SHIM = """// Generated: gives the Verilated model the interface `void lutllm_eval(uint8_t *state)`.
#include "Vmodel.h"
#include "verilated.h"
$INCLUDE$
#include <cstdint>
#include <cstring>
#include <memory>

struct Simulation {
  VerilatedContext context;
  std::unique_ptr<Vmodel> model;
$MEMBERS$
};
#define EXPORT extern "C" __attribute__((visibility("default")))

EXPORT void *lutllm_create(int random, int seed) {
  auto *s = new Simulation;
  s->context.randReset(random ? 2 : 0);
  s->context.randSeed(seed);
$PREPARE$
  s->model = std::make_unique<Vmodel>(&s->context, "top");
  return s;
}
EXPORT void lutllm_destroy(void *p) {
  auto *s = static_cast<Simulation *>(p);
  s->model->final();
  delete s;
}
EXPORT void lutllm_eval(uint8_t *state) {
  Simulation *s;
  std::memcpy(&s, state, sizeof s);
  Vmodel &m = *s->model;
$INPUTS$
  m.eval();
$OUTPUTS$
$DUMP$
}
$TRACE$
"""
_TRACE = """EXPORT void lutllm_trace(void *p, const char *path) {
  auto *s = static_cast<Simulation *>(p);
  if (s->trace) s->trace->close();
  s->trace.reset();
  if (!path) return;
  s->trace = std::make_unique<VerilatedVcdC>();
  s->model->trace(s->trace.get(), 99);
  s->trace->open(path);
}"""


class VerilatorSimulator(Simulator):
    """Steps the SystemVerilog design `top` of `directory`.

    `ports` give names, widths and directions (offsets are not used; an arc layout's will do). With
    `build_directory`, a library built before from the same text is used again. `trace` makes `trace_to` work.
    `random_start` starts registers and memories at random values of that seed instead of 0.
    """

    def __init__(
        self,
        directory: str | Path,
        top: str,
        ports: Sequence[Port],
        *,
        build_directory: str | Path | None = None,
        optimize: str = "-O1",
        trace: bool = False,
        random_start: int | None = None,
    ) -> None:
        _require("verilator", "g++", "make")
        layout = _layout(top, ports)
        self._temporary = None if build_directory else tempfile.TemporaryDirectory(prefix="lutllm-verilator-")
        root = Path(build_directory or self._temporary.name)  # type: ignore[union-attr]
        path = _build(Path(directory), top, _shim(layout, trace), root, optimize, trace)
        self._library = ctypes.CDLL(str(path))
        self._library.lutllm_create.restype = ctypes.c_void_p
        address = ctypes.cast(self._library.lutllm_eval, ctypes.c_void_p).value
        super().__init__(layout, address or 0)
        self._trace, self._random_start, self._model = trace, random_start, ctypes.c_void_p()
        self.configure()

    def configure(self) -> None:
        if self._model:
            self.close()
        model = self._library.lutllm_create(self._random_start is not None, self._random_start or 0)
        self._model = ctypes.c_void_p(model)
        self.state[:_HEADER] = memoryview(ctypes.c_uint64(model)).cast("B")

    def trace_to(self, path: str | Path | None) -> None:
        """Begin a VCD file, or end it with None. Two time steps are a cycle."""
        if not self._trace:
            raise SimulationError("expected a simulator built with trace=True, got one without; build it again")
        self._library.lutllm_trace(self._model, os.fsencode(path) if path is not None else None)

    def close(self) -> None:
        """Free the model; the simulator cannot be used afterwards."""
        if self._trace:
            self.trace_to(None)
        self._library.lutllm_destroy(self._model)


def _layout(top: str, ports: Sequence[Port]) -> Layout:
    """Offsets after the header, each port aligned as its C++ type is."""
    offset, placed = _HEADER, []
    for port in ports:
        alignment = min(16, 1 << (port.bytes - 1).bit_length())
        offset = -(-offset // alignment) * alignment
        placed.append(Port(port.name, offset, port.bits, port.direction))
        offset += port.bytes
    return Layout(top, "lutllm_eval", offset, tuple(placed))


def _shim(layout: Layout, trace: bool) -> str:
    copies: dict[str, list[str]] = {"in": [], "out": []}
    for port in layout.ports:
        name, place = f"&m.{port.name}", f"state + {port.offset}"
        ends = (name, place) if port.direction == "in" else (place, name)
        copies[port.direction].append(f"  std::memcpy({ends[0]}, {ends[1]}, {port.bytes});")
    parts = {
        "INCLUDE": '#include "verilated_vcd_c.h"' if trace else "",
        "MEMBERS": "  std::unique_ptr<VerilatedVcdC> trace;\n  uint64_t time = 0;" if trace else "",
        "PREPARE": "  s->context.traceEverOn(true);" if trace else "",
        "INPUTS": "\n".join(copies["in"]),
        "OUTPUTS": "\n".join(copies["out"]),
        "DUMP": "  if (s->trace) s->trace->dump(s->time++);" if trace else "",
        "TRACE": _TRACE if trace else "",
    }
    return re.sub(r"\$([A-Z]+)\$", lambda found: parts[found.group(1)], _SHIM)


def _build(directory: Path, top: str, shim: str, root: Path, optimize: str, trace: bool) -> Path:
    """Compile into `root`/<hash of everything that goes in>, or find it there."""
    names = (directory / "filelist.f").read_text().split()
    texts = [(directory / name).read_bytes() for name in names]
    version = _run(["verilator", "--version"], directory)
    key = hashlib.sha256(repr([top, shim, optimize, trace, version, names, texts]).encode()).hexdigest()[:20]
    library = root / key / _LIBRARY
    if library.exists():
        return library
    root.mkdir(parents=True, exist_ok=True)
    work = Path(tempfile.mkdtemp(dir=root, prefix=f"{key}-"))
    try:
        (work / "shim.cpp").write_text(shim)
        command = ["verilator", "--cc", "--exe", "-O3", "--x-initial", "unique", "--x-assign", "fast", "-Wno-fatal"]
        command += ["--output-split", "20000", "--output-split-cfuncs", "400"]  # smaller files compile faster
        command += ["-Wno-lint", "--top-module", top, "--prefix", "Vmodel", "--Mdir", str(work), "-o", _LIBRARY]
        command += ["-CFLAGS", " ".join(_FLAGS), "-LDFLAGS", "-shared", *(["--trace"] if trace else [])]
        _run([*command, *names, str(work / "shim.cpp")], directory)
        flags = [f"OPT_FAST={optimize}", "OPT_SLOW=-O0", "OPT_GLOBAL=-O1"]
        _run(["make", "-C", str(work), "-f", "Vmodel.mk", "-j", "2", *flags, _LIBRARY], directory)
        library.parent.mkdir(exist_ok=True)
        os.replace(work / _LIBRARY, library)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return library


def _run(command: list[str], directory: Path) -> str:
    done = program(command, directory)
    if done.returncode:
        lines = (done.stderr + done.stdout).splitlines()
        first = next((line for line in lines if "rror" in line), lines[-1] if lines else "no output")
        raise SimulationError(f"{command[0]} failed on the design in {directory}: {first.strip()}")
    return done.stdout


def _require(*programs: str) -> None:
    for name in programs:
        if shutil.which(name) is None:
            raise MissingDependencyError(f"expected program {name!r} on the path, got none; apt install {name}")
