"""What a cluster asks of its machine beside its engines: the cluster in, names of `lut.machine`'s modes out."""

from __future__ import annotations

from collections.abc import Iterator

from lutllm.dialect.decoders.attention import AttentionOp
from lutllm.dialect.decoders.ops import activation_of
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, head_count, is_aside
from lutllm.lowering.place.patterns import NORM_ADD


def modes_of(cluster: Cluster) -> Iterator[str]:
    """The modes that its engines need; of activations always one."""
    gated = cluster.find("lut.swiglu")
    if gated is not None:
        yield activation_of(gated)
        if gated.up is None:
            yield "plain_mlp"
    attention = cluster.find("lut.attention")
    if attention is not None and reach_of(attention) is not None:
        yield "window"
    if attention is not None and attention.optional("softcap") is not None:
        yield "softcap"
    if cluster.last == "pick" and cluster.find("lut.tanh") is not None:
        yield "logit_softcap"
    if cluster.engines == NORM_ADD or is_aside(cluster):
        yield "norm_after"
    embedding = cluster.find("lut.embedding")
    if embedding is not None and (embedding.position is not None or cluster.find("lut.add") is not None):
        yield "positions"
    norm = cluster.find("lut.rms_norm")
    if cluster.engines[0] == "norm":
        if norm is None:
            yield "no_norm"
        elif {"centered", "bias"} & set(norm.attributes):
            yield "layer_norm"
    elif norm is not None and is_wide(cluster):
        yield "wide_norm"


def is_wide(cluster: Cluster) -> bool:
    """Whether engine heads norms all heads of a token together."""
    norm = cluster.find("lut.rms_norm")
    return norm is not None and int(norm.groups.value) < head_count(cluster)


def reach_of(attention: AttentionOp) -> int | None:
    """How many rows before its own a token sees at most; None where it is all that there are."""
    window, rows = attention.number("window"), int(attention.keys.type.shape[0])
    return None if window is None or window >= rows else int(window) - 1


def mode_problem(cluster: Cluster, config: AcceleratorConfig) -> str | None:
    """What a machine lacks for a cluster."""
    for mode in modes_of(cluster):
        if mode not in {*config.modes, *config.activations}:
            got = ", ".join(config.modes) or "none"
            return f"expected a machine with mode '{mode}', got {got}; add it to the modes of the lut.machine"
    return None
