"""A job that fills an output directory: stages with their times, files with their hashes, a manifest at the end."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lutllm import __version__, store
from lutllm.progress import note


class Job:
    """`out` is the directory, `files` the SHA-256 of what lies in it, `seconds` what each stage took."""

    def __init__(self, directory: Path, *, quiet: bool = False) -> None:
        self.out, self.quiet = directory, quiet
        self.files: dict[str, str] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str, text: str) -> Iterator[None]:
        """Say what comes, and time it."""
        note(f"{name}: {text}", quiet=self.quiet)
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

    def manifest(self, *, options: dict[str, Any], **about: Any) -> None:
        """Write manifest.json: versions, what the job was asked for, every file's hash."""
        options = {name: value for name, value in options.items() if name != "quiet"}
        values = {"lutllm": __version__, **about, "options": options, "files": dict(sorted(self.files.items()))}
        store.write_json(self.out / "manifest.json", values)
