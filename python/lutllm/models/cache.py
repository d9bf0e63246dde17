"""The cache of downloaded and converted models: `LUTLLM_CACHE`, else `~/.cache/lutllm`. An entry appears whole."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

from lutllm.errors import InputError


def cache_directory() -> Path:
    """Where models are kept between runs; created on first use."""
    path = Path(os.environ.get("LUTLLM_CACHE") or Path.home() / ".cache" / "lutllm")
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"{path}: expected a cache directory that can be written, got {error.strerror}; set LUTLLM_CACHE to another"
        ) from None
    return path


def sources(*packages: ModuleType) -> str:
    """A hash of the sources and data of packages, for entries that depend on them."""
    digest = hashlib.sha256()
    for folder in (path for package in packages for path in package.__path__):
        for path in sorted(path for path in Path(folder).rglob("*") if path.suffix in (".py", ".json")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def keep_newest(prefix: str, count: int) -> None:
    """Of the entries whose names begin so, remove all but those used last."""
    found = sorted(cache_directory().glob(f"{prefix}*"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in found[count:]:
        shutil.rmtree(path, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    """Delete what killed runs left behind; nothing is built for an hour."""
    for path in (*root.glob(".building-*"), *root.glob(".download-*")):
        with contextlib.suppress(OSError):
            if time.time() - path.stat().st_mtime > 3600:
                shutil.rmtree(path, ignore_errors=True)


def cached(name: str, is_whole: Callable[[Path], bool], build: Callable[[Path], None]) -> Path:
    """The cache entry `name`, built in a temporary directory and renamed when complete.

    `is_whole` decides whether an existing entry can be used; a damaged one is built again. Two processes may build at
    once: the first rename wins and the other's work is dropped.
    """
    root = cache_directory()
    entry = root / name
    if entry.is_dir():
        if is_whole(entry):
            return entry
        shutil.rmtree(entry, ignore_errors=True)
    _remove_abandoned(root)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=root))
    try:
        build(work)
        try:
            work.rename(entry)
        except OSError:
            if not (entry.is_dir() and is_whole(entry)):
                raise
    except OSError as error:
        raise InputError(
            f"{entry}: expected to write this cache entry, got {error.strerror or error}; "
            "free some space or set LUTLLM_CACHE to another directory"
        ) from None
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return entry
