"""How many bytes a cluster keeps in external memory: the cluster and its layout in, kind and size of each region out."""

from __future__ import annotations

from lutllm.lowering.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, head_count
from lutllm.lowering.place.layouts import Layout

# What a cluster that ends in an engine names besides its layout, by attribute, and the kind of its region.
REGIONS = {
    "norm": {"parameters": "p"},
    "heads": {"parameters": "p", "region": "p"},  # its words of stream p, and RoPE's rows where it turns
    "attention": {"parameters": "p"},
    "swiglu": {"parameters": "p"},
    "residual": {"region": "e"},  # of an embedding
    "load": {"region": "x"},
    "save": {"region": "y"},
}


def regions_of(cluster: Cluster, layout: Layout, config: AcceleratorConfig) -> dict[str, tuple[str, int]]:
    """(kind, bytes) of the regions that a cluster names, by attribute; rounds and KV caches apart."""
    sizes = {attribute: _bytes(cluster, layout, config, attribute) for attribute in REGIONS.get(cluster.last, {})}
    return {name: (REGIONS[cluster.last][name], size) for name, size in sizes.items() if size}


def _bytes(cluster: Cluster, layout: Layout, config: AcceleratorConfig, attribute: str) -> int:
    words, head_words = layout.size // config.lanes, layout.unit_size // config.lanes
    embedding, attention, rope = (cluster.find(f"lut.{name}") for name in ("embedding", "attention", "rope"))
    if cluster.last == "residual":
        return 0 if embedding is None else int(embedding.vocabulary.value) * (1 + words) * config.lanes
    if cluster.last in ("load", "save"):
        return config.context * words * (config.load_bits if cluster.last == "load" else config.save_bits) // 8
    if attribute == "region":
        positions = 0 if rope is None else min(int(rope.positions.value), config.context)
        return positions * head_words * config.p_bits // 8
    if attention is not None:
        return int(attention.heads.value) * (1 + head_words) * config.p_bits // 8
    return (head_count(cluster) * head_words if cluster.last == "heads" else words) * config.p_bits // 8


def cache_bytes(cluster: Cluster, layout: Layout, config: AcceleratorConfig) -> int:
    """Of the KV cache that a cluster appends to."""
    assert cluster.cache is not None
    return int(cluster.cache.type.shape[0]) * head_count(cluster) * (layout.unit_size // config.lanes) * config.lanes
