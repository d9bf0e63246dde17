"""What a cluster keeps in external memory: the cluster and its layout in; of each region kind, size and what decides
its bytes out. Clusters that want the same of a region can share it."""

from __future__ import annotations

from typing import Any

from lutllm.bindings import ir
from lutllm.dialect import fixed_of
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, Linear, head_count
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.patterns import NORM_ADD
from lutllm.passes.walk import attributes_text

# What a cluster that ends in an engine names besides its layout, by attribute, and the kind of its region.
REGIONS = {
    "norm": {"parameters": "p"},
    "heads": {"parameters": "p", "region": "p"},  # its words of stream p, and RoPE's rows
    "attention": {"parameters": "p"},
    "swiglu": {"parameters": "p"},
    "residual": {"region": "e"},  # of an embedding
    "load": {"region": "x"},
    "save": {"region": "y"},
}


def region_kinds(cluster: Cluster) -> dict[str, str]:
    """The kind of every region that a cluster names, by attribute; rounds and KV caches apart."""
    if cluster.engines == NORM_ADD:
        return REGIONS["norm"]
    found, of = REGIONS.get(cluster.last, {}), {"heads": "lut.rope", "residual": "lut.embedding"}.get(cluster.last)
    return {
        name: kind for name, kind in found.items() if name != "region" or of is None or cluster.find(of) is not None
    }


def regions_of(cluster: Cluster, layout: Layout, config: AcceleratorConfig) -> dict[str, tuple[str, int]]:
    """(kind, bytes) of each of them."""
    return {name: (kind, _bytes(cluster, layout, config, name)) for name, kind in region_kinds(cluster).items()}


def _bytes(cluster: Cluster, layout: Layout, config: AcceleratorConfig, attribute: str) -> int:
    words, head_words = layout.size // config.lanes, layout.unit_size // config.lanes
    embedding, attention, rope = (cluster.find(f"lut.{name}") for name in ("embedding", "attention", "rope"))
    if embedding is not None:
        return int(embedding.vocabulary.value) * (1 + words) * config.lanes
    if cluster.last in ("load", "save"):
        return config.context * words * (config.load_bits if cluster.last == "load" else config.save_bits) // 8
    if attribute == "region":
        return min(int(rope.positions.value), config.context) * head_words * config.p_bits // 8
    if attention is not None:
        return int(attention.heads.value) * (1 + head_words) * config.p_bits // 8
    norm = cluster.find("lut.rms_norm")
    if norm is not None and "bias" in norm.attributes:
        words *= 2
    return (head_count(cluster) * head_words if cluster.last == "heads" else words) * config.p_bits // 8


def cache_bytes(cluster: Cluster, layout: Layout, config: AcceleratorConfig) -> int:
    """Of the KV cache that a cluster appends to."""
    assert cluster.cache is not None
    context = int(cluster.cache.type.shape[0])
    return head_count(cluster) * config.cache_stride(context, layout.unit_size // config.lanes)


def contents_of(cluster: Cluster, layout: Layout, attribute: str) -> str:
    """What decides the bytes of the region of an attribute: the ops, but for the number of tokens, and the layout."""
    if cluster.last == "load":
        return f"argument {ir.BlockArgument(cluster.yielded).arg_number} {layout}"
    if cluster.last == "save":
        returned = [use.operand_number for use in cluster.result.uses if use.owner.operation.name == "func.return"]
        return f"result {min(returned, default=None)} {layout}"
    if cluster.last == "heads" and attribute == "region":
        rope: Any = cluster.find("lut.rope")
        tables = rope.cosines.value, rope.sines.value, int(rope.positions.value)
        return f"{tables} {layout.unit} {layout.unit_size} {layout.interleaved}"
    parts = []
    for op in cluster.ops:
        values = [*op.operation.operands, *op.operation.results]
        parts.append((op.operation.name, attributes_text(op.operation), [fixed_of(value.type) for value in values]))
    return f"{parts} {layout} {cluster.op.optional('reps')}"


def cache_contents(cluster: Cluster, layout: Layout) -> str:
    cache = ir.BlockArgument(cluster.cache)
    return f"argument {cache.arg_number} {cache.type} {layout}"


def round_contents(linear: Linear, inputs: Layout, outputs: Layout) -> str:
    """What decides the bytes of a linear's rounds, besides which of its outputs they compute."""
    channels = linear.channels if isinstance(linear.channels, range) else linear.channels.tolist()
    parts = linear.name, linear.codebook, linear.row_source, linear.scheme, linear.shift, channels
    return f"{parts} {inputs} {outputs}"
