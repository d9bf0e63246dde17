"""Cells that Yosys makes of Verilog modules: files of one module each in, cells by module and kind out.

Each module is synthesized once, by itself: what it instantiates counts as a box. Several go into one run, because
reading the cell library takes seconds; a run that takes too long is taken apart. Results are kept by the module's text,
whatever configuration it is for.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path

from lutllm.errors import MissingDependencyError
from lutllm.progress import progress
from lutllm.workers import broken_off, program

# Without MUXF7 and MUXF8, which Versal does not have: wide multiplexers are LUTs alone.
SYNTHESIS = "synth_xilinx -family xcup -noiopad -noclkbuf -nowidelut"
_BATCH_BYTES = 15_000  # of source in one run: about a minute
_PREFIX = re.compile(r"\blut_[0-9a-f]{8}_")  # of the accelerator's modules: says for which configuration they are
_WRAPPER = "lutllm_batch"

Cells = dict[str, int]


@dataclass
class Synthesized:
    """`cells` by module; `problems` by module that has none."""

    cells: dict[str, Cells] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def yosys_version() -> str | None:
    """None where Yosys is not installed."""
    if shutil.which("yosys") is None:
        return None
    return " ".join(subprocess.run(["yosys", "-V"], capture_output=True, text=True).stdout.split()[:2])


def synthesize(
    files: Sequence[Path], cache: Path, *, seconds: float = 300, jobs: int | None = None, quiet: bool = False
) -> Synthesized:
    """The cells of every module. A run takes at most `seconds`; `jobs` runs go at once (default: one a processor)."""
    version = yosys_version()
    if version is None:
        raise MissingDependencyError("expected program 'yosys' on the path, got none; apt install yosys")
    places = {path.stem: cache / f"{_key(path, version)}.json" for path in files}
    found = Synthesized({name: _load(place) for name, place in places.items() if place.is_file()})
    batches = list(_batches([path for path in files if path.stem not in found.cells]))
    cache.mkdir(parents=True, exist_ok=True)
    with broken_off(ThreadPoolExecutor(jobs or os.cpu_count() or 1)) as pool:
        runs = [pool.submit(_run, batch, files, seconds) for batch in batches]
        for run in progress(as_completed(runs), "yosys", total=len(runs), quiet=quiet or not runs):
            done = run.result()
            for name, cells in done.cells.items():
                _save(places[name], cells)
            found.cells |= done.cells
            found.problems |= done.problems
    return found


def _key(path: Path, version: str) -> str:
    text = _PREFIX.sub("", path.read_text())
    return hashlib.sha256(f"{version}\n{SYNTHESIS}\n{text}".encode()).hexdigest()[:32]


def _load(place: Path) -> Cells:
    return {str(kind): int(count) for kind, count in json.loads(place.read_text()).items()}


def _save(place: Path, cells: Cells) -> None:
    """The file appears whole, whoever else writes it."""
    with tempfile.NamedTemporaryFile("w", dir=place.parent, prefix=".partial-", delete=False) as partial:
        json.dump(cells, partial, sort_keys=True)
    os.replace(partial.name, place)


def _batches(files: Sequence[Path]) -> Iterator[list[Path]]:
    """The largest come first, so that no long run is left for the end."""
    batch: list[Path] = []
    size = 0
    for path in sorted(files, key=lambda path: (-path.stat().st_size, path.name)):
        if batch and size + path.stat().st_size > _BATCH_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(path)
        size += path.stat().st_size
    if batch:
        yield batch


def _run(batch: Sequence[Path], files: Sequence[Path], seconds: float) -> Synthesized:
    """One run of Yosys; one for each module where it fails."""
    problem, cells = _yosys(batch, files, seconds)
    if problem is None:
        return Synthesized(cells)
    if len(batch) == 1:
        return Synthesized(problems={batch[0].stem: problem})
    found = Synthesized()
    for path in batch:
        alone = _run([path], files, seconds)
        found.cells |= alone.cells
        found.problems |= alone.problems
    return found


def _yosys(batch: Sequence[Path], files: Sequence[Path], seconds: float) -> tuple[str | None, dict[str, Cells]]:
    """(what went wrong, cells by module)."""
    with tempfile.TemporaryDirectory(prefix="lutllm-yosys-") as folder:
        work = Path(folder)
        for path in files:
            (work / path.name).symlink_to(path.resolve())
        (work / "run.ys").write_text(_script(batch, files))
        try:
            done = program(["yosys", "-q", "-s", "run.ys"], work, seconds)
        except subprocess.TimeoutExpired:
            return f"took more than {seconds:g} s", {}
        if done.returncode:
            lines = [line for line in (done.stderr + done.stdout).splitlines() if "ERROR" in line]
            return (lines or [f"exit code {done.returncode}"])[0].strip(), {}
        found = _statistics((work / "cells.txt").read_text())
    missing = [path.stem for path in batch if path.stem not in found]
    return (
        (f"no statistics of {missing[0]}", {}) if missing else (None, {path.stem: found[path.stem] for path in batch})
    )


def _statistics(text: str) -> dict[str, Cells]:
    """What `stat` prints, by module. As JSON it is malformed in 0.23; later versions put the count first."""
    found = {}
    for name, section in re.findall(r"^=== (\S+) ===\n(.*?)(?=^===|\Z)", text, re.M | re.S):
        lines = re.findall(r"^ +(?:(\w+) +(\d+)|(\d+) +(?:[-\d.]+ +)?(\w+))$", section, re.M)
        found[name] = {kind or late: int(count or early) for kind, count, early, late in lines}
    return found


def _script(batch: Sequence[Path], files: Sequence[Path]) -> str:
    """A wrapper keeps every module of the batch: Yosys wants one top."""
    boxes = [path.name for path in files if path not in batch]
    kept = [f"(* keep *) {path.stem} unit_{i} ();" for i, path in enumerate(batch)]
    lines = [f"read_verilog -sv -lib {' '.join(boxes)}"] if boxes else []
    lines += [f"read_verilog -sv {' '.join(path.name for path in batch)}", "read_verilog <<END"]
    lines += [f"module {_WRAPPER};", *kept, "endmodule", "END"]
    lines += [f"hierarchy -check -top {_WRAPPER}", f"{SYNTHESIS} -top {_WRAPPER}", "tee -o cells.txt stat"]
    return "\n".join(lines) + "\n"
