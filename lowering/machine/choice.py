"""The LutLinear engine that schemes need: a target's, widened to them."""

from __future__ import annotations

from dataclasses import replace

from lutllm.errors import CapacityError
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.scheme import MULTIPLIER_BITS, Scheme


def engine_for(schemes: list[Scheme], base: EngineConfig, *, biased: bool = True) -> EngineConfig:
    """`base` widened to the schemes: stages, centroids, widths and row sources of all of them; with biases or not."""
    if not schemes:
        return base
    searching = [s for s in schemes if s.kind == "vq"]
    metrics = {s.metric for s in searching}
    if len(metrics) > 1:
        raise CapacityError(f"expected one metric for an engine, got {', '.join(sorted(metrics))}")
    centroids = max([s.c_a for s in searching], default=base.chains)
    sources = tuple(m for m in base.row_sources if any(m in s.row_sources for s in schemes))
    ports = dict(base.port_bits)
    if not searching:  # without centroids, stream c is a word of shifts a group
        ports["c"] = min(ports["c"], max(32, 1 << (base.pairs * 16).bit_length() - 1))
    if not biased:
        ports["q"] = min(ports["q"], base.requant_lanes * MULTIPLIER_BITS)
    return replace(
        base,
        bias_bits=base.bias_bits if biased else 0,
        centroids=-(-centroids // base.chains) * base.chains,
        act_stages=max([s.S for s in searching], default=1),
        metric=next(iter(metrics), base.metric),
        term_bits=max(s.term_bits for s in schemes),
        table_bits=max([s.table_bits for s in searching], default=base.table_bits),
        out_bits=max(s.out_bits for s in schemes),
        row_sources=sources,
        port_bits=ports,
    )
