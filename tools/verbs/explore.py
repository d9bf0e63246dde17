"""`lutllm explore`: the best configurations of a target for a model, by search over the estimate."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments
from lutllm.tools.verbs.estimate import model_arguments

if TYPE_CHECKING:
    from lutllm.explore.search import Found, Search

LIMIT = 0.65  # of each resource, where nothing else is asked for


def explore_arguments(parser: argparse.ArgumentParser) -> None:
    parser.description = (
        "Searches over sizes of engines, ports, FIFOs, tokens of a pass, row sources and codebook blocks: all that a "
        "target's file can say and the model leaves open. Every point is estimated, the best are simulated where they "
        "are small enough. The same command goes on where it was."
    )
    model_arguments(parser, nargs="?")
    parser.add_argument("-o", "--output", metavar="DIR", default="explore", help="where points are kept (./explore)")
    parser.add_argument(
        "--objective", choices=("decode", "prefill", "area"), default="decode", help="what to make small (decode)"
    )
    parser.add_argument(
        "--limit", type=limit, action="append", default=[], metavar="NAME=VALUE",
        help="decode_ms or prefill_ms in milliseconds; LUT, FF, DSP, BRAM, URAM as a share of the device "
        f"(each {LIMIT:g} where not given); memory, port as a share of what they can move (1)",
    )  # fmt: skip
    parser.add_argument("--points", type=arguments.positive, default=60, metavar="N", help="to estimate at most (60)")
    parser.add_argument("--blocks", type=arguments.numbers, metavar="LIST", help="outputs a codebook to choose from")
    parser.add_argument("--simulate", type=arguments.count, default=1, metavar="N", help="of the best points (1)")
    quality = parser.add_argument_group("several quantizations")
    quality.add_argument(
        "--quality", metavar="DIR",
        help="instead of MODEL: what lutllm quantize made of one model, a directory each; the front has perplexity too",
    )  # fmt: skip
    quality.add_argument("--text", metavar="FILE", help="to measure that on (default: the texts of lutllm eval)")
    quality.add_argument("--tokens", type=arguments.positive, metavar="N", help="of each text (2048)")
    parser.add_argument("--cluster", metavar="ADDRESS", help="of a Dask scheduler whose workers evaluate points")
    parser.add_argument("--quiet", action="store_true", help="no progress")


def limit(text: str) -> tuple[str, float]:
    """`LUT=0.5` as a pair."""
    from lutllm.explore.search import MEMORY, PORT, TIMES

    name, _, value = text.partition("=")
    known = (*TIMES, "LUT", "FF", "DSP", "BRAM", "URAM", MEMORY, PORT)
    try:
        number = float(value)
    except ValueError:
        number = 0.0
    if name not in known or not number > 0:
        raise argparse.ArgumentTypeError(f"expected NAME=VALUE above 0 with a name of {', '.join(known)}, got '{text}'")
    return name, number


def explore(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm import store
    from lutllm.explore.verify import simulated, small_enough
    from lutllm.progress import note
    from lutllm.report.explore_page import explore_page, explore_table
    from lutllm.report.page import plotly_script

    plotly_script()
    out = Path(options.output)
    if options.quality:
        return _quality(options, out)
    if not options.model:
        raise InputError("expected a model, got none; name one, or --quality DIR")
    if options.text or options.tokens:
        raise InputError(
            f"expected {'--text' if options.text else '--tokens'} with --quality, got no such; leave it out"
        )
    search, front, weights = _searched(options, options.model, out)
    for found in front[: options.simulate]:
        if small_enough(found, weights):
            note(f"simulate: {found.path.name}", quiet=options.quiet)
            found.simulated = simulated(found, search.of(found.point))
    points = [found.to_dict() for found in front]
    about = {"model": options.model, "target": options.target, "objective": options.objective, "limits": search.limits}
    report = {**about, "tried": len(search.tried), "refused": len(search.refused), "points": points}
    store.write_json(out / "front.json", report)
    store.write_atomic(out / "best.toml", front[0].file.encode())
    everything = [found.to_dict() for found in search.tried.values()]
    store.write_atomic(out / "front.html", explore_page(report, everything).encode())
    print(explore_table(report))
    print(f"\nwritten to {out}: front.html, front.json, points/, best.toml (lutllm compile --config {out}/best.toml)")
    wrong = [f for f in front if f.simulated and not (f.simulated["equal"])]
    for found in wrong:
        print(f"lutllm: error: {found.path}: tokens in simulation are not the golden model's", file=sys.stderr)
    return (1 if wrong else 0), report


def _searched(options: argparse.Namespace, name: str, out: Path) -> tuple[Search, list[Found], int]:
    """A search for one model, the front it found, and the weights of the model."""
    from lutllm import api, dialect
    from lutllm.explore.evaluate import Job
    from lutllm.explore.search import MEMORY, PORT, Search
    from lutllm.explore.space import Space
    from lutllm.lowering.machine.targets import find_target
    from lutllm.report.estimate import longest

    target = find_target(options.target)
    shape = options.scheme, options.block, options.seed
    model = api.of_shape(name, longest(options.kv, options.prefill), options.target, *shape)
    schemes = list(dict.fromkeys(linear.scheme for linear in model.linears.values()))
    if model.directory is not None and options.blocks:
        raise InputError("expected --blocks of a float model, got a quantized one, whose blocks are made; leave it out")
    like = options.target if not options.target.endswith(".toml") else str(Path(options.target).resolve())
    space = Space(target, like, schemes, options.blocks or ())
    whole = model.directory is not None
    text = str(model.directory) if whole else dialect.module_text(model.module)
    job = Job(Path(options.target).stem, "", text, None if whole else schemes[0], options.kv, options.prefill)
    limits = dict.fromkeys(target.device.available, LIMIT) | {MEMORY: 1.0, PORT: 1.0} | dict(options.limit)
    search = Search(space, job, options.objective, limits, out, options.points, options.quiet)
    front = search.run(options.cluster)
    return search, front, sum(2 * linear.pairs * linear.outputs for linear in model.linears.values())


def _quality(options: argparse.Namespace, out: Path) -> tuple[int, Any]:
    """Several quantizations of a model: the front of perplexity, time and area."""
    from lutllm import store
    from lutllm.explore.quality import TOKENS, candidates, front
    from lutllm.explore.search import TIMES
    from lutllm.progress import note
    from lutllm.report.quality_page import quality_page, quality_table

    if options.model:
        raise InputError("expected a model or --quality, got both; leave one out")
    how: dict[str, Any] = {"text": options.text, "tokens": options.tokens or TOKENS, "quiet": options.quiet}
    made = candidates(Path(options.quality), out / "quality", **how)
    for one in made:
        note(f"{one.directory.name}: perplexity {one.ratio:.4f} of the float model's", quiet=options.quiet)
        search, _, _ = _searched(options, str(one.directory), out / one.directory.name)
        one.points = [found for found in search.tried.values() if not found.excess(search.limits)]
    time = TIMES[options.objective == "prefill"]
    points = [{**found.to_dict(), **one.to_dict(), "file": str(found.path)} for one, found in front(made, time)]
    about = {"target": options.target, "time": time, "models": [one.to_dict() for one in made]}
    report = {**about, "tried": sum(len(one.points) for one in made), "points": points}
    store.write_json(out / "quality.json", report)
    tried = [{**found.to_dict(), **one.to_dict()} for one in made for found in one.points]
    store.write_atomic(out / "quality.html", quality_page(report, tried).encode())
    print(quality_table(report))
    print(f"\nwritten to {out}: quality.html, quality.json (lutllm compile MODEL --config FILE)")
    return 0, report
