"""The whole accelerator on a model: tokens beside the golden model's, cycles by engine, utilization, simulation speed.

    python test/bench/accelerator.py MODEL [--prompt 8] [--tokens 8] [--simulator arc,verilator] [--json FILE]

MODEL is a directory of `lutllm quantize`, or random integers in the shape of a model (`--random`). The
prompt is random token ids, or a text. Cycles are exact; seconds and cycles/s are this machine's, now.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import Any

import numpy as np

from lutllm import store
from lutllm.accelerator.hardware import Answer, Hardware, build
from lutllm.compiler.model import simulated_records
from lutllm.cost.predicted import predicted, run_cycles
from lutllm.progress import note
from lutllm.quantized.pretrained import QuantizedModel
from lutllm.quantized.resolve import quantized_model
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.quantizer.random.model import random_model
from lutllm.report import text as report
from lutllm.report.schedule_page import schedule_json
from lutllm.run.decoder_bench import SHAPES
from lutllm.run.prompts import prompt_ids
from lutllm.scheme import EXACT
from lutllm.simulate.transactions.passes import Pass, run_passes


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", help="directory of lutllm quantize, or a float model")
    parser.add_argument("--random", choices=SHAPES, help="random integers in this shape instead")
    parser.add_argument("--layers", type=int, help="of --random")
    parser.add_argument("--stages", type=int, default=2, help="of --random (default 2)")
    parser.add_argument("--prompt", default="8", help="a number of random tokens (default 8), or a text")
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--context", type=int, default=256)
    parser.add_argument("--target", default="small")
    parser.add_argument("--simulator", default="arc", help="comma list of arc, verilator")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    if bool(options.model) == bool(options.random):
        parser.error("expected MODEL or --random SHAPE")
    return options


def main() -> int:
    options = arguments()
    model = _model(options)
    hardware = Hardware.of(model.lut(options.context), model.tensors, target=options.target)
    prompt = _prompt(options.prompt, model, hardware.plan.vocabulary)
    config = hardware.plan.config
    sizes = f"{config.engine.pairs} pairs x {config.engine.lanes} lanes, {config.head_lanes} head lanes"
    print(f"target {options.target}: {sizes}, {config.tokens} tokens a pass")
    print(f"memory image {hardware.plan.memory_bytes / 1e6:.1f} MB")
    reports = []
    for kind in options.simulator.split(","):
        start = time.perf_counter()
        simulator = build(config, kind)
        built = time.perf_counter() - start
        answer = hardware.answer(simulator, prompt, options.tokens, quiet=False)
        reports.append(_report(hardware, answer, kind, built))
        _show(reports[-1], answer)
    if options.json:
        store.write_json(options.json, reports)
    return 0 if all(found["equal"] for found in reports) else 1


def _model(options: argparse.Namespace) -> QuantizedModel:
    if options.model:
        return quantized_model(options.model)
    shape = SHAPES[options.random] | ({"layers": options.layers} if options.layers else {})
    note(f"random integers in the shape of {options.random}")
    scheme = EXACT.with_(R=options.stages, G=1024)
    return random_model(float_decoder(**shape), scheme, positions=max(64, options.context))


def _prompt(given: str, model: QuantizedModel, vocabulary: int) -> list[int]:
    if not given.isdigit():
        if model.tokenizer is None:
            raise SystemExit("expected a number of tokens with --random, got a text")
        return prompt_ids(model.tokenizer, given, raw=True)
    rng = np.random.default_rng(0)
    return [int(i) for i in rng.integers(0, vocabulary, int(given))]


def _report(hardware: Hardware, answer: Answer, kind: str, built: float) -> dict[str, Any]:
    records = simulated_records(hardware.plan, answer, len(answer.prompt))
    schedule = schedule_json(records, how="simulated")
    passes = run_passes(len(answer.prompt), len(answer.tokens), hardware.plan.config.tokens)
    estimate = run_cycles(predicted(hardware.plan, passes))
    return answer.to_dict() | {
        "built_seconds": built,
        "simulated_cycles_per_second": answer.cycles_per_second,
        "engines": schedule["engines"],
        "attention_utilization": _attention(hardware, answer),
        "predicted_cycles": estimate,
        "prediction_error": estimate / answer.cycles - 1,
        "kind": kind,
    }


def _attention(hardware: Hardware, answer: Answer) -> dict[str, float]:
    """Useful beats of QK^T (and as many of AV) by cycle of the attention tasks, in passes of many tokens and of one."""
    plan, found = hardware.plan, {}
    passes = run_passes(len(answer.prompt), len(answer.tokens), plan.config.tokens)
    records = [r for r in simulated_records(plan, answer, len(answer.prompt)) if r.engine == "attention"]
    tasks = {task.name: task for task in plan.tasks if task.engine == "attention"}
    for program in ("prefill", "decode"):
        mine = [r for r in records if r.program == program]
        beats = sum(_beats(tasks[r.task].fields, passes[r.turn]) for r in mine)
        if mine:
            found[program] = beats / sum(r.cycles for r in mine)
    return found


def _beats(f: dict[str, int], each: Pass) -> int:
    """Of QK^T in a task of attention: each query head's beats for every row that each token sees."""
    seen = each.position * each.tokens + each.tokens * (each.tokens + 1) // 2
    return f["kv_heads"] * f["items"] * f["reps"] * f["beats"] * seen


def _show(found: dict[str, Any], answer: Answer) -> None:
    print(f"\n{found['kind']}, built in {found['built_seconds']:.0f} s")
    print(f"tokens  {answer.tokens}\ngolden  {answer.golden}")
    print(report.answer(answer))
    print(f"predicted {found['predicted_cycles']:,} cycles, {100 * found['prediction_error']:+.1f} %")
    rows = [("engine", "tasks", "busy cycles", "of the run")]
    for engine, values in found["engines"].items():
        share = f"{100 * values['busy'] / answer.cycles:.1f} %"
        rows.append((engine, str(values["tasks"]), f"{values['busy']:,}", share))
    print(report.align(rows))
    for program, share in found["attention_utilization"].items():
        print(f"attention, {program}: the multipliers of QK^T and of AV each work {100 * share:.1f} % of its cycles")


if __name__ == "__main__":
    sys.exit(main())
