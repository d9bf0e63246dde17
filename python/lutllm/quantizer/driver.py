"""`quantize`: a loaded model and text in, integer linears, their errors and real integer inputs out.

Streamed: a decoder layer at a time, the hidden states between layers kept, each finished linear written at once.
"""

import hashlib
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from lutllm.errors import InputError
from lutllm.progress import note
from lutllm.quantizer.evaluate import integer_input, output_error
from lutllm.quantizer.linear.vector import VectorQuantizer
from lutllm.quantizer.observe.recording import LayerStream, float_linear, linears
from lutllm.quantizer.products import threads
from lutllm.quantizer.protocol import FloatLinear, Quantizer, QuantizerFactory
from lutllm.quantizer.resume import RunDirectory
from lutllm.scheme import NAMED_SCHEMES, QuantizedLinear, Scheme
from lutllm.workers import pool

if TYPE_CHECKING:
    from lutllm.models import LoadedModel
    from lutllm.models.text import Text

VERSION = 7  # of the integers: raised whenever the same input would give others, so that no run mixes two
EVALUATION_WINDOWS = 2
THREADS = 2  # linears quantized at a time
ERROR_TOKENS = 64


@dataclass
class QuantizationResult:
    """By linear name, in the model's order: the integers, ||y' - y|| / ||y|| on held-out text, and integer inputs
    int16 [tokens, K] of held-out text for simulation."""

    linears: dict[str, QuantizedLinear] = field(default_factory=dict)
    errors: dict[str, float] = field(default_factory=dict)
    samples: dict[str, np.ndarray] = field(default_factory=dict)

    def add(self, linear: QuantizedLinear, sample: np.ndarray) -> None:
        self.linears[linear.name] = linear
        self.errors[linear.name] = float(linear.metadata["output_error"])
        self.samples[linear.name] = sample


def quantize(
    model: "LoadedModel",
    *,
    layers: Sequence[int | str] | None = None,
    scheme: Scheme | str | Mapping[str, Scheme] = "exact",
    text: "Text | Path | str | None" = None,
    tokens: int = 16384,
    seed: int = 0,
    out_dir: Path | str | None = None,
    progress: bool = True,
    quantizer: QuantizerFactory = VectorQuantizer,
    window: int = 512,
    sample_tokens: int = 32,
    listener: Callable[[dict], None] | None = None,
    sequential: bool = True,
    importance: Mapping[str, np.ndarray] | None = None,
    own: np.ndarray | None = None,
    cluster: str | None = None,
) -> QuantizationResult:
    """Quantize the linears of `layers` (decoder layer numbers or module names; None: all decoder layers).

    `scheme` is a scheme, the name of one, or one for each linear by name. `text` is calibration text, a path or a
    `Text` (default: text that Python ships); `tokens` of it, in windows of `window`, are used, and other windows give
    the errors and samples. With `out_dir`, an interrupted run goes on where it was and a finished one is read back;
    a directory of another model, text, scheme or seed is refused. Same arguments, same integers. `listener` gets a
    dictionary for each linear as soon as it is there: linear, shape, scheme, bits, loss, seconds, peak_memory_mb.
    `own`: windows of other text, at most as many as there are of `tokens`, which take the place of as many of `text`.
    `sequential`: each decoder layer sees what the quantized layers before it leave. `importance` of each linear's
    outputs, by name: see `FloatLinear`. `cluster`: the address of a Dask scheduler whose workers fit linears.
    """
    from lutllm.quantizer.reproducible import arithmetic, reproducible

    names = linears(model.module, layers)
    schemes = {name: _scheme_of(scheme, name) for name in names}
    _check_linears(model.module, names)
    calibration, evaluation, source = _windows(model, text, tokens, window, seed, own)
    identity = {
        "version": VERSION,
        "arithmetic": arithmetic(),
        "model": model.fingerprint,
        "text": source,
        "tokens": [len(calibration), len(evaluation), window, sample_tokens],
        "schemes": {name: s.to_dict() for name, s in schemes.items()},
        "seed": seed,
        "sequential": sequential,
        "importance": _digest(importance),
        "own": None if own is None else _digest({"windows": own}),
        "quantizer": getattr(quantizer, "__qualname__", type(quantizer).__qualname__),
    }
    directory = RunDirectory(out_dir, identity)
    with directory.opened(), reproducible(), fitting(cluster) as executor:
        earlier = directory.finished()
        result = QuantizationResult()
        if earlier is not None:
            for linear in earlier[0].values():
                result.add(linear, earlier[1][linear.input_name])
            return result
        stream = LayerStream(model.module, names, [*calibration, *evaluation])
        groups = stream.groups(names)
        sizes = {name: int(model.module.get_submodule(name).weight.numel()) for name in names}
        log = _Log(sizes, len(groups), progress, listener)
        run = _Run(
            model, schemes, quantizer, seed, directory, len(calibration), sample_tokens, log, sequential, importance,
            executor,
        )  # fmt: skip
        for group in groups:
            run.group(stream, group, result)
        result = _ordered(result, names)
        inputs = {linear.input_name: result.samples[name] for name, linear in result.linears.items()}
        directory.finish(result.linears, inputs)
    return result


@dataclass
class _Run:
    model: "LoadedModel"
    schemes: dict[str, Scheme]
    factory: QuantizerFactory
    seed: int
    directory: RunDirectory
    calibration: int  # the first windows; the others are held out
    sample_tokens: int
    log: "_Log"
    sequential: bool
    importance: Mapping[str, np.ndarray] | None
    executor: Executor

    def group(self, stream: LayerStream, names: list[str], result: QuantizationResult) -> None:
        """Quantize the linears of one decoder layer that are not finished already."""
        kept = {name: part for name in names if (part := self.directory.get(name))}
        for linear, sample in kept.values():
            result.add(linear, sample)
            self.log.line(linear, None)
        todo = [name for name in names if name not in kept]
        if not todo:
            self.log.group(None)
            self._pass_on(stream, names, result)
            return
        start = time.monotonic()
        sources, held, quantizers = self._observe(stream, names)
        self.log.group(time.monotonic() - start)
        references = [float_linear(self.model.module, n, sources[n], self.importance) for n in todo]
        start = time.monotonic()
        own = [quantizers[self.schemes[name], sources[name]] for name in todo]
        for reference, linear in zip(references, self.executor.map(_fitted, own, references), strict=True):
            windows = held[reference.input_name]
            linear.metadata["output_error"] = output_error(linear, reference, _spread(windows))
            sample = integer_input(linear, windows[0][: self.sample_tokens])
            linear = self.directory.put(linear, sample)
            result.add(linear, sample)
            now = time.monotonic()
            self.log.line(linear, now - start)
            start = now
        self._pass_on(stream, names, result)

    def _pass_on(self, stream: LayerStream, names: list[str], result: QuantizationResult) -> None:
        if self.sequential:
            stream.replace({name: result.linears[name] for name in names})

    def _observe(
        self, stream: LayerStream, names: list[str]
    ) -> tuple[dict[str, str], dict[str, list[np.ndarray]], dict[tuple[Scheme, str], Quantizer]]:
        """The input of each linear; the held-out windows of each input; for each scheme and input a quantizer that was
        shown the calibration windows."""
        sources: dict[str, str] = {}
        held: dict[str, list[np.ndarray]] = {}
        quantizers: dict[tuple[Scheme, str], Quantizer] = {}
        for i, recorded in enumerate(stream.layer(names, leave=not self.sequential)):
            now = {name: r.input_name for name, r in recorded.items()}
            if sources and now != sources:
                raise InputError(
                    "model: expected linears to share inputs in the same way for every window, got another way"
                )
            sources = now
            inputs = {r.input_name: r.x for r in recorded.values()}
            if i >= self.calibration:
                for source, x in inputs.items():
                    held.setdefault(source, []).append(x)
                continue
            for scheme, source in dict.fromkeys((self.schemes[name], sources[name]) for name in names):
                if (scheme, source) not in quantizers:
                    quantizers[scheme, source] = self.factory(scheme, seed=self.seed)
                quantizers[scheme, source].observe(source, inputs[source])
        return sources, held, quantizers


def fitting(cluster: str | None) -> AbstractContextManager[Executor]:
    """What fits linears: threads, or the workers of a Dask cluster."""
    return pool(cluster, lambda: ThreadPoolExecutor(min(THREADS, threads())))


def _fitted(quantizer: Quantizer, linear: FloatLinear) -> QuantizedLinear:
    return quantizer.quantize_linear(linear)


def _digest(arrays: Mapping[str, np.ndarray] | None) -> str | None:
    """A hash of arrays by name."""
    if arrays is None:
        return None
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


def _spread(windows: list[np.ndarray]) -> np.ndarray:
    """At most `ERROR_TOKENS` tokens, evenly from all windows."""
    tokens = np.concatenate(windows)
    return tokens[np.linspace(0, len(tokens) - 1, min(len(tokens), ERROR_TOKENS)).astype(np.int64)]


def _ordered(result: QuantizationResult, names: Sequence[str]) -> QuantizationResult:
    ordered = QuantizationResult()
    for name in names:
        ordered.add(result.linears[name], result.samples[name])
    return ordered


def _scheme_of(scheme: Scheme | str | Mapping[str, Scheme], name: str) -> Scheme:
    if isinstance(scheme, Scheme):
        return scheme
    if isinstance(scheme, str):
        if scheme not in NAMED_SCHEMES:
            raise InputError(f"scheme: expected one of {', '.join(NAMED_SCHEMES)}, got '{scheme}'")
        return NAMED_SCHEMES[scheme]
    if name not in scheme:
        raise InputError(f"scheme: expected one for each linear, got none for '{name}'")
    return scheme[name]


def _check_linears(module: Any, names: Sequence[str]) -> None:
    """Refuse linears that cannot be quantized, before any work: those without pairs (all at once), and NaN weights."""
    odd = [n for n in names if module.get_submodule(n).in_features % 2]
    if odd:
        sizes = ", ".join(f"'{n}' {module.get_submodule(n).in_features}" for n in odd)
        raise InputError(f"model: expected linears with an even number of inputs, got {sizes}; leave these layers out")
    for name in names:
        float_linear(module, name, "")


def _windows(
    model: "LoadedModel",
    text: "Text | Path | str | None",
    tokens: int,
    window: int,
    seed: int,
    own: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, str]:
    """(calibration windows, evaluation windows, hash of the text); `own` windows are among the former.

    Shuffled: a quantizer may keep the first tokens only, which have to be of all the text. Evaluation windows come from
    documents held apart; from a text with too few, they are windows held apart.
    """
    from lutllm.models.text import Text, default_text, text_file, windows

    if model.tokenizer is None:
        raise InputError(
            f"'{model.name}': expected a model with a tokenizer, got none; add tokenizer.json to its directory"
        )
    if tokens < 1 or window < 1:
        raise InputError(f"tokens: expected at least 1 token in windows of at least 1, got {tokens} and {window}")
    whole = default_text() if text is None else text if isinstance(text, Text) else text_file(text)
    count, held = -(-tokens // window) - (0 if own is None else len(own)), EVALUATION_WINDOWS
    calibration, evaluation = whole.split()
    try:
        apart = windows(model.tokenizer, evaluation, window, held, seed)
    except InputError:
        both = windows(model.tokenizer, whole, window, count + held, seed, shuffled=True)
        return mixed(both[:count], own, seed), both[count:], whole.sha256
    chosen = apart[:0] if count == 0 else windows(model.tokenizer, calibration, window, count, seed, shuffled=True)
    return mixed(chosen, own, seed), apart, whole.sha256


def mixed(text: np.ndarray, own: np.ndarray | None, seed: int) -> np.ndarray:
    """Windows of two origins, shuffled by `seed`."""
    if own is None or not len(own):
        return text
    both = np.concatenate([text, own])
    return both[np.random.default_rng(seed).permutation(len(both))]


class _Log:
    """One line a linear, with the time left: recording by the layer, quantizing by the weight."""

    def __init__(
        self, sizes: Mapping[str, int], groups: int, enabled: bool, listener: Callable[[dict], None] | None = None
    ) -> None:
        self.sizes, self.enabled, self.listener = dict(sizes), enabled, listener
        self.total, self.left, self.groups = len(sizes), sum(sizes.values()), groups
        self.recording, self.recorded = 0.0, 0
        self.quantizing, self.quantized = 0.0, 0

    def group(self, seconds: float | None) -> None:
        """A layer was recorded, or needed no recording."""
        self.groups -= 1
        if seconds is not None:
            self.recording += seconds
            self.recorded += 1

    def line(self, linear: QuantizedLinear, seconds: float | None) -> None:
        size = self.sizes.pop(linear.name)
        self.left -= size
        took = "kept from an earlier run"
        if seconds is not None:
            self.quantizing += seconds
            self.quantized += size
            left = self.quantizing * self.left / self.quantized
            left += self.recording * self.groups / max(1, self.recorded)
            took = f"{seconds:.1f} s, about {left:.0f} s left"
        s = linear.scheme
        code, effective = linear.bits_per_weight()
        error, memory = linear.metadata["output_error"], peak_memory_mb()
        stages = f"c_a={s.c_a} S={s.S} R={s.R}" if s.kind == "vq" else f"R={s.R}"
        note(
            f"[{self.total - len(self.sizes)}/{self.total}] {linear.name} {linear.outputs}x{2 * linear.pairs} "
            f"{s.kind} {stages} {code:.2f}/{effective:.2f} bit, error {error:.4f}, {memory} MB, {took}",
            quiet=not self.enabled,
        )
        if self.listener:
            entry = {"linear": linear.name, "shape": [linear.outputs, 2 * linear.pairs], "scheme": s.to_dict()}
            cost = {"seconds": None if seconds is None else round(seconds, 2), "peak_memory_mb": memory}
            self.listener({**entry, "bits": [code, effective], "loss": error, **cost})


def peak_memory_mb() -> int:
    """The most memory this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
