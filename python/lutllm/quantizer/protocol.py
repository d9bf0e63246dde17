"""What a quantizer is: recorded inputs and a float linear in, a `QuantizedLinear` out. Two methods, no base class."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from lutllm.errors import InputError
from lutllm.quantizer.products import multiply
from lutllm.scheme import QuantizedLinear, Scheme

OUTPUTS = 8192  # of a linear in floats, at a time


@dataclass(frozen=True)
class FloatLinear:
    """One linear of the float model: weight [outputs, inputs], bias [outputs] or None; `input_name` is shared by
    all linears that read the same tensor. `importance` [outputs]: what a squared error of each output costs, up to a
    factor (see `lutllm.quantizer.observe.sensitivity`); None: all the same."""

    name: str
    input_name: str
    weight: np.ndarray
    bias: np.ndarray | None = None
    importance: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.weight.shape[1] % 2:
            raise InputError(
                f"'{self.name}': expected a weight [outputs, inputs] with an even number of inputs (pairs of "
                f"channels), got {list(self.weight.shape)}; keep this layer in float"
            )
        for what, array in (("weight", self.weight), ("bias", self.bias)):
            if array is not None:
                require_finite(array, f"{self.name}.{what}")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """The float output of tokens [T, inputs], in float64."""
        x = x.astype(np.float64)
        parts = [self.weight[at : at + OUTPUTS] for at in range(0, len(self.weight), OUTPUTS)]
        y = np.concatenate([multiply(x, part.astype(np.float64).T) for part in parts], axis=1)
        return y if self.bias is None else y + self.bias


def require_finite(array: np.ndarray, name: str) -> None:
    """Refuse NaN and infinity, naming the tensor and the first place."""
    bad = ~np.isfinite(array)
    if bad.any():
        where = [int(i) for i in np.argwhere(bad)[0]]
        raise InputError(
            f"'{name}': expected finite values, got {array[tuple(where)]} at {where} "
            f"({int(bad.sum())} of {array.size} are not finite); repair the checkpoint or leave this layer out"
        )


class Quantizer(Protocol):
    """Made anew for each input of a scheme's linears, so that it holds the statistics of one input.

    `observe` is called for every calibration window of the input, in order; then `quantize_linear` for each linear.
    Both must depend on their arguments, the scheme and the seed only: an interrupted run repeats them, two threads
    quantize linears in any order, and with a cluster each linear is quantized by a pickled copy.
    """

    def observe(self, input_name: str, x: np.ndarray) -> None:
        """Take one window of an input: float32 [tokens, inputs]."""

    def quantize_linear(self, linear: FloatLinear) -> QuantizedLinear:
        """Quantize a linear whose input has been observed."""


class QuantizerFactory(Protocol):
    """A quantizer class, or anything that makes one for a scheme and a seed."""

    def __call__(self, scheme: Scheme, *, seed: int) -> Quantizer: ...
