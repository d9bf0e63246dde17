"""Mixed precision: what each linear's error would cost under each scheme, and a budget of effective bits in; a scheme
for each linear out.

The cost is measured: the linear is fitted under the scheme, and its error d on calibration text costs about sum_o
curvature[o] * E[d_o**2] / 2 of loss a token (see `lutllm.quantizer.observe.sensitivity`). Costs add up, so the best
choice within the budget is a multiple-choice knapsack, solved by HiGHS (scipy.optimize.milp).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lutllm.errors import InputError
from lutllm.progress import progress
from lutllm.quantizer.driver import fitting
from lutllm.quantizer.linear.assembly import row_scale
from lutllm.quantizer.linear.statistics import add_second_moment
from lutllm.quantizer.linear.weights import damped, fit_weights
from lutllm.quantizer.observe.recording import LayerStream, float_linear
from lutllm.quantizer.products import multiply
from lutllm.quantizer.protocol import FloatLinear
from lutllm.scheme import ACC_BITS, MULTIPLIER_BITS, Scheme

ROUNDS = 3  # of each fit: enough to compare
GAP = 1e-3  # the solver stops when its answer is this near to the best


def effective_bits(scheme: Scheme, outputs: int, inputs: int) -> float:
    """What `QuantizedLinear.bits_per_weight` counts as effective, from the shape alone. Exact rows only."""
    pairs = inputs // 2
    code = pairs * outputs * scheme.R * scheme.code_bits
    books = pairs * scheme.blocks(outputs) * scheme.R * scheme.c_w * 2 * scheme.weight_bits
    return (code + books + 16 * pairs + outputs * (MULTIPLIER_BITS + ACC_BITS)) / (outputs * inputs)


def allocate(
    costs: Mapping[str, Mapping[Scheme, float]],
    bits: Mapping[str, Mapping[Scheme, float]],
    sizes: Mapping[str, int],
    budget: float,
) -> dict[str, Scheme]:
    """For each linear the scheme with which the sum of `costs` is least, at most `budget` bits a weight on average.

    `sizes` are weights. InputError if the cheapest schemes are over the budget.
    """
    from scipy.optimize import Bounds, LinearConstraint, milp
    from scipy.sparse import csr_array

    choices = [(name, scheme) for name in costs for scheme in costs[name]]
    total = sum(sizes[name] for name in costs)
    share = np.array([bits[name][scheme] * sizes[name] / total for name, scheme in choices])
    least = sum(min(bits[name].values()) * sizes[name] for name in costs) / total
    if least > budget:
        raise InputError(
            f"bits: expected at least {least:.2f} effective bits a weight for this model, got {budget:g}; ask for more"
        )
    index = {name: i for i, name in enumerate(costs)}
    rows = np.array([index[name] for name, _ in choices])
    one = csr_array((np.ones(len(choices)), (rows, np.arange(len(choices)))))
    cost = np.array([costs[name][scheme] for name, scheme in choices])
    found = milp(
        cost / max(float(cost.max()), 1e-300),
        integrality=np.ones(len(choices)),
        bounds=Bounds(0, 1),
        constraints=[LinearConstraint(one, 1, 1), LinearConstraint(share[None], -np.inf, budget)],
        options={"mip_rel_gap": GAP},
    )
    if found.x is None:
        raise InputError(f"bits: expected a choice within {budget:g} bits a weight, got none ({found.message})")
    return {name: scheme for (name, scheme), x in zip(choices, found.x, strict=True) if x > 0.5}


def measure_costs(
    module: Any,
    schemes: Mapping[str, Sequence[Scheme]],
    windows: np.ndarray | Sequence[np.ndarray],
    importance: Mapping[str, np.ndarray],
    *,
    quiet: bool = False,
    cluster: str | None = None,
) -> dict[str, dict[Scheme, float]]:
    """For the `schemes` of each linear, about how much a token's loss grows where only that linear is quantized so.
    Fitted by threads, or by the workers of a `cluster`."""
    names = list(schemes)
    stream = LayerStream(module, names, windows)
    costs: dict[str, dict[Scheme, float]] = {}
    with fitting(cluster) as executor:
        for group in progress(stream.groups(names), "sensitivity of each layer", quiet=quiet):
            hessians: dict[str, np.ndarray] = {}
            sources: dict[str, str] = {}
            tokens = 0
            for recorded in stream.layer(group):
                sources = {name: r.input_name for name, r in recorded.items()}
                inputs = {r.input_name: r.x for r in recorded.values()}
                for source, x in inputs.items():
                    if source not in hessians:
                        hessians[source] = np.zeros((x.shape[1], x.shape[1]))
                    add_second_moment(hessians[source], x, x)
                tokens += len(x)
            work = [
                (float_linear(module, name, sources[name], importance), hessians[sources[name]] / tokens, scheme)
                for name in group
                for scheme in schemes[name]
            ]
            for (linear, _, scheme), cost in zip(work, executor.map(_cost, *zip(*work, strict=True)), strict=True):
                costs.setdefault(linear.name, {})[scheme] = cost
    return {name: costs[name] for name in names}


def _cost(linear: FloatLinear, hessian: np.ndarray, scheme: Scheme) -> float:
    scale = row_scale(linear.weight).value
    assert linear.importance is not None
    rows = scale**2 * linear.importance
    options = {"row_scale": scale, "row_weights": rows, "rounds": ROUNDS, "refits": 0}
    fitted = fit_weights(linear.weight, damped(hessian), scheme, **options)
    rest = linear.weight / scale[:, None] - fitted.matrix(scheme.G)
    return float(np.sum(rows * np.sum(multiply(rest, hessian) * rest, axis=1))) / 2
