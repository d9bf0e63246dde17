"""Writing what lutllm-opt produces: bytes in; a file that appears whole or not at all, or stdout."""

import os
import sys
from pathlib import Path

from lutllm.errors import InputError
from lutllm.store import write_atomic


def write(name: str, data: bytes) -> None:
    """To stdout for `-`, or to a file that appears whole or not at all."""
    path = Path(name)
    try:
        if name == "-":
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()
        elif path.exists() and not path.is_file():
            path.write_bytes(data)  # a device or a pipe, such as /dev/null, is written, not replaced
        elif path.parent.is_dir():
            write_atomic(path, data)
        else:
            raise InputError(f"cannot write '{name}': expected a directory '{path.parent}', got none; create it")
    except BrokenPipeError:
        raise
    except (OSError, ValueError) as problem:
        if name == "-":  # what the stream still holds would fail again at the end
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115
        reason = getattr(problem, "strerror", None) or problem
        raise InputError(f"cannot write '{name}': {reason}") from None
