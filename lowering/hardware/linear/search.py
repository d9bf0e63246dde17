"""BPCSU, the bandwidth-aware parallel centroid search unit: pairs in, nearest centroids out.

A pair walks past `chain_length` columns of `chains` distance units, one column a cycle; each unit compares it with
its centroid and hands the better of two on. A tree picks among the chains. Stage s searches the residual of stage
s-1. New centroids shift into shadow registers while old ones are in use; each column swaps when the first pair of
the new group reaches it. One pair enters a cycle and never stalls: the caller has room for the result.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.signal import Signal, aligned, const, mux, pack
from lutllm.lowering.machine.engine import EngineConfig

WINNER = ("distance", "value", "position")  # what a unit hands on
DISTANCE_LATENCY = {"chebyshev": 1, "l2": 2}


def search_latency(config: EngineConfig) -> int:
    """Cycles from a pair at the input to its result at the output; without a search, of the register in its place."""
    return config.act_stages * _stage_latency(config) if config.searches else 1


def _stage_latency(config: EngineConfig) -> int:
    return DISTANCE_LATENCY[config.metric] + config.chain_length + (config.chains - 1).bit_length()


def swap_latency(config: EngineConfig) -> int:
    """Cycles from the first pair of a group at the input until centroids may be shifted in again: its swap is then in
    the last column. A word shifted in beside that swap leaves what is swapped as it was."""
    return max(1, (config.act_stages - 1) * _stage_latency(config) + config.chain_length - 1)


def _distance_bits(value_bits: int, metric: str) -> int:
    return value_bits + 1 if metric == "chebyshev" else 2 * (value_bits + 1) + 1


def distance_unit(design: Design, config: EngineConfig, value_bits: int, *, first: bool) -> str:
    """One processing element: holds a centroid and its successor, improves on the best so far.

    Ties keep the earlier, lower centroid. The `first` unit of a chain has no best to improve on.
    """
    operand, metric = 2 * config.operand_bits, config.metric
    bits = _distance_bits(value_bits, metric)

    def body(m: Module) -> dict[str, Signal]:
        shadow = m.reg(m["load_data"], "shadow", enable=m["load"])
        active = m.state(operand, "centroid")
        centroid = mux(m["swap"], shadow, active.signal.steady())
        active.set(shadow, m["swap"])
        distance, centroid = aligned(_distance(m, m["pair"], centroid, value_bits, metric), centroid)
        best, value, position = distance, centroid, m["position"]
        if not first:
            better = distance.ult(m["best_distance"]).named("better")
            best = mux(better, distance, m["best_distance"])
            value = mux(better, centroid, m["best_value"])
            position = mux(better, position, m["best_position"])
        best, value = m.reg(best, "best"), m.reg(value, "best_value_q")
        return dict(load_out=shadow, distance=best, value=value, position=m.reg(position, "best_position_q"))

    inputs = {"pair": 2 * value_bits, "load": 1, "load_data": operand, "swap": 1, "position": config.index_bits}
    if not first:
        inputs |= {"best_distance": bits, "best_value": operand, "best_position": config.index_bits}
    outputs = {"load_out": operand, "distance": bits, "value": operand, "position": config.index_bits}
    name = f"distance_unit_{metric}_{value_bits}" + ("_first" if first else "")
    return design.pipeline(name, inputs, outputs, body, steady=("load", "load_data", "position"))


def _distance(m: Module, pair: Signal, centroid: Signal, value_bits: int, metric: str) -> Signal:
    """The registered distance of two pairs: max |d| (chebyshev) or the sum of d^2 (l2)."""
    wide = value_bits + 1
    half = centroid.width // 2
    differences = [
        pair[i * value_bits : (i + 1) * value_bits].sext(wide) - centroid[i * half : (i + 1) * half].sext(wide)
        for i in range(2)
    ]
    if metric == "chebyshev":
        absolute = [mux(d[wide - 1], const(0, wide) - d, d).named(f"absolute_{i}") for i, d in enumerate(differences)]
        return m.reg(mux(absolute[0].ult(absolute[1]), absolute[1], absolute[0]), "distance")
    squares = [m.reg(d.sext(2 * wide) * d.sext(2 * wide), f"square_{i}") for i, d in enumerate(differences)]
    return m.reg(squares[0].zext(2 * wide + 1) + squares[1].zext(2 * wide + 1), "distance")


def search_stage(design: Design, config: EngineConfig, stage: int) -> str:
    """The columns and the tree of one additive stage.

    In: `load`, `load_data` (a centroid for each chain), `swap`, `pair`. Out: `value`, `index` of the nearest centroid.
    """
    value_bits = config.operand_bits + stage
    operand, chains, length = 2 * config.operand_bits, config.chains, config.chain_length
    first = distance_unit(design, config, value_bits, first=True)
    later = distance_unit(design, config, value_bits, first=False) if length > 1 else first

    def body(m: Module) -> dict[str, Signal]:
        words = m["load_data"].chunks(operand)
        best: list[dict[str, Signal]] = []
        for column in range(length):
            made = []
            for chain in range(chains):
                # The tie rule needs indices in order along a chain: unit `column` of `chain` holds centroid
                # chain * length + column.
                position = const(chain * length + column, config.index_bits)
                inputs = dict(load=m["load"], load_data=words[chain], swap=m["swap"], pair=m["pair"], position=position)
                if column:
                    inputs |= {f"best_{key}": best[chain][key] for key in WINNER}
                made.append(m.instance(later if column else first, f"unit_{chain}_{column}", **inputs))
            best, words = [dict(unit) for unit in made], [unit["load_out"] for unit in made]
        winner = _tournament(m, best)
        return dict(value=winner["value"], index=winner["position"])

    inputs = {"pair": 2 * value_bits, "load": 1, "load_data": chains * operand, "swap": 1}
    return design.pipeline(
        f"search_stage_{stage}", inputs, {"value": operand, "index": config.index_bits}, body, reset=length > 1,
        steady=("load", "load_data"), valid=["swap"] if length > 1 else [], latency=_stage_latency(config),
    )  # fmt: skip


def _tournament(m: Module, best: list[dict[str, Signal]]) -> dict[str, Signal]:
    """Registered tree of pairwise minima; the lower chain wins a tie."""
    level = 0
    while len(best) > 1:
        winners = []
        for i in range(0, len(best), 2):
            pair = best[i : i + 2]
            chosen = pair[0]
            if len(pair) == 2:
                second = pair[1]["distance"].ult(pair[0]["distance"])
                chosen = {key: mux(second, pair[1][key], pair[0][key]) for key in WINNER}
            winners.append({key: m.reg(chosen[key], f"{key}_level{level}_{i // 2}") for key in WINNER})
        best, level = winners, level + 1
    return best[0]


def bpcsu(design: Design, config: EngineConfig) -> str:
    """The search unit of one pair: `act_stages` stages in a row.

    In: `load` with `load_data` (stage-major, a centroid for each chain), `swap` with the first pair of a group,
    `pair`, and, with row source exact_row, `exact` (pass the pair itself). Out, `search_latency` cycles later:
    `operand`, for each stage {index, value 0, value 1} as far as the row sources need them; in exact mode the values of
    stage 0 are the pair's and the others zero.
    """
    operand, stages = 2 * config.operand_bits, [search_stage(design, config, s) for s in range(config.act_stages)]
    passes = "exact_row" in config.row_sources

    def body(m: Module) -> dict[str, Signal]:
        loads = m["load_data"].chunks(config.chains * operand)
        pair, found = m["pair"], list[Signal]()
        for s, module in enumerate(stages):
            best = m.instance(module, f"stage_{s}", load=m["load"], load_data=loads[s], swap=m["swap"], pair=pair)
            late, value = aligned(pair, best["value"])
            kept = [best["index"]] if config.has_tables else []
            chosen = mux(m["exact"], const(0, operand) if s else late, value) if passes else value
            found += [*kept, chosen] if config.builds_rows else kept
            pair = _residual(late, value) if s + 1 < len(stages) else pair
        return dict(operand=pack(found))

    inputs = {"pair": operand, "load": 1, "load_data": len(stages) * config.chains * operand, "swap": 1}
    inputs |= {"exact": 1} if passes else {}
    holds_swap, outputs = len(stages) > 1 or config.chain_length > 1, {"operand": len(stages) * config.operand_width}
    return design.pipeline(
        "bpcsu", inputs, outputs, body, reset=holds_swap, steady=("load", "load_data"),
        valid=["swap"] if holds_swap else [], latency=search_latency(config),
    )  # fmt: skip


def _residual(pair: Signal, value: Signal) -> Signal:
    """pair - value, a bit wider a channel."""
    wide, narrow = pair.width // 2, value.width // 2
    return pack(
        [
            pair[i * wide : (i + 1) * wide].sext(wide + 1) - value[i * narrow : (i + 1) * narrow].sext(wide + 1)
            for i in range(2)
        ]
    )
