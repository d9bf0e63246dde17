"""What calibration text is worth, by the kind of text that is read later: a row a text and scheme, a column a source.

    python test/bench/calibration.py [--model smollm2-135m] [--layers 2,14,27] [--windows 32] [--held 4] [--json FILE]

Costs are those of `ablation_ideas`: about how much loss an error costs, in millionths of a nat a token, summed over the
linears of a few decoder layers. `default` is speeches and a novel, `own` what the model writes itself, `both` half of
each: always the same number of windows, of 512 tokens. Nothing that is measured on is calibrated on.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from ablation_ideas import Activations, Input, Weights, record_inputs

from lutllm import store
from lutllm.models import load
from lutllm.models.corpus import default_corpus, out_of_domain_texts
from lutllm.models.text import evaluation_windows, windows
from lutllm.quantizer.observe.recording import linears
from lutllm.quantizer.observe.sampling import own_windows
from lutllm.quantizer.observe.sensitivity import curvatures
from lutllm.run.evaluate import CHAT, CHAT_SEED

LENGTH = 512
IDEAS = {"R=1": Weights(1), "R=2": Weights(2), "activations 16+16": Activations(metric="l2", tokens=8192)}


def held_windows(model, count: int) -> dict[str, np.ndarray]:
    """Windows of each source."""
    found = {"speeches, novel": evaluation_windows(model.tokenizer, default_corpus(), LENGTH, count)}
    for name, text in out_of_domain_texts().items():
        found[name] = windows(model.tokenizer, text, LENGTH, count, shuffled=True)
    found[CHAT] = own_windows(model, 2 * count, LENGTH, seed=CHAT_SEED, chat=True, quiet=False)[:count]
    return found


def costs(inputs: list[Input], rows: int, held: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, float]]]:
    """(idea and calibration, cost by source). `inputs` saw `rows` tokens of the text, then `rows` of the model."""
    parts = {"default": slice(rows), "own": slice(rows, None), "both": slice(rows // 2, rows + rows // 2)}
    for idea, method in IDEAS.items():
        for text, part in parts.items():
            found = dict.fromkeys(held, 0.0)
            for each in inputs:
                outputs = method.outputs(dataclasses.replace(each, calibration=each.calibration[part]))
                at = 0
                for source, chosen in held.items():
                    here = slice(at, at + chosen.size)
                    some = dataclasses.replace(each, held=each.held[here])
                    found[source] += some.cost([y[here] for y in outputs])
                    at = here.stop
            yield f"{idea}, {text}", found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument("--layers", default="2,14,27")
    parser.add_argument("--windows", type=int, default=32, help="of calibration")
    parser.add_argument("--held", type=int, default=4, help="windows of each source")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    model, layers = load(options.model), [int(layer) for layer in options.layers.split(",")]
    text = windows(model.tokenizer, default_corpus().split()[0], LENGTH, options.windows, shuffled=True)
    own = own_windows(model, options.windows, LENGTH, quiet=False)
    held = held_windows(model, options.held)
    importance = curvatures(model.module, linears(model.module, layers), [*text[:4], *own[:4]])
    inputs = record_inputs(
        model.module, layers, np.concatenate([text, own]), np.concatenate(list(held.values())), importance
    )
    print(f"| calibrated on | {' | '.join(held)} | out of domain |\n|---|{'--:|' * (len(held) + 1)}", flush=True)
    rows = []
    for label, found in costs(inputs, text.size, held):
        apart = [cost for source, cost in list(found.items())[1:]]
        numbers = [*found.values(), sum(apart) / len(apart)]
        print(f"| {label} | {' | '.join(f'{c * 1e6:,.0f}' for c in numbers)} |", flush=True)
        rows.append({"calibration": label, "cost": found})
        if options.json:
            store.write_json(options.json, {"layers": layers, "rows": rows})
    return 0


if __name__ == "__main__":
    sys.exit(main())
