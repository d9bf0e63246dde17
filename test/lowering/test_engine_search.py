"""The centroid search unit against the interpreter: every shape of chains, ties, extremes, groups without a gap."""

import numpy as np
import pytest

from lutllm.interpreter import centroid_search
from lutllm.lowering.export.hw_to_arc import hw_to_arc
from lutllm.lowering.hardware.lib.circt import Design
from lutllm.lowering.hardware.linear.search import bpcsu, search_latency, swap_latency
from lutllm.lowering.machine.engine import EngineConfig
from lutllm.simulate import ArcSimulator

Group = tuple[np.ndarray, np.ndarray]  # codebook [S, centroids, 2], pairs [tokens, 2]

# (chains, length of a chain, additive stages, metric)
SHAPES = [
    (1, 1, 1, "chebyshev"),
    (1, 6, 1, "l2"),
    (4, 1, 2, "chebyshev"),
    (3, 5, 2, "l2"),
    (5, 2, 3, "chebyshev"),
    (4, 4, 3, "l2"),
    (2, 3, 1, "chebyshev"),
]


def unit(chains: int, length: int, stages: int, metric: str) -> tuple[EngineConfig, ArcSimulator]:
    config = EngineConfig(
        chains=chains, centroids=chains * length, act_stages=stages, metric=metric,
        port_bits={"w": 512, "c": 32, "q": 512},
    )  # fmt: skip
    design = Design("arc")
    simulator = ArcSimulator(hw_to_arc(design, bpcsu(design, config)), optimize=0)
    simulator.randomize(3)
    if simulator.layout.has_port("rst"):  # the smallest units hold nothing that needs it
        simulator.reset()
    return config, simulator


def joined(values: np.ndarray, bits: int) -> int:
    """Values packed at `bits` each, the first lowest."""
    return sum((int(v) & ((1 << bits) - 1)) << i * bits for i, v in enumerate(values.reshape(-1)))


def load_words(config: EngineConfig, codebook: np.ndarray) -> list[int]:
    """What `load_data` takes: for each step the centroid of every stage and chain, the last column's first."""
    by_column = codebook.reshape(config.act_stages, config.chains, config.chain_length, 2)
    return [joined(by_column[:, :, column], config.operand_bits) for column in reversed(range(config.chain_length))]


def fields(config: EngineConfig, operand: int) -> tuple[list[int], list[list[int]]]:
    """(indices, values) of every stage."""
    indices, values, b = [], [], config.operand_bits
    for s in range(config.act_stages):
        word = operand >> s * config.operand_width
        indices.append(word & ((1 << config.index_bits) - 1))
        raw = [(word >> config.index_bits + i * b) & ((1 << b) - 1) for i in range(2)]
        values.append([v - (1 << b) if v >> (b - 1) else v for v in raw])
    return indices, values


def run(config: EngineConfig, top: ArcSimulator, groups: list[Group], exact: bool = False) -> tuple[list[int], int]:
    """Feed the groups as the front end does: a group's centroids load while the one before it is searched. Returns
    what came out, and the cycles from the first pair to the last."""
    waiting, loading = list(groups), load_words(config, groups[0][0])
    feed: list[tuple[int, bool]] = []  # pairs that may enter, and whether they swap the centroids
    flying: list[int] = []  # the cycles of the results
    free = -1  # when the next group's centroids may come
    results: list[int] = []
    entered: list[int] = []
    for cycle in range(5000):
        swap = False
        if cycle == free and waiting:
            loading = load_words(config, waiting[0][0])
        loaded = len(loading) == 1
        top.poke("load", bool(loading))
        if loading:
            top.poke("load_data", loading.pop(0))
        if feed:
            pair, swap = feed.pop(0)
            top.poke("pair", pair)
            flying.append(cycle + search_latency(config))
            entered.append(cycle)
            free = cycle + swap_latency(config) if swap else free
        top.poke("swap", swap)
        top.poke("exact", exact)
        top.evaluate()
        if flying and flying[0] == cycle:
            results.append(top.peek("operand"))
            flying.pop(0)
        top.cycle()
        if loaded:
            pairs = [joined(pair, config.operand_bits) for pair in waiting.pop(0)[1]]
            feed += [(pair, i == 0) for i, pair in enumerate(pairs)]
        if not (waiting or loading or feed or flying):
            break
    return results, entered[-1] - entered[0] + 1


def expected(config: EngineConfig, groups: list[Group]) -> list[tuple[list[int], list[list[int]]]]:
    found = []
    for codebook, pairs in groups:
        indices = centroid_search(pairs, codebook[None], config.metric)[:, 0]  # [tokens, S]
        found += [(row.tolist(), [codebook[s, a].tolist() for s, a in enumerate(row)]) for row in indices]
    return found


def random_groups(config: EngineConfig, seed: int, sizes: list[int], low: int, high: int) -> list[Group]:
    rng = np.random.default_rng(seed)
    shape = (config.act_stages, config.centroids, 2)
    return [(rng.integers(low, high, shape), rng.integers(low, high, (size, 2))) for size in sizes]


@pytest.mark.parametrize("shape", SHAPES, ids=["-".join(map(str, shape)) for shape in SHAPES])
def test_equals_the_interpreter(shape: tuple[int, int, int, str]) -> None:
    config, top = unit(*shape)
    half, long = 1 << (config.operand_bits - 1), search_latency(config) + config.chain_length + 2
    extremes = random_groups(config, 5, [9], 0, 2)
    extremes = [(codebook * (2 * half - 1) - half, pairs * (2 * half - 1) - half) for codebook, pairs in extremes]
    cases = {
        "all values": random_groups(config, 1, [1, 3, long, 2, 12], -half, half),
        "ties": random_groups(config, 2, [20, long, 5], -2, 3),
        "extremes": extremes,
    }
    for what, groups in cases.items():
        results, _ = run(config, top, groups)
        got = [fields(config, operand) for operand in results]
        assert got == expected(config, groups), what


def test_a_pair_enters_every_cycle_across_groups() -> None:
    """Groups that are long enough to load the next centroids meanwhile follow each other without a gap."""
    config, top = unit(3, 5, 2, "chebyshev")
    long = search_latency(config) + config.chain_length + 2
    groups = random_groups(config, 7, [long] * 4, -500, 500)
    results, cycles = run(config, top, groups)
    assert cycles == 4 * long
    assert [fields(config, operand) for operand in results] == expected(config, groups)


def test_ties_go_to_the_lower_index_within_and_between_chains() -> None:
    config, top = unit(3, 4, 1, "chebyshev")
    for first, second in ((0, 1), (3, 4), (2, 11), (7, 8)):
        codebook = np.full((1, 12, 2), 1000)
        codebook[0, first], codebook[0, second] = (5, -3), (-5, 3)  # both at distance 5 of the origin
        (operand,), _ = run(config, top, [(codebook, np.zeros((1, 2), np.int64))])
        assert fields(config, operand) == ([first], [[5, -3]])


def test_exact_mode_passes_the_pair_and_zeroes_later_stages() -> None:
    config, top = unit(3, 5, 2, "chebyshev")
    groups = random_groups(config, 9, [6], -(1 << 15), 1 << 15)
    results, _ = run(config, top, groups, exact=True)
    assert [fields(config, operand)[1] for operand in results] == [[x.tolist(), [0, 0]] for x in groups[0][1]]
