"""What layouts hardware can work with: a cluster, its layout and those of what it reads in, what is wrong out.

`lut-layout` chooses layouts that keep these rules; here those that stand in the IR are checked, whoever chose them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect import fault
from lutllm.lowering.machine.accelerator import AcceleratorConfig
from lutllm.lowering.place.clusters import Cluster, head_count, interleaved
from lutllm.lowering.place.layouts import PAD, Layout
from lutllm.passes.lut_outline_head import HEAD

LayoutOf = Callable[[ir.Value], Layout]  # of what a cluster takes from another, or from another function


def layouts_of(functions: Mapping[str, Any], layouts: Mapping[str, Layout]) -> LayoutOf:
    """Of what clusters take, by the names they give: of an argument of the head, that of the results that other
    functions left there."""

    def of(value: ir.Value) -> Layout:
        if not isinstance(value.owner, ir.Block):
            return Cluster(value.owner.opview).named("layout", layouts)
        left = [function for name, function in functions.items() if name != HEAD]
        results = [list(function.entry_block.operations)[-1].operation.operands for function in left]
        number = ir.BlockArgument(value).arg_number
        found = [of(operands[number]) for operands in results if number < len(operands)]
        if len(found) < len(left) or len(set(found)) != 1:
            got = ", ".join(layout.name for layout in found) or "none"
            raise fault(
                functions[HEAD],
                f"expected result {number} of every other function, laid out alike, for argument "
                f"{number} of @{HEAD}, got {got}; change what they return",
            )
        return found[0]

    return of


def problems(cluster: Cluster, layout: Layout, of: LayoutOf, config: AcceleratorConfig) -> Iterator[str]:
    """What hardware would not do with the result of `cluster` laid out like this."""
    channels = channels_of(cluster)
    if layout.channels != channels:
        yield f"expected a layout of {channels} channels, got one of {layout.channels}; name another"
        return
    if layout.size % config.lanes or layout.block_size % config.lanes:
        yield f"expected blocks of whole words of {config.lanes} places, got {layout.block_size}; change its pad"
    if layout.repeat and cluster.last != "pick":
        yield "expected padding of zeros, got the last channel repeated; change repeat"
    for value in like(cluster):
        if of(value) != layout:
            yield f"expected the layout of what it reads, {of(value).name}, got {layout.name}; use one for both"
    yield from _linear_problems(cluster, layout, of, config)
    yield from _head_problems(cluster, layout, of, config)


def channels_of(cluster: Cluster) -> int:
    """Of what the sink of a linear gets: a pick ends in a number."""
    return cluster.linear.outputs if cluster.linear is not None else int(cluster.result.type.shape[-1])


def like(cluster: Cluster) -> list[ir.Value]:
    """What a cluster reads from outside and gives on channel by channel: both have one layout."""
    same = {"lut.add": 2, "lut.swiglu": 2, "lut.rms_norm": 1, "lut.rescale": 1, "lut.rope": 1, "lut.last_token": 1}
    own = {result for op in cluster.ops for result in op.operation.results}
    found = [v for op in cluster.ops for v in list(op.operation.operands)[: same.get(op.operation.name, 0)]]
    return [value for value in found if value not in own]


def _linear_problems(cluster: Cluster, layout: Layout, of: LayoutOf, config: AcceleratorConfig) -> Iterator[str]:
    linear, lanes = cluster.linear, config.engine.lanes
    if linear is None:
        return
    inputs = of(linear.x)
    torn = inputs.torn
    if torn is not None:
        yield (
            f"expected input channels in pairs, got {torn} without {torn ^ 1}; quantize the linear before it with "
            "blocks of an "
            "even number of outputs, or change the layout of what it reads"
        )
    block = min(linear.scheme.G, linear.outputs)
    if layout.block != block:
        yield f"expected blocks of {block} channels, as its codebooks have, got {layout.block}; change the layout"
    if layout.block_size % lanes or layout.size % lanes:
        yield f"expected blocks of whole chunks of {lanes} places, got {layout.block_size}; change its pad"
    ids = np.arange(layout.channels)
    if cluster.last == "pick":
        right = layout.size >= ids.size and np.array_equal(layout.places[: ids.size], ids)
        if not right or (layout.places == PAD).any():
            yield "expected logits in order, then the last one repeated, got another layout; change it"


def _head_problems(cluster: Cluster, layout: Layout, of: LayoutOf, config: AcceleratorConfig) -> Iterator[str]:
    """Heads lie one after the other, each in whole beats, its pairs side by side where RoPE turns them."""
    attention = cluster.find("lut.attention")
    if attention is None and cluster.last != "heads":
        return
    heads = head_count(cluster) if attention is None else int(attention.heads.value)
    unit = layout.channels // heads
    if layout.unit != unit:
        yield f"expected units of {unit} channels, a head, got {layout.unit}; change the layout"
    if layout.unit_size % config.head_lanes:
        yield f"expected heads of whole beats of {config.head_lanes} places, got {layout.unit_size}; change the layout"
    count = min(layout.block, layout.channels) // layout.unit * layout.unit_size
    if layout.block < layout.channels and count != layout.block_size:
        yield f"expected heads without a gap, got {layout.block_size - count} places between blocks; change the layout"
    if layout.interleaved != (turned := interleaved(cluster, unit)):
        yield f"expected interleaved = {turned}, as RoPE wants heads, got {layout.interleaved}; change the layout"
    if attention is not None:
        if int(attention.kv_heads.value) % config.attention_units:
            yield (
                f"expected KV heads for each of {config.attention_units} attention units alike, got "
                f"{int(attention.kv_heads.value)}; change attention_units of the lut.machine"
            )
        group = int(attention.heads.value) // int(attention.kv_heads.value)
        if group % config.attention_ways:
            yield (
                f"expected query heads of a KV head for each of {config.attention_ways} attention ways alike, got "
                f"{group}; change attention_ways of the lut.machine"
            )
        if layout.size != heads * layout.unit_size:
            behind = layout.size - heads * layout.unit_size
            yield f"expected heads without padding behind them, got {behind} places; change its pad"
        turned, other = of(attention.query).interleaved, of(attention.keys).interleaved
        if turned != other:
            yield (
                f"expected queries and keys laid out alike, got interleaved = {turned} and {other}; turn both alike "
                "by RoPE, or none"
            )
        for value in (attention.query, attention.keys, attention.values):
            if (of(value).unit, of(value).unit_size) != (layout.unit, layout.unit_size):
                yield (
                    f"expected heads of {of(value).unit_size} places, as it reads, got {layout.unit_size}; use one size"
                )
