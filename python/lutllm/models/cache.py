"""The cache of downloaded and converted models: `LUTLLM_CACHE`, else `~/.cache/lutllm`. An entry appears whole."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path

import lutllm
from lutllm import store
from lutllm.errors import InputError, LutllmError

SUMS = "sha256.json"  # of an entry's other files


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


@lru_cache
def sources(*packages: str) -> str:
    """A hash of the sources and data of packages, and of the modules of lutllm itself, for entries that depend on them;
    packages are found, not imported."""
    specs = (importlib.util.find_spec(f"lutllm.{name}") for name in packages)
    folders = [path for spec in specs for path in (spec and spec.submodule_search_locations) or ()]
    paths = [path for folder in folders for path in sorted(Path(folder).rglob("*")) if path.suffix in (".py", ".json")]
    digest = hashlib.sha256()
    for path in (*paths, *sorted(Path(lutllm.__file__).parent.glob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kept(prefix: str, key: str, most: int, build: Callable[[Path], None]) -> Path:
    """The entry `prefix` + `key`, which `build` fills where it is not there or damaged. Of all of this prefix the
    `most` that were used last stay."""

    def filled(folder: Path) -> None:
        build(folder)
        store.write_json(folder / SUMS, {path.name: store.sha256(path) for path in sorted(folder.iterdir())})

    folder = cached(prefix + key, is_whole, filled)
    folder.touch()
    keep_newest(prefix, most)
    return folder


def is_whole(folder: Path) -> bool:
    """Whether an entry holds what `kept` put there."""
    try:
        sums = store.read_json(folder / SUMS)
        there = {path.name for path in folder.iterdir()} == {SUMS, *sums}
        return there and all(store.sha256(folder / name) == found for name, found in sums.items())
    except (LutllmError, OSError):
        return False


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
