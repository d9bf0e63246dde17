"""What a cluster asks of its machine beside its engines: the cluster in, names of `lut.machine`'s modes out."""

from __future__ import annotations

from collections.abc import Iterator

from lutllm.dialect.decoders.ops import activation_of
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster


def modes_of(cluster: Cluster) -> Iterator[str]:
    """The modes that its engines need; of activations always one."""
    gated = cluster.find("lut.swiglu")
    if gated is not None:
        yield activation_of(gated)


def mode_problem(cluster: Cluster, config: AcceleratorConfig) -> str | None:
    """What a machine lacks for a cluster."""
    for mode in modes_of(cluster):
        if mode not in {*config.modes, *config.activations}:
            got = ", ".join(config.modes) or "none"
            return f"expected a machine with mode '{mode}', got {got}; add it to the modes of the lut.machine"
    return None
