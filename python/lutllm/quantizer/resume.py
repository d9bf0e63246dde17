"""The output directory of a quantization run: finished linears in, files that survive a kill out.

run.json                  what the run depends on; another model, text, scheme or seed is refused
parts/NAME.safetensors    a finished linear, complete in itself; made again if it was changed; gone when the run is
parameters.safetensors, quantization.json, samples.safetensors    the result, once everything is finished
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from lutllm import store
from lutllm.errors import InputError
from lutllm.scheme import QuantizedLinear

RUN = "run.json"
SAMPLES = "samples.safetensors"


class RunDirectory:
    """Keeps what is finished; with `path` None it keeps nothing and every method does nothing."""

    def __init__(self, path: Path | str | None, identity: dict) -> None:
        self.path = None if path is None else Path(path)
        self.identity = identity

    @contextlib.contextmanager
    def opened(self) -> Iterator[None]:
        """Make the directory this run's own until the end of the block."""
        if self.path is None:
            yield
            return
        try:
            self._parts.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.path / ".lock", os.O_CREAT | os.O_RDWR)
        except OSError as error:
            raise InputError(
                f"'{self.path}': expected a directory that can be written, got {error.strerror}"
            ) from error
        try:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise InputError(
                    f"'{self.path}': expected no other run in this directory, got one; wait for it"
                ) from error
            for directory in (self.path, self._parts):
                store.remove_partial(directory)
            self._check_identity()
            yield
        finally:
            os.close(lock)

    @property
    def _parts(self) -> Path:
        assert self.path
        return self.path / "parts"

    def _check_identity(self) -> None:
        assert self.path
        if not (self.path / RUN).exists():
            store.write_json(self.path / RUN, self.identity)
            return
        before = store.read_json(self.path / RUN)
        for key in sorted({*before, *self.identity}):
            if before.get(key) != self.identity.get(key):
                raise InputError(
                    f"'{self.path}': expected a run with {key} = {_short(before.get(key))}, got "
                    f"{_short(self.identity.get(key))}; use another directory, or delete this one to start again"
                )

    def finished(self) -> tuple[dict[str, QuantizedLinear], dict[str, np.ndarray]] | None:
        """The whole result of an earlier run, if there is one: linears, and samples by input name."""
        if self.path is None or not (self.path / store.SIDECAR).exists() or not store.sealed(self.path / SAMPLES):
            return None
        samples = store.load(self.path / SAMPLES)
        return store.load_linears(self.path), {name: samples[name] for name in samples}

    def get(self, name: str) -> tuple[QuantizedLinear, np.ndarray] | None:
        """A linear of an interrupted run, and the sample of its input."""
        if self.path is None:
            return None
        part = self._parts / f"{name}.safetensors"
        if not store.sealed(part):
            return None
        linear = _mapped(store.load_linear(part), part)
        sample = self._sample(linear.input_name)
        return (linear, store.load(sample).require(linear.input_name)) if store.sealed(sample) else None

    def put(self, linear: QuantizedLinear, sample: np.ndarray) -> QuantizedLinear:
        """Keep a finished linear, whose codes leave memory in what is returned. The sample goes first: a linear that is
        there has its sample."""
        if self.path is None:
            return linear
        path, part = self._sample(linear.input_name), self._parts / f"{linear.name}.safetensors"
        store.save(path, {linear.input_name: sample})
        store.seal(path)
        store.save_linear(part, linear)
        store.seal(part)
        return _mapped(linear, part)

    def _sample(self, input_name: str) -> Path:
        return self._parts / f"{input_name}.sample.safetensors"

    def finish(self, linears: Mapping[str, QuantizedLinear], samples: Mapping[str, np.ndarray]) -> None:
        """Write the result and drop the parts. `quantization.json` comes last: with it the result is complete."""
        if self.path is None:
            return
        store.save(self.path / SAMPLES, samples)
        store.seal(self.path / SAMPLES)
        store.save_linears(self.path, linears, run=self.identity)
        shutil.rmtree(self._parts, ignore_errors=True)


def _mapped(linear: QuantizedLinear, part: Path) -> QuantizedLinear:
    return replace(linear, codes=store.mapped(part, f"{linear.name}.codes"))


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"
