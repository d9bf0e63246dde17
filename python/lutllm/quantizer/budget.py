"""Budgets instead of a recipe: a model's linears and what an error of each costs in, a scheme for each out.

`Budget` is of effective bits a weight. `TimeBudget` is of milliseconds a token on a target: bits that the schedule of
the model on that target has time for, by bisection over what `Budget` gives.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from lutllm.bindings import ir
from lutllm.errors import InputError
from lutllm.lowering.machine.targets import find_target
from lutllm.lowering.quantize.graph import FloatGraph
from lutllm.progress import note
from lutllm.quantizer.allocation import allocate, effective_bits, measure_costs
from lutllm.quantizer.blocks import blocks_of
from lutllm.scheme import Scheme

NEAR = 0.02  # bits a weight at which the search of a time budget ends

Shapes = Mapping[str, tuple[int, int]]  # outputs and inputs
Costs = Mapping[str, Mapping[Scheme, float]]


@dataclass(frozen=True)
class Budget:
    """Effective `bits` a weight over all linears, shared out as `choices` of an exact `scheme`."""

    bits: float
    scheme: Scheme
    choices: ClassVar = ((1, 16), (2, 8), (2, 16), (3, 16))  # stages and entries: codes of 2, 3, 4 and 6 bits a weight

    def __post_init__(self) -> None:
        _check_exact("bits", self.scheme)

    @property
    def identity(self) -> dict[str, Any]:
        return {"bits": self.bits, "scheme": self.scheme.to_dict()}

    def share_out(self, shapes: Shapes, costs: Costs, module: ir.Module, *, quiet: bool) -> dict[str, Scheme]:
        """A scheme for each linear of the float level `module`, of those whose `costs` were `measured`."""
        return _within(shapes, costs, self.bits)


@dataclass(frozen=True)
class TimeBudget:
    """`milliseconds` a token that sees `kv` others on a target, LM head included, as `lutllm estimate` has them; shared
    out as `choices` of an exact `scheme`. InputError where one stage everywhere takes longer."""

    milliseconds: float
    target: str
    kv: int
    scheme: Scheme
    choices: ClassVar = ((1, 16), (2, 16), (3, 16))  # in hardware a code takes 4 bits, whatever its codebook has

    def __post_init__(self) -> None:
        _check_exact("budget_ms", self.scheme)
        find_target(self.target)

    @property
    def identity(self) -> dict[str, Any]:
        target = repr(find_target(self.target))
        return {"milliseconds": self.milliseconds, "target": target, "kv": self.kv, "scheme": self.scheme.to_dict()}

    def share_out(self, shapes: Shapes, costs: Costs, module: ir.Module, *, quiet: bool) -> dict[str, Scheme]:
        """As `Budget.share_out`. The search ends `NEAR` the most bits that are in time."""
        sizes = {name: outputs * inputs for name, (outputs, inputs) in shapes.items()}

        def bits_of(chosen: Mapping[str, Scheme]) -> float:
            each = (effective_bits(scheme, *shapes[name]) * sizes[name] for name, scheme in chosen.items())
            return sum(each) / sum(sizes.values())

        def takes(chosen: Mapping[str, Scheme]) -> float:
            found = self.estimated(module, chosen)
            note(f"{bits_of(chosen):.3f} bits a weight: {found:.3f} ms on {self.target}", quiet=quiet)
            return found

        least, most = ({name: pick(costs[name], key=lambda s: s.R) for name in costs} for pick in (min, max))
        if (fast := takes(least)) > self.milliseconds:
            raise InputError(
                f"budget_ms: expected at least {fast:.3f} ms a token for this model on {self.target}, which one stage "
                f"of every linear takes, got {self.milliseconds:g}; allow more, or choose another target"
            )
        if takes(most) <= self.milliseconds:
            return most
        best, low, high = least, bits_of(least), bits_of(most)
        while high - low > NEAR:
            bits = (low + high) / 2
            chosen = _within(shapes, costs, bits)
            if takes(chosen) <= self.milliseconds:
                best, low = chosen, bits
            else:
                high = bits
        return best

    def estimated(self, module: ir.Module, schemes: Mapping[str, Scheme]) -> float:
        """Milliseconds of a token of a model with these schemes, from its schedule."""
        from lutllm.cost.planning import Planner
        from lutllm.quantizer.random.model import hollow_model
        from lutllm.report.estimate import decode_step, longest

        target, positions = find_target(self.target), longest(self.kv, 1)
        plan = Planner(hollow_model(module, schemes.__getitem__, positions=positions), positions).plan(self.target)
        return decode_step(plan, target, self.kv).cycles / target.clock.core_mhz / 1e3


def _check_exact(what: str, scheme: Scheme) -> None:
    if scheme.kind != "exact":
        raise InputError(f"{what}: expected the scheme exact, got kind '{scheme.kind}'; write a recipe instead")


def measured(
    model: Any,
    graph: FloatGraph,
    budget: Budget | TimeBudget,
    windows: np.ndarray,
    importance: Mapping[str, np.ndarray],
    *,
    quiet: bool,
    cluster: str | None = None,
) -> tuple[Shapes, Costs]:
    """Of linears of the PyTorch `model` whose float level is `graph`: their shapes, and what an error of each choice of
    `budget` costs on `windows` (see `measure_costs`)."""
    shapes = {name: tuple(model.get_submodule(name).weight.shape) for name in graph.linears}
    schemes = {
        name: [budget.scheme.with_(R=r, c_w=c, G=block) for r, c in budget.choices]
        for name, block in blocks_of(graph).items()
    }
    return shapes, measure_costs(model, schemes, windows, importance, quiet=quiet, cluster=cluster)


def _within(shapes: Shapes, costs: Costs, bits: float) -> dict[str, Scheme]:
    each = {name: {scheme: effective_bits(scheme, *shapes[name]) for scheme in costs[name]} for name in costs}
    return allocate(costs, each, {name: outputs * inputs for name, (outputs, inputs) in shapes.items()}, bits)
