"""lutllm's own quantizer: recorded inputs and float linears in, vector-quantized integer linears out."""

import hashlib
import threading

import numpy as np

from lutllm.errors import InputError
from lutllm.quantizer.linear.activations import IntegerInput, fit_input
from lutllm.quantizer.linear.assembly import assemble, row_scale
from lutllm.quantizer.linear.statistics import InputStatistics, second_moment
from lutllm.quantizer.linear.weights import damped, fit_weights
from lutllm.quantizer.products import multiply
from lutllm.quantizer.protocol import OUTPUTS, FloatLinear
from lutllm.scheme import QuantizedLinear, Scheme

SAMPLE_TOKENS = 16384
PEAK_TOKENS = 2048  # that give an output's range, to which headroom is added
_PREPARING = threading.Lock()  # an input is prepared by the first of its linears, on all cores


class VectorQuantizer:
    """Codebooks for pairs of activations and pairs of weights, with error feedback (see
    `lutllm.quantizer.linear.weights`).

    The Hessian is that of the input as the linear sees it: of the float input for exact rows, of its centroids for
    `vq`. Weights are not moved by least squares to serve the centroids better: that overfits (docs/quantization.md).
    """

    def __init__(
        self,
        scheme: Scheme,
        *,
        seed: int = 0,
        refits: int = 2,
        scale_rows: bool = True,
        feedback: bool = True,
        sample_tokens: int = SAMPLE_TOKENS,
    ) -> None:
        self.scheme = scheme
        self.seed = seed
        self.refits = refits
        self.scale_rows = scale_rows
        self.feedback = feedback
        self.sample_tokens = sample_tokens
        self._statistics: dict[str, InputStatistics] = {}
        self._inputs: dict[str, tuple[IntegerInput, np.ndarray]] = {}

    def observe(self, input_name: str, x: np.ndarray) -> None:
        if input_name not in self._statistics:
            exact = self.scheme.kind == "exact"
            kept = PEAK_TOKENS if exact else self.sample_tokens
            self._statistics[input_name] = InputStatistics(x.shape[1], kept, moments=exact)
        self._statistics[input_name].add(x)

    def quantize_linear(self, linear: FloatLinear) -> QuantizedLinear:
        integers, hessian = self._input(linear.input_name)
        scale = row_scale(linear.weight, self.scale_rows)
        fitted = fit_weights(
            linear.weight,
            damped(hessian),
            self.scheme,
            row_scale=scale.value,
            row_weights=scale.value**2 * (1.0 if linear.importance is None else linear.importance),
            seed=self._seed_of(linear.name),
            refits=self.refits,
            feedback=self.feedback,
        )
        peak = _peak(linear, self._statistics[linear.input_name].sample)
        return assemble(
            name=linear.name,
            input_name=linear.input_name,
            scheme=self.scheme,
            exponents=integers.exponents,
            codebook=integers.codebook,
            weight_codebook=fitted.entries,
            weight_exponents=fitted.exponents,
            codes=fitted.codes,
            scale=scale,
            bias=linear.bias,
            output_peak=peak,
            metadata={"weight_loss": fitted.loss, "output_peak": peak},
        )

    def _input(self, name: str) -> tuple[IntegerInput, np.ndarray]:
        """The integer form of an input and the Hessian of what the linear sees."""
        if name not in self._statistics:
            raise InputError(f"'{name}': expected calibration windows of this input before its linears, got none")
        with _PREPARING:
            if name not in self._inputs:
                statistics = self._statistics[name]
                integers = fit_input(self.scheme, statistics, self._seed_of(name))
                hessian = statistics.hessian
                if self.scheme.kind == "vq":
                    seen = integers.seen(statistics.sample)
                    hessian = second_moment(seen, seen) / len(seen)
                self._inputs[name] = integers, hessian
        return self._inputs[name]

    def _seed_of(self, name: str) -> int:
        """A seed of its own for each tensor, so that the order of work does not matter."""
        return int.from_bytes(hashlib.sha256(f"{self.seed}:{name}".encode()).digest()[:7], "little")


def _peak(linear: FloatLinear, sample: np.ndarray) -> float:
    """The largest |output| on the first recorded tokens."""
    found = 0.0
    for at in range(0, len(linear.weight), OUTPUTS):
        part = slice(at, at + OUTPUTS)
        y = multiply(sample[:PEAK_TOKENS], linear.weight[part].T)
        found = max(found, float(np.abs(y if linear.bias is None else y + linear.bias[part]).max()))
    return found
