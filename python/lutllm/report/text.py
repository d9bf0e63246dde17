"""Reports as text: rows of plain data in, aligned tables out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def align(rows: Sequence[Sequence[str]], left: int = 1) -> str:
    """Columns of equal width; the first `left` are flush left, the others flush right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [c.ljust(w) if i < left else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def short_names(names: Sequence[str]) -> dict[str, str]:
    """Linears without the path they share."""
    paths = [name.split(".") for name in names]
    shared = 0
    while all(len(p) > shared + 1 and p[shared] == paths[0][shared] for p in paths):
        shared += 1
    return {name: ".".join(path[shared:]) for name, path in zip(names, paths, strict=True)}


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """The table of the main job: a line for each linear, scheme and row source, and one for each whole program."""
    head = ("linear", "scheme", "row source", "shape", "bits/weight", "effective", "output error")
    lines = [(*head, "cycles", "lookups/cycle", "equal")]
    short = short_names(sorted({row["linear"] for row in rows}))
    lines += [
        (
            short[row["linear"]],
            row["scheme"],
            row["row_source"],
            "x".join(map(str, row["shape"])),
            f"{row['bits_code']:.2f}",
            f"{row['bits_effective']:.2f}",
            f"{row['output_error']:.4f}",
            str(row["cycles"]),
            f"{row['lookups_per_cycle']:.1f}",
            "yes" if row["equal"] else f"NO ({row['mismatches']})",
        )
        for row in rows
    ]
    return align(lines, left=3)


def verdict(result: Any) -> str:
    """The last line of the main job."""
    total, wrong = len(result.rows), sum(not row["equal"] for row in result.rows)
    cycles = sum(row["cycles"] for row in result.rows)
    values = sum(row["tokens"] * row["shape"][0] for row in result.rows)
    speed = max(result.cycles_per_second, default=0.0)
    state = "all equal to the golden model" if not wrong else f"{wrong} NOT equal to the golden model"
    done = f"{total} linears x row sources, {values} integers, {cycles} cycles"
    return (
        f"{done} ({speed:,.0f} simulated cycles/s): {state}\n"
        f"written to {result.directory}: rtl/ mem/ ir/ parameters/ reports/ manifest.json"
    )


def answer(found: Any) -> str:
    """A line on what hardware made of a prompt (`lutllm.accelerator.hardware.Answer`)."""
    values = found.to_dict()
    each, state = values["cycles_per_token"], "all equal to" if found.equal else "NOT equal to"
    rest = "" if each is None else f", then {each:,.0f} cycles a token"
    return (
        f"prompt {len(found.prompt)} tokens, first token after {values['first_token_cycles'] or 0:,} cycles{rest}; "
        f"{len(found.tokens)} tokens, {state} the golden model's; "
        f"{found.cycles_per_second:,.0f} simulated cycles/s ({found.simulator})"
    )


def answer_difference(found: Any) -> str:
    """Where hardware's tokens leave the golden model's."""
    if found.error not in ("none", "context"):
        return f"the accelerator stopped with error '{found.error}'"
    at = found.first_difference
    if at is None:
        return f"expected {len(found.golden)} tokens, got {len(found.tokens)}"
    return f"token {at}: expected {found.golden[at]}, got {found.tokens[at]}, at cycle {found.token_cycles[at]}"


def model_verdict(result: Any) -> str:
    """The last lines of the main job on a whole model."""
    lines = [f"written to {result.directory}: rtl/ tb/ mem/ ir/ reports/ manifest.json"]
    if result.answer is None:
        return "\n".join([f"nothing simulated; about {result.predicted_cycles:,} cycles predicted", *lines])
    if not result.answer.equal:
        lines.insert(0, f"error: {answer_difference(result.answer)}")
    tokens = f"tokens {', '.join(map(str, result.answer.tokens))}"
    return "\n".join([tokens, answer(result.answer), *lines])


def quantized(result: Any) -> list[dict[str, Any]]:
    """The rows of `lutllm quantize`."""
    return [linear.record() | {"output_error": result.errors[name]} for name, linear in result.linears.items()]


def quantized_table(rows: Sequence[Mapping[str, Any]]) -> str:
    lines = [("linear", "shape", "bits/weight", "effective", "output error")]
    for row in rows:
        shape = "x".join(map(str, row["shape"]))
        bits = f"{row['bits_code']:.2f}", f"{row['bits_effective']:.2f}"
        lines.append((row["linear"], shape, *bits, f"{row['output_error']:.4f}"))
    return align(lines)


def simulated_table(runs: Sequence[Mapping[str, Any]]) -> str:
    lines = [("program", "linears", "cycles", "simulated cycles/s", "equal")]
    for run in runs:
        speed = f"{run['cycles_per_second']:,.0f}"
        lines.append((run["program"], str(run["linears"]), str(run["cycles"]), speed, "yes" if run["equal"] else "NO"))
    return align(lines)


def perplexities(evaluation: Any) -> str:
    """The table of `lutllm eval`: a line for each text."""
    head = ("perplexity of", "float", "lut float", "lut integer")
    lines = [(*head, *evaluation.corpus.ratios, "kl", "top1")]
    for label, p in {"": evaluation.corpus, **evaluation.sources}.items():
        name = f"{label}: {p.corpus['source']}".removeprefix(": ")
        values = [f"{v:.3f}" for v in (p.reference, p.tables, p.integers)]
        lines.append((name, *values, *(f"{r:.4f}" for r in p.ratios.values()), f"{p.kl:.4f}", f"{p.top1:.4f}"))
    p, bits, beside = evaluation.corpus, evaluation.bits, ""
    if evaluation.sources:
        beside = f"\nout of domain, mean of lut_integer/float: {evaluation.out_of_domain:.4f}"
    if a := evaluation.against:
        beside += f"\nagainst {a.model}, of perplexity {a.perplexity:.3f}: " + "; ".join(
            f"{name.replace('_', ' ')} divergence {value:.2e}, top-1 agreement {a.top1_agreement[name]:.2%}"
            for name, value in a.divergence.items()
        )
        beside += "" if a.same_tokens else "\nits tokenizer gives other tokens of the same text"
    if g := evaluation.greedy:
        beside += (
            f"\ngreedy texts after {g.prompts} prompts: {g.agreed:.1%} of {g.tokens} tokens before the first that "
            f"is not float's; {g.loops:.0%} end in a loop, {g.float_loops:.0%} of float's"
        )
    return (
        f"{align(lines)}{beside}\n"
        f"{p.windows} windows of {p.context} tokens each ({p.tokens} tokens, {p.predicted} predicted, "
        f"empty context at each start); integers on {evaluation.backend}\n"
        f"{bits['effective']:.3f} effective bits per weight in the linears, {bits['embedding']:.2f} in the embedding"
    )
