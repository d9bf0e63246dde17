"""`lutllm package`: what `lutllm compile` wrote in, an IP of Vivado and SLASH out."""

from __future__ import annotations

import os
import shutil
from pathlib import Path, PurePosixPath

from lutllm import __version__, store
from lutllm.compiler.compiled import HW, Compiled
from lutllm.errors import InputError
from lutllm.lowering.export.driver import host_files
from lutllm.lowering.export.hw_to_sv import FILE_LIST, hw_ports
from lutllm.lowering.export.ip.component import COMPONENT
from lutllm.lowering.export.ip.package import package_files
from lutllm.lowering.hardware.accelerator_to_hw import ACCELERATOR_TOP
from lutllm.lowering.machine.targets import find_target

RTL = "rtl"


def package(directory: Path | str, ip: Path | str) -> dict[str, bytes]:
    """Write the accelerator of a compiled `directory` to `ip`, whole or not at all; returns its files by name.

    An IP that is there already is replaced. Raises `InputError` for a directory that is not of a whole model of this
    version, and for an `ip` that holds something else.
    """
    files, ip = ip_files(Compiled(directory)), Path(ip)
    if ip.exists() and not (ip / COMPONENT).is_file() and (not ip.is_dir() or any(ip.iterdir())):
        raise InputError(f"'{ip}': expected no such directory, or an IP to replace, got something else; name another")
    partial = ip.with_name(f".{ip.name}.{os.getpid()}{store.TEMPORARY}")
    try:
        for name, data in files.items():
            store.write_atomic(partial / name, data)
        if ip.exists():
            shutil.rmtree(ip)
        os.replace(partial, ip)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return files


def ip_files(compiled: Compiled) -> dict[str, bytes]:
    """The files of the IP, the same bytes for the same directory."""
    config, options = compiled.plan.config, compiled.about["options"]
    ports = hw_ports(compiled.read(HW).decode(), ACCELERATOR_TOP)
    listed = (compiled.directory / RTL / FILE_LIST).read_text().split()
    rtl = {f"{RTL}/{name}": compiled.read(f"{RTL}/{name}") for name in listed}
    clock = config.clocks or find_target(options["target"]).clock
    made = package_files(
        ports, config, (clock.core_mhz, clock.memory_mhz), list(rtl), compiled.plan.memory_bytes,
        version=".".join(__version__.split(".")[:2]),
        about=f"{compiled.about['model']['name']} on target {PurePosixPath(options['target']).stem}",
    )  # fmt: skip
    return made | {f"host/{name}": text.encode() for name, text in host_files().items()} | rtl
