"""The `Device` of a board, by SLASH's runtime VRT: what `lutllm_vrt.hpp` does, through a library of C functions.

In: a board, what `slashkit link` made, an image's size. The library is built once, where CMake finds libvrt.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import re
from pathlib import Path

import numpy as np

from lutllm.errors import DeviceError, InputError, MissingDependencyError
from lutllm.lowering.export.driver import host_files
from lutllm.models.cache import cached
from lutllm.workers import program

LIBRARY = "liblutllm_vrt.so"


class VrtDevice:
    """The board `bdf`, programmed with the file `vbin`, and `size` bytes of its memory, which begin at `base`.

    Closing it ends a run that still goes on. Raises `MissingDependencyError` without libvrt, `DeviceError` with what
    the runtime says where something cannot be done.
    """

    def __init__(self, bdf: str, vbin: Path | str, size: int) -> None:
        if not Path(vbin).is_file():
            raise InputError(f"'{vbin}': expected what `slashkit link` made, a .vbin, got no such file")
        self._bdf, self._library = bdf, ctypes.CDLL(str(library()))
        self._library.lutllm_vrt_error.restype = ctypes.c_char_p
        handle, base = ctypes.c_void_p(), ctypes.c_uint64()
        self._handle: ctypes.c_void_p | None = None
        found = ctypes.byref(handle), ctypes.byref(base)
        self._call("open", bdf.encode(), os.fsencode(vbin), ctypes.c_uint64(size), *found)
        self._handle, self.base = handle, base.value

    def read_register(self, offset: int) -> int:
        value = ctypes.c_uint32()
        self._at("read_register", ctypes.c_uint32(offset), ctypes.byref(value))
        return value.value

    def write_register(self, offset: int, value: int) -> None:
        self._at("write_register", ctypes.c_uint32(offset), ctypes.c_uint32(value))

    def write_memory(self, address: int, data: np.ndarray) -> None:
        """All of it, at `base`."""
        data = np.ascontiguousarray(data, np.uint8)
        where, size = ctypes.c_void_p(data.ctypes.data), ctypes.c_uint64(data.size)
        self._at("write_memory", ctypes.c_uint64(address), where, size)

    def wait(self) -> bool:
        """Look at the interrupt's bits for ten milliseconds; between two calls Ctrl-C is seen."""
        ended = ctypes.c_uint32()
        self._at("wait", ctypes.byref(ended))
        return bool(ended.value)

    def pause(self) -> None:
        self._at("pause")

    def reset(self) -> None:
        """Program the board again and write its memory again: VRT has no other reset. Not of a simulation."""
        self._at("reset")

    def close(self) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            self._call("close", handle)

    def __enter__(self) -> VrtDevice:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _at(self, name: str, *values: object) -> None:
        if self._handle is None:
            raise DeviceError(f"device {self._bdf}: expected an open one, got one that was closed")
        self._call(name, self._handle, *values)

    def _call(self, name: str, *values: object) -> None:
        if getattr(self._library, f"lutllm_vrt_{name}")(*values):
            message = self._library.lutllm_vrt_error().decode(errors="replace")
            raise DeviceError(f"device {self._bdf}: {' '.join(message.split())}")


def library() -> Path:
    """The library, in the cache; built where it is not there. Raises `MissingDependencyError` where it cannot be."""
    texts, places = host_files(), os.environ.get("CMAKE_PREFIX_PATH", "")
    digest = hashlib.sha256("\0".join([places, *texts.values()]).encode()).hexdigest()

    def build(folder: Path) -> None:
        for name, text in texts.items():
            (folder / name).write_text(text)
        _cmake(folder, "-B", "build")
        _cmake(folder, "--build", "build", "--target", "lutllm_vrt")

    def is_whole(entry: Path) -> bool:
        """Built, and with the headers that are installed now."""
        made, kept = entry / "build" / LIBRARY, entry / "build" / "CMakeCache.txt"
        found = re.search(r"^vrt_DIR:PATH=(.*)$", kept.read_text(), re.M) if kept.is_file() else None
        headers = Path(found[1] if found else "", "vrtConfig.cmake")
        return made.is_file() and headers.is_file() and headers.stat().st_ctime <= made.stat().st_mtime

    return cached(f"vrt-{digest[:16]}", is_whole, build) / "build" / LIBRARY


def _cmake(folder: Path, *arguments: str) -> None:
    try:
        done = program(["cmake", *arguments], folder)
    except FileNotFoundError:
        raise MissingDependencyError("expected program 'cmake' on the path, got none; apt install cmake g++") from None
    if done.returncode:
        said = " ".join((done.stderr or done.stdout).split())
        lost = re.search(r'package configuration file provided by "(\w+)"', said)
        if lost:
            raise MissingDependencyError(
                f"expected SLASH's runtime, the CMake package '{lost[1]}', got none; install its package "
                "libvrt-dev, or set CMAKE_PREFIX_PATH to where it is"
            )
        raise MissingDependencyError(f"expected to build a driver over SLASH's runtime, got '{said[:400]}' of cmake")
