"""Places checked: whether layouts, buffers, rounds and regions are those that the clusters which name them need.

A module that `Reader` can read in; what is wrong out, each with the op it is about.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from lutllm.errors import CapacityError
from lutllm.lowering.machine.accelerator import IMAGE_HEADER
from lutllm.lowering.place import layout_rules
from lutllm.lowering.place.buffers import words_of
from lutllm.lowering.place.clusters import Cluster, cache_kind, clusters_of, memory_of
from lutllm.lowering.place.contents import cache_bytes, cache_contents, contents_of, regions_of, round_contents
from lutllm.lowering.place.layouts import Layout
from lutllm.lowering.place.lut_allocate import HEADER
from lutllm.lowering.place.rounds import check_linear, stream_bytes
from lutllm.lowering.schedule.fields import Places
from lutllm.lowering.schedule.read import Reader

Problem = tuple[Any, str]


def problems(reader: Reader) -> Iterator[Problem]:
    """All of them, clusters first."""
    contents, of = _Contents(reader), layout_rules.layouts_of(reader.functions, reader.layouts)
    for function in reader.functions.values():
        places = reader.places(function)
        for cluster in clusters_of(function):
            layout = places.layout(cluster)
            found = layout_rules.problems(cluster, layout, of, reader.config)
            yield from ((cluster.op, problem) for problem in found)
            yield from ((cluster.op, problem) for problem in _buffer_problems(reader, cluster, layout))
            yield from ((cluster.op, problem) for problem in _round_problems(reader, cluster, layout))
            yield from ((cluster.op, problem) for problem in contents.of(places, cluster, layout))
    yield from _map_problems(reader)


def _buffer_problems(reader: Reader, cluster: Cluster, layout: Layout) -> Iterator[str]:
    memory = memory_of(cluster)
    if memory is None:
        return
    buffer, words = cluster.named("buffer", reader.buffers), words_of(memory, layout, reader.config)
    if (buffer.memory, buffer.words) != (memory, words):
        yield (
            f"expected a buffer of {words} words in memory {memory}, as engine {cluster.last} writes, got "
            f"{buffer.words} in {buffer.memory}; allocate again"
        )
    if memory == "r" and buffer.base != 0:
        yield (
            f"expected the residual stream at base 0 of memory r, where engines look for it, got {buffer.base}; "
            "allocate again"
        )


def _round_problems(reader: Reader, cluster: Cluster, layout: Layout) -> Iterator[str]:
    """Whether its rounds are its outputs, each once and in order, and the engine can compute them."""
    linear = cluster.linear
    if linear is None:
        return
    try:
        check_linear(linear, cluster.fed.named("layout", reader.layouts), reader.config.engine)
        rounds = [reader.round(cluster, name) for name in cluster.rounds]
    except CapacityError as problem:
        yield problem.message
        return
    end = 0
    for round_ in rounds:
        if round_.first != end:
            yield (
                f"expected round {round_.name} to begin at place {end}, where the one before ends, got "
                f"{round_.first}; allocate again"
            )
        if len(round_.w) != reader.config.engine.weight_ports:
            yield (
                f"expected {reader.config.engine.weight_ports} regions w in round {round_.name}, got "
                f"{len(round_.w)}; allocate again"
            )
        at = [reader.regions[name].address for name in round_.w if name in reader.regions]
        steps = {later - earlier for earlier, later in itertools.pairwise(at)}
        if len(steps) > 1 or min(steps, default=0) < 0:
            yield (
                f"expected the regions w of round {round_.name} each as far behind the one before as all others, got "
                f"distances of {', '.join(map(str, sorted(steps)))} bytes; allocate again"
            )
        end = round_.first + round_.outputs
    if end != layout.size:
        yield f"expected rounds of all {layout.size} places, got them up to {end}; allocate again"


class _Contents:
    """What each region holds, by its first user: others must want the same."""

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.known: dict[str, tuple[str, Cluster]] = {}

    def of(self, places: Places, cluster: Cluster, layout: Layout) -> Iterator[str]:
        """What is wrong with the regions of a cluster."""
        for name, kind, size, contents in self._regions(places, cluster, layout):
            region = self.reader.regions.get(name)
            if region is None or (region.kind, region.size) != (kind, size):
                got = "none" if region is None else f"{region.size} of kind {region.kind}"
                yield f"expected a region @{name} of {size} bytes of kind {kind}, got {got}; allocate again"
            known, other = self.known.setdefault(name, (contents, cluster))
            if known != contents:
                yield (
                    f"expected the same contents of @{name} as '{other.label}' has, got others; give it one of its own"
                )

    def _regions(self, places: Places, cluster: Cluster, layout: Layout) -> Iterator[tuple[str, str, int, str]]:
        """(name, kind, bytes, what decides the bytes) of every region that a cluster reads or writes."""
        for attribute, (kind, size) in regions_of(cluster, layout, self.reader.config).items():
            region = cluster.named(attribute, self.reader.regions)
            yield region.name, kind, size, contents_of(cluster, layout, attribute)
        if cluster.cache is not None:
            size = cache_bytes(cluster, layout, self.reader.config)
            yield places.cache(cluster), cache_kind(cluster), size, cache_contents(cluster, layout)
        linear = cluster.linear
        if linear is None:
            return
        for round_ in (self.reader.round(cluster, name) for name in cluster.rounds):
            sizes = stream_bytes(round_, self.reader.config.engine)
            contents = round_contents(linear, cluster.fed.named("layout", self.reader.layouts), layout)
            part = f"{contents} {round_.first} {round_.outputs}"
            yield round_.c, "c", sizes["c"], contents
            yield round_.q, "q", sizes["q"], part
            yield from ((name, "w", sizes["w"], f"{part} {port}") for port, name in enumerate(round_.w))


def _map_problems(reader: Reader) -> Iterator[Problem]:
    """Addresses that no port can begin at, or beyond the memory there is."""
    config, limit = reader.config, reader.machine.memory_bytes
    widths = {"p": config.p_bits, "e": config.e_bits, "k": config.kv_bits, "v": config.kv_bits}
    widths |= {"x": config.load_bits, "y": config.save_bits, "h": 64, "d": 64}
    widths |= {port: config.engine.port_bits[port] for port in "wcq"}
    for name, op in reader.region_ops.items():
        region = reader.regions[name]
        beat = widths[region.kind] // 8
        if region.address % beat:
            yield (
                op,
                f"expected an address of a multiple of {beat} bytes, a beat of its port, got {region.address}; "
                "allocate again",
            )
        if region.address + region.size > limit:
            yield (
                op,
                f"expected to end within {limit} bytes of memory, got {region.address + region.size}; allocate again",
            )
    header = reader.regions.get(HEADER)
    wanted = (0, "h", 8 * len(IMAGE_HEADER))
    got = None if header is None else (header.address, header.kind, header.size)
    if got != wanted:
        yield (
            next(iter(reader.functions.values())),
            (
                f"expected a region @{HEADER} at address 0 of {wanted[2]} bytes of kind h beside it, got "
                f"{'none' if got is None else f'{got[2]} at {got[0]} of kind {got[1]}'}; allocate again"
            ),
        )
