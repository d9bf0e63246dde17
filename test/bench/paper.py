"""LUT-LLM's own point on this generator: decode cycles of a decoder layer of Qwen3-1.7B, 64 x 16 tables streamed.

Twice: with ports of 512 bits, as its authors assume, and of 256 bits, as the device's manual says (AMD PG313). Printed
are, in cycles a layer:
  stored   predicted for this generator with stored tables. A row of a table takes a whole beat of a pair's port here,
           where the authors' kernel packs eight (four) rows into one: that is the whole difference to `packed`.
  packed   arithmetic, no schedule: the longest of weights, centroids and lookups of each round, rows packed
  built    predicted for this generator with rows built from codebooks: the same integers, no tables
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lutllm.cost.planning import Planner
from lutllm.cost.predicted import predicted
from lutllm.lowering.schedule.data import Plan
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import hollow_model
from lutllm.run.decoder_bench import SHAPES
from lutllm.scheme import PAPER
from lutllm.simulate.transactions.passes import Pass

HERE, MODEL, PUBLISHED, LAYERS = Path(__file__).parent, "qwen3-1.7b", 45_600, 28
SCHEME = PAPER.with_(table_bits=4, G=512)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kv", type=int, default=32, help="tokens a token sees (32)")
    kv = parser.parse_args().kv
    with tempfile.TemporaryDirectory() as folder:
        for bits in (512, 256):
            target = Path(folder) / "paper.toml"
            target.write_text((HERE / "paper.toml").read_text().replace("= 512, ", f"= {bits}, "))
            found = {}
            for name, source in (("stored", "stored_table"), ("built", "built_row")):
                plan = planned(str(target), source, kv)
                found[name] = layer_cycles(plan, kv)
                if source == "stored_table":
                    found["packed"] = packed(plan)
            print(f"16 weight ports of {bits} bits (estimates; {PUBLISHED:,} published):")
            for name, cycles in found.items():
                print(f"  {name:7} {cycles:9,.0f}  {cycles / PUBLISHED - 1:+.1%}")


def planned(target: str, source: str, kv: int) -> Plan:
    model = hollow_model(float_decoder(**SHAPES[MODEL]), SCHEME, positions=kv + 2)
    if source == "stored_table":
        for linear in model.linears.values():  # only their shapes are read
            shape = (linear.pairs, linear.blocks, SCHEME.R, SCHEME.S, SCHEME.c_a, SCHEME.c_w)
            linear.tables = np.broadcast_to(np.int8(0), shape)
    return Planner(model, kv + 2).plan(target, source)


def layer_cycles(plan: Plan, kv: int) -> float:
    """Of a decode step that sees `kv` tokens, without LM head."""
    records = predicted(plan, [Pass("decode", 1, kv - 1), Pass("decode", 1, kv)])
    ends = [max(record.end for record in records if record.turn == turn) for turn in (0, 1)]
    return (ends[1] - ends[0]) / LAYERS


def packed(plan: Plan) -> float:
    """Of the linears of a layer, were rows of tables packed."""
    engine, cycles = plan.config.engine, 0
    table = -(-engine.centroids * engine.row_entries * engine.table_bits // engine.unit_bits)
    centroids = (1 + engine.chain_length) * engine.word_beats("c")
    for task in plan.program("decode"):
        if task.engine == "linear":
            f = task.fields
            chunks = (f["blocks"] - 1) * f["block_chunks"] + f["last_chunks"]
            cycles += f["groups"] * max(f["blocks"] * table + chunks * engine.codes_units, centroids, chunks)
    return cycles / LAYERS


if __name__ == "__main__":
    main()
