"""What an engine is told: a cluster and its places in, the fields of each of its tasks (`TASK_BITS`) out.

Nothing of it stands in the IR: it follows from the ops in the cluster, its layout, buffers, rounds and regions.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from lutllm.bindings import ir
from lutllm.dialect import bits_of, exponent_of, fault
from lutllm.dialect.decoders.ops import activation_of
from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import (
    CACHE_BITS,
    HEAD_MODES,
    LEFT,
    MODE_BITS,
    X_BITS,
    AcceleratorConfig,
)
from lutllm.lowering.machine.engine import MODES
from lutllm.lowering.place.buffers import Buffer
from lutllm.lowering.place.clusters import Cluster, cache_kind, consumers, head_count, is_aside
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.modes import is_wide, reach_of
from lutllm.lowering.place.patterns import NORM_ADD
from lutllm.lowering.place.rounds import Round
from lutllm.lowering.place.space import Region

MOST_RIGHT = 127  # of a right shift of 7 bits: no value an engine shifts has as many
# Rescales of the two terms of a sum must be exact: not saturated before they are added, and shifts of 6 bits.
EXACT_SHIFTS = range(LEFT - 63, LEFT + 1)
NOTHING = LEFT - EXACT_SHIFTS[0]  # shifts a term of the residual stream away


def right_of(shift: int) -> int:
    """What hardware holds of a rescale by `shift` whose result then saturates."""
    return min(max(LEFT - shift, 0), MOST_RIGHT)


@dataclass(frozen=True)
class Places:
    """Where everything lies, by symbol; `region_of` an argument of the function, by its number."""

    config: AcceleratorConfig
    layouts: dict[str, Layout]
    buffers: dict[str, Buffer]
    regions: dict[str, Region]
    region_of: dict[int, str]

    def layout(self, cluster: Cluster) -> Layout:
        return cluster.named("layout", self.layouts)

    def buffer(self, value: ir.Value) -> Buffer:
        """Of the result of a cluster."""
        return Cluster(value.owner.opview).named("buffer", self.buffers)

    def base(self, value: ir.Value) -> int:
        return self.buffer(value).base

    def words(self, cluster: Cluster) -> int:
        """Vector words of one token of its result."""
        return self.layout(cluster).size // self.config.lanes

    def cache(self, cluster: Cluster) -> str:
        """The region of the KV cache that a cluster appends to."""
        number = ir.BlockArgument(cluster.cache).arg_number
        if number not in self.region_of:
            message = f"expected a lut.region at argument {number}, its KV cache, got none; run lut-allocate"
            raise fault(cluster.op, message)
        return self.region_of[number]


Fields = dict[str, int]


def linear(round_: Round) -> Fields:
    return {
        "mode": MODES.index(round_.row_source),
        "stages": round_.stages,
        "shift": round_.shift,
        "groups": round_.groups,
        "blocks": round_.blocks,
        "block_chunks": round_.block_chunks,
        "last_chunks": round_.last_chunks,
    }


def feed(places: Places, cluster: Cluster, round_: Round) -> Fields:
    """The first round that takes a value takes its words as they are written, of the last group those that are."""
    assert cluster.linear is not None
    x = cluster.linear.x
    later = [other for other in consumers(x) if other.op.operation != cluster.op.operation]
    words = places.layout(Cluster(x.owner.opview)).size // places.config.lanes
    words = max(1, words - (round_.groups - 1) * places.config.joined_words)
    takes = round_.first == 0 and all(cluster.op.operation.is_before_in_block(other.op.operation) for other in later)
    return {"base": places.base(x), "groups": round_.groups, "takes": words * takes}


def part(places: Places, round_: Round) -> Fields:
    """Which words of its row a sink gets from a round."""
    lanes = places.config.lanes
    return {"start": round_.first // lanes, "words": round_.outputs // lanes}


def store(places: Places, cluster: Cluster, round_: Round) -> Fields:
    return {"base": places.base(cluster.result), **part(places, round_)}


def residual(places: Places, cluster: Cluster, round_: Round) -> Fields:
    """The linear added to the stream; without a lut.add it takes the stream's place, or stays beside it."""
    add, end = cluster.find("lut.add"), cluster.find("lut.slice") or cluster.find("lut.requantize")
    rights = {"residual_right": NOTHING, "y_right": LEFT} if add is None else added_rights(cluster, add, end.y)
    aside = {"aside": 1, "base": places.base(cluster.result)} if is_aside(cluster) else {}
    return {**part(places, round_), **rights, "load": 0, **_of_modes(places, "residual", **aside)}


def _of_modes(places: Places, engine: str, **fields: int) -> Fields:
    """Fields that the modes of the machine add to those of an engine; 0 where nothing else is said."""
    added = (MODE_BITS.get(mode, {}).get(engine, {}) for mode in places.config.modes)
    return {name: fields.get(name, 0) for names in added for name in names}


def added_rights(cluster: Cluster, add: Any, added: ir.Value) -> Fields:
    """Shifts of a sum's terms: of the residual stream, and of what is `added` to it."""
    after, rights = exponent_of(add.y), {}
    stream = add.a if add.b == added else add.b
    for field, value in (("residual_right", stream), ("y_right", added)):
        shift = exponent_of(value) - after
        if shift not in EXACT_SHIFTS:
            raise CapacityError(
                f"{cluster.linear.name if cluster.linear else cluster.label}: expected exponents at most "
                f"{-EXACT_SHIFTS[0]} below and {EXACT_SHIFTS[-1]} "
                f"above that of the residual stream after it, {after}, got {shift + after}; quantize with closer "
                "exponents"
            )
        rights[field] = LEFT - shift
    return rights


def swiglu(places: Places, cluster: Cluster, round_: Round) -> Fields:
    op, known = cluster.find("lut.swiglu"), places.config.activations
    choice = {"activation": known.index(activation_of(op))} if len(known) > 1 else {}
    choice |= {"plain": int(op.up is None)} if "plain_mlp" in places.config.modes else {}
    return {
        "gate": 0 if op.up is None else places.base(op.gate),
        "base": places.base(cluster.result),
        **part(places, round_),
        "sigmoid_right": right_of(exponent_of(op.gate) + 12),
        "bits": bits_of(op.y),
        **choice,
    }


def pick(places: Places, cluster: Cluster, round_: Round) -> Fields:
    first, last = (round_.name == cluster.rounds[i] for i in (0, -1))
    cap, capped = cluster.find("lut.tanh"), dict[str, int]()
    if "logit_softcap" in places.config.modes:
        right = 0 if cap is None else right_of(exponent_of(cap.x) + 13)
        capped = {"capped": int(cap is not None), "sigmoid_right": right}
    words = part(places, round_)["words"]
    return {"words": words, "first": int(first), "last": int(last), "offset": round_.first, **capped}


def save(places: Places, cluster: Cluster, round_: Round) -> Fields:
    address = cluster.named("region", places.regions).address
    return {**part(places, round_), "row_words": places.words(cluster), "address": address}


SINKS: dict[str, Callable[[Places, Cluster, Round], Fields]] = {
    "store": store, "residual": residual, "swiglu": swiglu, "pick": pick, "save": save,
}  # fmt: skip


def norm(places: Places, cluster: Cluster) -> Fields:
    op, after = cluster.find("lut.rms_norm"), dict[str, int]()
    if "norm_after" in places.config.modes:
        added = cluster.engines == NORM_ADD
        after = {"after": int(added), "source": places.base(op.x) if added else 0}
    if "layer_norm" in places.config.modes:
        own = {} if op is None else op.attributes
        flags = {"centered": int("centered" in own), "biased": int("bias" in own)}
        after |= flags | {"channels": int(cluster.result.type.shape[-1])}
    if "no_norm" in places.config.modes:
        after["bare"] = int(op is None)
    return {
        "base": places.base(cluster.result),
        "words": places.words(cluster),
        "shift": 0 if op is None else int(op.shift.value),
        "bits": bits_of(cluster.result) if cluster.last == "norm" else X_BITS,
        "last": int(cluster.find("lut.last_token") is not None),
        "epsilon": 0 if op is None else int(op.epsilon.value),
        **after,
    }


def normed(places: Places, cluster: Cluster) -> Fields:
    """Of engine residual, which takes what engine norm gives."""
    add, norm_ = cluster.find("lut.add"), cluster.find("lut.rms_norm")
    rights = added_rights(cluster, add, norm_.y)
    return {"start": 0, "words": places.words(cluster), **rights, "load": 0, **_of_modes(places, "residual", normed=1)}


def embed(places: Places, cluster: Cluster) -> Fields:
    op = cluster.find("lut.embedding")
    address = cluster.named("region", places.regions).address
    of = {} if op.position is None else {"positions": 1, "first": int(op.number("offset"))}
    return {"words": places.words(cluster), "shift": int(op.shift.value), "vocabulary": int(op.vocabulary.value),
            "address": address, **_of_modes(places, "embed", **of)}  # fmt: skip


def embedded(places: Places, cluster: Cluster) -> Fields:
    """Of engine residual, which takes what engine embed gives."""
    add = cluster.find("lut.add")
    rights = {"residual_right": 0, "y_right": 0}
    if add is not None:
        rights = added_rights(cluster, add, cluster.find("lut.embedding").y)
    return {"start": 0, "words": places.words(cluster), **rights, "load": 1,
            **_of_modes(places, "residual", added=int(add is not None))}  # fmt: skip


def load(places: Places, cluster: Cluster) -> Fields:
    address = cluster.named("region", places.regions).address
    return {"base": places.base(cluster.result), "words": places.words(cluster), "address": address}


def rotations(config: AcceleratorConfig, words: int) -> Fields:
    """Of engine heads, when it loads RoPE's rows of this pass."""
    return dict.fromkeys(config.task_bits("heads"), 0) | {"mode": HEAD_MODES.index("rotations"), "head_words": words}


def heads(places: Places, cluster: Cluster) -> Fields:
    norm_, rope, rescale = (cluster.find(f"lut.{name}") for name in ("rms_norm", "rope", "rescale"))
    source = cluster.ops[0].operation.operands[0]
    mode = "query" if cluster.cache is None else {"k": "key", "v": "value"}[cache_kind(cluster)]
    words = places.layout(cluster).unit_size // places.config.lanes
    fields = {
        "mode": HEAD_MODES.index(mode),
        "norm": int(norm_ is not None),
        "rotate": int(rope is not None),
        "heads": head_count(cluster),
        "head_words": words,
        "shift": 0 if norm_ is None else int(norm_.shift.value),
        "wide": bits_of((rope or rescale).x),
        "epsilon": 0 if norm_ is None else int(norm_.epsilon.value),
        "source": places.base(source),
        "base": 0,
        "head_stride": 0,
        "address": 0,
        **({"whole": int(is_wide(cluster))} if "wide_norm" in places.config.modes else {}),
    }
    if cluster.cache is None:
        return fields | {"base": places.base(cluster.result)}
    return fields | {"head_stride": head_stride(places, cluster.cache, words),
                     "address": places.regions[places.cache(cluster)].address}  # fmt: skip


def head_stride(places: Places, cache: ir.Value, words: int) -> int:
    """Bytes of the cache of one key or value head."""
    return places.config.cache_stride(int(ir.RankedTensorType(cache.type).shape[0]), words)


def attention(places: Places, cluster: Cluster) -> Fields:
    op: Any = cluster.find("lut.attention")
    if bits_of(op.keys) != CACHE_BITS or bits_of(op.values) != CACHE_BITS:
        raise CapacityError(
            f"{cluster.label}: expected a KV cache of {CACHE_BITS} bits, got {bits_of(op.keys)}; quantize again"
        )
    items, reps = items_of(cluster, places.config)
    windowed, reach = "window" in places.config.modes, reach_of(op)
    layout = places.layout(cluster)
    keys, values = (places.cache(Cluster(value.owner.opview)) for value in (op.keys, op.values))
    return {
        "kv_heads": int(op.kv_heads.value) // places.config.attention_units,
        "items": items // places.config.attention_ways,
        "reps": reps,
        "beats": layout.unit_size // places.config.head_lanes,
        "shift": int(op.shift.value),
        "bits": bits_of(cluster.result),
        "q": places.base(op.query),
        "base": places.base(cluster.result),
        "head_stride": head_stride(places, op.keys, layout.unit_size // places.config.lanes),
        "keys": places.regions[keys].address,
        "values": places.regions[values].address,
        **({"reach": places.config.context if reach is None else reach} if windowed else {}),
        **({"softcap": int(op.number("softcap", 0))} if "softcap" in places.config.modes else {}),
    }


def items_of(cluster: Cluster, config: AcceleratorConfig) -> tuple[int, int]:
    """(items, reps): parts of a kv head's query heads, and how many each has."""
    op = cluster.find("lut.attention")
    group, reps = int(op.heads.value) // int(op.kv_heads.value), cluster.op.optional("reps")
    if reps is None or group % (int(reps.value) * config.attention_ways):
        got = "none" if reps is None else int(reps.value)
        ways = f" in {config.attention_ways} ways" if config.attention_ways > 1 else ""
        raise CapacityError(
            f"{cluster.label}: expected reps that divide a group of {group} query heads{ways}, got {got}; change it"
        )
    return group // int(reps.value), int(reps.value)


def order_of_items(kv_heads: int, items: int, config: AcceleratorConfig) -> np.ndarray:
    """Items, numbered kv head by kv head, in the order in which units of attention and their ways take them."""
    numbers = np.arange(kv_heads * items).reshape(-1, config.attention_units, items // config.attention_ways,
                                                  config.attention_ways)  # fmt: skip
    return numbers.swapaxes(1, 2).reshape(-1)


ALONE: dict[str, Callable[[Places, Cluster], Fields]] = {
    "norm": norm, "heads": heads, "attention": attention, "load": load, "embed": embed,
}  # fmt: skip
