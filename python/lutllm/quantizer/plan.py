"""What a quantization would take: a model's shapes and a recipe in; bits, disk, memory and time out. No weight is read.

Time is floating-point operations over the speed of products, and weights over that of fits, both measured here first,
times what phases took beside that.
Memory is what is held at once beside the checkpoint, which is mapped. All of it is an estimate.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from lutllm.quantizer.blocks import even_block
from lutllm.quantizer.driver import EVALUATION_WINDOWS, THREADS
from lutllm.quantizer.linear.weights import fit_weights
from lutllm.quantizer.observe.recording import AHEAD, by_layer, linears
from lutllm.quantizer.products import multiply, threads
from lutllm.quantizer.random.model import hollow_linear
from lutllm.quantizer.recipe import Recipe
from lutllm.quantizer.whole import SMALL_MODEL, SOME_TOKENS, Amounts
from lutllm.scheme import QuantizedLinear, Scheme
from lutllm.tabular import Tabular

PROGRAM = 1_200_000_000  # bytes of Python with PyTorch, transformers and MLIR
# Times what the products of a phase take, as in runs of SmolLM2-135M and Qwen2.5-Coder-0.5B alone on two cores.
OVERHEAD = {"writing": 6.0, "gradients": 1.5, "statistics": 2.8, "fits": 1.9, "distillation": 2.0}
REFITS = 2  # of `fit_weights`
SAMPLE = 1024  # rows and columns of what speeds are measured on


@dataclass
class Plan(Tabular):
    """Of a whole model. `disk`: bytes of the directory, which needs as much again until it is done. `memory`: bytes
    beside the `checkpoint`'s, which are mapped. `seconds` by phase, on this machine as busy as it is now."""

    linears: list[QuantizedLinear]
    checkpoint: int
    disk: int
    memory: int
    seconds: dict[str, float]

    @property
    def weights(self) -> int:
        return sum(linear.outputs * 2 * linear.pairs for linear in self.linears)

    @property
    def bits(self) -> float:
        """Effective bits a weight of all linears."""
        sizes = [linear.outputs * 2 * linear.pairs * linear.bits_per_weight()[1] for linear in self.linears]
        return sum(sizes) / self.weights

    def records(self) -> list[dict[str, Any]]:
        return [linear.record() for linear in self.linears]

    def to_dict(self) -> dict[str, Any]:
        sizes = {"weights": self.weights, "bits_effective": round(self.bits, 4)}
        places = {"checkpoint_bytes": self.checkpoint, "disk_bytes": self.disk, "memory_bytes": self.memory}
        return {**sizes, **places, "seconds": {name: round(value, 1) for name, value in self.seconds.items()}}

    def __str__(self) -> str:
        whole = sum(self.seconds.values())
        unit, name = (3600, "hours") if whole > 2 * 3600 else (60, "minutes")
        phases = ", ".join(f"{phase} {value / unit:.1f}" for phase, value in self.seconds.items() if value)
        return (
            f"{len(self.linears)} linears of {self.weights / 1e9:.2f} billion weights, {self.bits:.3f} effective bits\n"
            f"disk    {self.disk / 1e9:.1f} GB, and as much again until it is done\n"
            f"memory  {self.memory / 1e9:.1f} GB, and up to {self.checkpoint / 1e9:.1f} GB of the checkpoint, mapped\n"
            f"time    {whole / unit:.1f} {name} on this machine as it is now: {phases}\n"
            "an estimate, without the start; nothing was quantized"
        )


def planned(module: Any, checkpoint: int, recipe: Recipe, amounts: Amounts) -> Plan:
    """For a CausalLM without weights (`models.outline`) whose checkpoint has so many bytes."""
    names = linears(module, [""])
    parts = {name: module.get_submodule(name) for name in names}
    schemes = {
        name: assignment.scheme
        for name, assignment in recipe.assign(names, {n: even_block(x.out_features) for n, x in parts.items()}).items()
    }
    found = {
        name: hollow_linear(part.in_features, part.out_features, schemes[name], name, f"{name}.input")
        for name, part in parts.items()
    }
    layers = [[found[name] for name in group] for group in by_layer(names)]
    everything = sum(parameter.numel() for parameter in module.parameters())
    embedded = module.get_input_embeddings().weight
    disk = embedded.numel() + sum(map(_bytes, found.values()))
    windows = (amounts.calibration + EVALUATION_WINDOWS) * amounts.window
    states = 2 * 4 * windows * embedded.shape[1]  # before and after a layer
    large = sum(linear.outputs * 2 * linear.pairs for linear in found.values()) > SMALL_MODEL
    phases = [_held(layer, amounts.window) for layer in layers]
    if not large:  # what a backward pass needs; a second model with its codes beside the first
        each = 2 * sum(linear.outputs + 2 * linear.pairs for linear in found.values()) + 4 * embedded.shape[0]
        phases.append(4 * amounts.window * each)
        if amounts.distilled:
            phases[-1] += 4 * everything + 4 * sum(linear.codes.size for linear in found.values())
    memory = PROGRAM + states + max(phases)
    seconds = _seconds(layers, everything, windows, amounts, large)
    return Plan(list(found.values()), checkpoint, disk, memory, seconds)


def _bytes(linear: QuantizedLinear) -> int:
    """In a store, which packs codes."""
    arrays = sum(array.nbytes for array in linear.tensors().values())
    return arrays - linear.codes.size * (8 - linear.scheme.code_bits) // 8


def _held(layer: list[QuantizedLinear], window: int) -> int:
    """Bytes of a layer: inputs of windows run ahead, a Hessian an input, and of linears fitted at a time two matrices
    of the inputs' size and one of the weights'."""
    inputs = {2 * linear.pairs for linear in layer}
    fits = sorted((16 * (2 * x.pairs) ** 2 + 16 * x.pairs * x.outputs for x in layer), reverse=True)
    codes = sum(linear.codes.nbytes for linear in layer)
    return sum(8 * k**2 + 4 * AHEAD * window * k for k in inputs) + sum(fits[: min(THREADS, threads())]) + codes


def _seconds(
    layers: list[list[QuantizedLinear]], everything: int, windows: int, amounts: Amounts, large: bool
) -> dict[str, float]:
    single, double = (_speed(dtype) for dtype in (np.float32, np.float64))
    of_codes = cache(_code_seconds)
    found = dict.fromkeys(OVERHEAD, 0.0)
    for layer in layers:
        inputs = {2 * linear.pairs for linear in layer}
        passes = 2 * 2 * windows * sum(2 * x.pairs * x.outputs for x in layer)
        found["statistics"] += (passes + amounts.calibration * amounts.window * sum(k**2 for k in inputs)) / single
        at_once = min(THREADS, threads(), len(layer))
        for x in layer:
            k = 2 * x.pairs
            found["fits"] += (
                products(k, x.outputs) / double + x.outputs * k * of_codes(x.scheme.with_(G=SAMPLE)) / at_once
            )
    if not large:
        own = (amounts.own_calibration + amounts.own_distilled) * amounts.window
        found["writing"] = 2 * own * everything / single
        found["gradients"] = 6 * min(amounts.tokens, SOME_TOKENS) * everything / single
        found["distillation"] = 8 * amounts.distilled * amounts.window * everything / single
    return {name: OVERHEAD[name] * value for name, value in found.items()}


def products(inputs: int, outputs: int) -> float:
    """Floating-point operations of `fit_weights`: the factor; the errors passed on; in each refit the gradient and what
    it changes by; the loss of what is left and of all."""
    return 2 * inputs**3 / 3 + outputs * inputs**2 * (1 + 4 * REFITS + 4)


def _speed(dtype: type) -> float:
    """Floating-point operations a second of products."""
    a: np.ndarray = np.ones((SAMPLE, SAMPLE), dtype)
    return 2 * SAMPLE**3 / _timed(lambda: multiply(a, a))


def _code_seconds(scheme: Scheme) -> float:
    """What codes and codebooks of a weight take, beside products."""
    weight = np.random.default_rng(0).normal(size=(SAMPLE, 16))
    return _timed(lambda: fit_weights(weight, np.eye(16), scheme, refits=REFITS)) / weight.size


def _timed(work: Callable[[], Any]) -> float:
    work()
    times = []
    for _ in range(3):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)
