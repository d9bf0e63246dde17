"""What each chain of engines computes, and where it finds its operands: a cluster in, what is wrong with it out.

`patterns` finds such clusters in a program; here one that stands in the IR, by whosoever's hand, is checked.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lutllm import dialect
from lutllm.bindings import ir
from lutllm.lowering.machine.accelerator import CACHE_BITS, RESIDUAL_BITS, X_BITS
from lutllm.lowering.place.clusters import Cluster, head_count, home, memory_of
from lutllm.lowering.place.contents import region_kinds
from lutllm.lowering.place.patterns import CHAINS, Part
from lutllm.numerics import round_shift, saturate
from lutllm.quantization import NORM_BITS


def problems(cluster: Cluster) -> Iterator[tuple[ir.OpView, str]]:
    """What the cluster's engines cannot do, each with the op it is about."""
    for attribute in ("buffer", "parameters", "region", "rounds", "reps"):
        if cluster.op.optional(attribute) is not None and attribute not in _attributes(cluster):
            yield cluster.op, f"expected no {attribute} on engines {', '.join(cluster.engines)}, got one; remove it"
    broken = _order_problem(cluster)
    if broken is not None:
        yield broken
        return
    ops = cluster.ops
    for op in ops:
        yield from ((op, problem) for problem in _operand_problems(cluster, op))
        yield from ((op, problem) for problem in _width_problems(cluster, op))
    yield from _agreement_problems(cluster)


def _attributes(cluster: Cluster) -> set[str]:
    """What says where a cluster is placed."""
    other = {"buffer": memory_of(cluster), "rounds": "linear" in cluster.engines, "reps": cluster.last == "attention"}
    return {*region_kinds(cluster), *(name for name, used in other.items() if used)}


def _agreement_problems(cluster: Cluster) -> Iterator[tuple[ir.OpView, str]]:
    """Ops that must name the same arrays, or count the same heads."""
    norm, linear = cluster.find("lut.rms_norm"), cluster.linear
    named = {} if linear is None else {"weights": linear.name, "codebook": linear.codebook}
    for op in cluster.ops:
        for name, symbol in named.items():
            got = op.operation.attributes[name].value if name in op.operation.attributes else symbol
            if got != symbol:
                yield op, f"expected {name} = @{symbol}, as the ops before it, got @{got}; change either"
    if norm is not None:
        engine = cluster.engines[0]
        allowed = {1} if engine == "norm" else {1, head_count(cluster)}
        if int(norm.groups.value) not in allowed:
            wanted = " or ".join(map(str, sorted(allowed)))
            yield norm, f"expected groups = {wanted}, as engine {engine} norms, got {norm.groups.value}; change it"
        for name in ("centered", "bias") if engine == "heads" else ():
            if name in norm.attributes:
                got = norm.attributes[name]
                yield norm, f"expected no {name}, for no engine has that mode, got {got}; run this model on the CPU"


def _order_problem(cluster: Cluster) -> tuple[ir.OpView, str] | None:
    """The first op that does not follow from the one before it."""
    parts, chain = list(CHAINS[cluster.engines]), ", ".join(cluster.engines)
    before: ir.Value | None = None
    for op in cluster.ops:
        open_ = list(parts)
        while parts and op.operation.name not in parts[0].ops and parts[0].optional:
            parts.pop(0)
        if not parts or op.operation.name not in parts[0].ops:
            return op, f"expected {_names(open_)} here on engines {chain}, got it; put it in a cluster of its own"
        part = parts.pop(0)
        if before is not None:
            made = [i for i, value in enumerate(op.operation.operands) if value == before]
            if len(made) != 1 or made[0] not in part.flow:
                numbers = " or ".join(map(str, part.flow))
                return (
                    op,
                    f"expected the op before it to make operand {numbers} and no other, got {made}; change its "
                    "operands",
                )
        before = op.operation.results[0]
    missing = [part for part in parts if not part.optional]
    if missing:
        return (
            cluster.op,
            f"expected {_names(missing)} in it on engines {chain}, got none; change its engines or its ops",
        )
    if before is not None and cluster.yielded != before:
        return cluster.op, "expected it to yield what its last op makes, got another value; change it"
    if before is None and not isinstance(cluster.yielded.owner, ir.Block):
        return (
            cluster.op,
            f"expected it to yield an argument of the function on engines {chain}, got another value; change it",
        )
    return None


def _names(parts: list[Part]) -> str:
    found: list[str] = []
    for part in parts:
        found += part.ops
        if not part.optional:
            break
    return " or ".join(f"'{name}'" for name in found) or "no op"


def _operand_problems(cluster: Cluster, op: ir.OpView) -> Iterator[str]:
    """Operands from outside that do not lie where the engine reads."""
    own = {result for each in cluster.ops for result in each.operation.results}
    parts = [part for part in CHAINS[cluster.engines] if op.operation.name in part.ops]
    for i, value in enumerate(op.operation.operands):
        wanted = parts[0].wants.get(i)
        got = wanted if value in own else home(value)
        if wanted is None and value not in own:
            yield f"expected operand {i} to be made by the op before it, got it {_at(got)}; remove it"
        elif got != wanted:
            yield (
                f"expected operand {i} {_at(wanted)}, which its engine reads, got it {_at(got)}; no engine moves it "
                "there"
            )


def _at(place: str | None) -> str:
    return f"in memory {place}" if place is not None and len(place) == 1 else str(place)


def _width_problems(cluster: Cluster, op: ir.OpView) -> Iterator[str]:
    """Results of another width than the engine saturates to."""
    name = op.operation.name.removeprefix("lut.")
    widths = {"rms_norm": NORM_BITS, "embedding": RESIDUAL_BITS, "add": RESIDUAL_BITS, "append": CACHE_BITS}
    if cluster.engines == ("heads",):
        widths["rescale"] = X_BITS if cluster.cache is None else CACHE_BITS
    meaning = dialect.fixed_of(op.operation.results[0].type)
    if name == "tanh":
        steps = np.arange(-(1 << 14), (1 << 14) + 1) * int(op.multiplier.value)
        if (np.diff(saturate(round_shift(steps, int(op.shift.value)), dialect.bits_of(op.y))) < 1).any():
            got = f"{op.multiplier.value} * 2**-{op.shift.value}"
            yield f"expected each step of tanh to be another logit, as engine pick compares steps, got {got}; raise it"
    if name in widths and meaning is not None and meaning[0] != widths[name]:
        yield f"expected {widths[name]} bits, as engine {cluster.last} gives them, got {meaning[0]}; quantize again"
