"""A job that fills an output directory: stages with their times, files with their hashes, a manifest at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lutllm import __version__, store
from lutllm.accelerator.hardware import build
from lutllm.compiler.options import Options
from lutllm.lowering.export.hw_to_sv import hw_to_sv
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP, accelerator_to_hw
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.progress import note
from lutllm.simulate.simulator import Simulator


class Job:
    """`out` is the directory, `files` the SHA-256 of what lies in it, `seconds` what each stage took."""

    options: Options

    def __init__(self, directory: Path, *, quiet: bool = False) -> None:
        self.out, self.quiet = directory, quiet
        self.files: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Say what comes, and time it."""
        note(f"{name}: {text}" if text else name, quiet=self.quiet)
        start = time.perf_counter()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def write(self, name: str, content: str | bytes) -> None:
        """Write an output file atomically."""
        data = content.encode() if isinstance(content, str) else content
        store.write_atomic(self.out / name, data)
        self.files[name] = hashlib.sha256(data).hexdigest()

    def note_files(self, paths: Iterable[Path]) -> None:
        """Take files that something else wrote into the manifest."""
        for path in paths:
            self.files[str(path.relative_to(self.out))] = store.sha256(path)

    def keep(self, source: Path, folder: str) -> None:
        """Copy the files of `source` into a folder of the output, which then needs nothing else."""
        for path in (path for path in sorted(source.iterdir()) if path.is_file() and not path.name.startswith(".")):
            self.write(f"{folder}/{path.name}", path.read_bytes())

    def rtl(self, config: AcceleratorConfig, stem: str) -> str:
        """The machine as `ir/STEM.hw.mlir` and as SystemVerilog made from that text; returns the text."""
        with self.stage("hardware", f"{config.engine.pairs} pairs x {config.engine.lanes} lanes to SystemVerilog"):
            text = accelerator_to_hw(config, "sv").text()
            self.write(f"ir/{stem}.hw.mlir", text)
            self.note_files(hw_to_sv(text, ACCELERATOR_TOP, self.out / "rtl"))
        return text

    def simulator(self, config: AcceleratorConfig) -> Simulator:
        """The simulator asked for, of the machine whose SystemVerilog lies in rtl/."""
        with self.stage("build simulator", self.options.simulator or ""):
            return build(config, self.options.simulator or "", self.out / "rtl")

    def manifest(self, *, options: dict[str, Any], **about: Any) -> None:
        """Write manifest.json: versions, what the job was asked for, every file's hash."""
        values = {"lutllm": __version__, **about, "options": options, "files": dict(sorted(self.files.items()))}
        store.write_json(self.out / "manifest.json", values)
