"""BPCSU, the bandwidth-aware parallel centroid search unit: pairs in, nearest centroids out.

A pair walks past `chain_length` columns of `chains` distance units, one column a cycle; each unit compares it with
its centroid and hands the better of two on. A tree picks among the chains. Stage s searches the residual of stage
s-1. New centroids shift into shadow registers while old ones are in use; each column swaps when the first pair of
the new group reaches it. One pair enters a cycle and never stalls: the caller has room for the result.
"""

from lutllm.lowering.hardware.lib.circt import Design, Module, Signal, const, delay, mux, pack
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

    The pair (`value_bits` a channel) and `swap` come a cycle (two for l2) before `best_*`. Ties keep the earlier,
    lower centroid. The `first` unit of a chain has no best to improve on.
    """
    operand, metric = 2 * config.operand_bits, config.metric
    bits = _distance_bits(value_bits, metric)
    position_bits = config.index_bits

    def body(m: Module) -> dict[str, Signal]:
        shadow = m.reg(m["load_data"], "shadow", enable=m["load"])
        active = m.state(operand, "centroid")
        centroid = mux(m["swap"], shadow, active.signal)
        active.set(shadow, m["swap"])
        distance = _distance(m, m["pair"], centroid, value_bits, metric)
        for _ in range(DISTANCE_LATENCY[metric] - 1):
            centroid = m.reg(centroid, "centroid_used")
        centroid = m.reg(centroid, "centroid_used")
        if first:
            best, value, position = distance, centroid, m["position"]
        else:
            better = distance.ult(m["best_distance"]).named("better")
            best = mux(better, distance, m["best_distance"])
            value = mux(better, centroid, m["best_value"])
            position = mux(better, m["position"], m["best_position"])
        return dict(
            load_out=shadow,
            distance=m.reg(best, "best"),
            value=m.reg(value, "best_value_q"),
            position=m.reg(position, "best_position_q"),
        )

    inputs = {"load": 1, "load_data": operand, "swap": 1, "pair": 2 * value_bits, "position": position_bits}
    if not first:
        inputs |= {"best_distance": bits, "best_value": operand, "best_position": position_bits}
    outputs = {"load_out": operand, "distance": bits, "value": operand, "position": position_bits}
    name = f"distance_unit_{metric}_{value_bits}" + ("_first" if first else "")
    return design.module(name, inputs, outputs, body, reset=False)


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

    In: `load`, `load_data` (a centroid for each chain), `swap`, `pair`. Out: `load_out` is unused by callers; `value`
    and `index` of the nearest centroid, `_stage_latency` cycles after the pair.
    """
    value_bits = config.operand_bits + stage
    operand, chains, length = 2 * config.operand_bits, config.chains, config.chain_length
    first = distance_unit(design, config, value_bits, first=True)
    later = distance_unit(design, config, value_bits, first=False) if length > 1 else first

    def body(m: Module) -> dict[str, Signal]:
        words = m["load_data"].chunks(operand)
        pair, swap = m["pair"], m["swap"]
        best: list[dict[str, Signal]] = []
        for column in range(length):
            made = []
            for chain in range(chains):
                # The tie rule needs indices in order along a chain: unit `column` of `chain` holds centroid
                # chain * length + column.
                position = const(chain * length + column, config.index_bits)
                inputs = dict(load=m["load"], load_data=words[chain], swap=swap, pair=pair, position=position)
                if column:
                    inputs |= {f"best_{key}": best[chain][key] for key in WINNER}
                made.append(m.instance(later if column else first, f"unit_{chain}_{column}", **inputs))
            best, words = made, [unit["load_out"] for unit in made]
            if column + 1 < length:
                pair, swap = m.reg(pair, f"pair_{column}"), m.reg(swap, f"swap_{column}", reset=0)
        winner = _tournament(m, best)
        return dict(value=winner["value"], index=winner["position"])

    inputs = {"load": 1, "load_data": chains * operand, "swap": 1, "pair": 2 * value_bits}
    outputs = {"value": operand, "index": config.index_bits}
    return design.module(f"search_stage_{stage}", inputs, outputs, body, reset=length > 1)


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
    latency, operand = _stage_latency(config), 2 * config.operand_bits
    stages = [search_stage(design, config, s) for s in range(config.act_stages)]
    passes = "exact_row" in config.row_sources

    def body(m: Module) -> dict[str, Signal]:
        loads = m["load_data"].chunks(config.chains * operand)
        pair, swap, exact = m["pair"], m["swap"], m["exact"] if passes else None
        found: list[Signal] = []
        for s, module in enumerate(stages):
            best = m.instance(module, f"stage_{s}", load=m["load"], load_data=loads[s], swap=swap, pair=pair)
            late_pair, value = delay(m, pair, latency, f"pair_{s}"), best["value"]
            if exact is not None:
                exact = delay(m, exact, latency, f"exact_{s}")
                value = mux(exact, late_pair if s == 0 else const(0, operand), value)
            found = [delay(m, earlier, latency, f"operand_{i}") for i, earlier in enumerate(found)]
            kept = [best["index"]] if config.has_tables else []
            found.append(pack([*kept, value] if config.builds_rows else kept))
            if s + 1 < len(stages):
                pair, swap = _residual(late_pair, best["value"]), delay(m, swap, latency, f"swap_{s}", reset=0)
        return dict(operand=pack(found))

    inputs = {"load": 1, "load_data": len(stages) * config.chains * operand, "swap": 1, "pair": operand}
    inputs |= {"exact": 1} if passes else {}
    holds_swap = len(stages) > 1 or config.chain_length > 1
    return design.module("bpcsu", inputs, {"operand": len(stages) * config.operand_width}, body, reset=holds_swap)


def _residual(pair: Signal, value: Signal) -> Signal:
    """pair - value, a bit wider a channel."""
    wide, narrow = pair.width // 2, value.width // 2
    return pack(
        [
            pair[i * wide : (i + 1) * wide].sext(wide + 1) - value[i * narrow : (i + 1) * narrow].sext(wide + 1)
            for i in range(2)
        ]
    )
