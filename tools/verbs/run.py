"""`lutllm run`: a quantized model answers a prompt, token by token, from integers and lookups."""

from __future__ import annotations

import argparse
import io
import sys
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments

if TYPE_CHECKING:
    from lutllm.quantized.pretrained import QuantizedModel

RTL = "rtl"

CONTEXT = 2048  # where neither --context nor the model says less


def run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "model", metavar="MODEL", help="output directory of lutllm quantize; or a float model, quantized first"
    )
    parser.add_argument("prompt", metavar="PROMPT", help="what to answer; - reads it from standard input")
    parser.add_argument("--tokens", type=arguments.positive, default=256, metavar="N", help="at most (default 256)")
    parser.add_argument("--raw", "--no-chat", action="store_true", help="go on with the text, without chat template")
    parser.add_argument("--context", type=arguments.positive, metavar="N", help=f"tokens kept (default {CONTEXT})")
    parser.add_argument("--quiet", action="store_true", help="nothing but the text")
    pick = parser.add_argument_group(
        "how a token is picked", "greedy, unless a temperature is given; --seed repeats it"
    )
    pick.add_argument("--temperature", type=float, default=0.0, metavar="T", help="0 is greedy (default)")
    pick.add_argument("--top-k", type=int, default=0, metavar="K", help="among the K likeliest (default: all)")
    pick.add_argument("--top-p", type=float, default=1.0, metavar="P", help="among the likeliest that make up P")
    where = parser.add_argument_group("what runs it", "every backend gives the same tokens")
    where.add_argument(
        "--backend",
        default="cpu",
        help="cpu (default); golden: the reference interpreter, slow; rtl: the whole accelerator, simulated, and every "
        "token compared with the golden model's",
    )
    where.add_argument("--threads", type=arguments.positive, metavar="N", help="of cpu (default: all cores)")
    where.add_argument("--target", help=f"accelerator of rtl: {arguments.TARGET_HELP} (default small)")
    where.add_argument(
        "--simulator", choices=("arc", "verilator"), help="of rtl: arc (default); verilator runs the SystemVerilog"
    )
    float_model = parser.add_argument_group("a float model", "is quantized into the cache, once")
    float_model.add_argument("--scheme", help=f"{arguments.SCHEME_HELP} (default exact:2)")
    float_model.add_argument("--text", metavar="FILE", help="calibration text, as for lutllm quantize")
    float_model.add_argument("--calibration-tokens", type=arguments.positive, metavar="N", help="default 32768")


def run(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.quantized.resolve import quantized_model
    from lutllm.run.generate import Sampling, respond
    from lutllm.run.session import BACKENDS, CpuSession, open_session
    from lutllm.scheme import parse_schemes

    if options.backend not in (*BACKENDS, RTL):
        raise InputError(f"expected a backend among {', '.join((*BACKENDS, RTL))}, got '{options.backend}'")
    for of, names in {"cpu": ["threads"], RTL: ["target", "simulator"]}.items():
        given = next((name for name in names if getattr(options, name) is not None), None)
        if given and options.backend != of:
            raise InputError(
                f"--{given} is of backend {of}: expected none, got one with {options.backend}; leave it out"
            )
    sampling = Sampling(options.temperature, options.top_k, options.top_p, options.seed)
    prompt = _prompt(options.prompt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that cannot show a character gets a question mark
    scheme = next(iter(parse_schemes([options.scheme]).values())) if options.scheme else None
    model = quantized_model(
        options.model,
        scheme=scheme,
        text=options.text,
        tokens=options.calibration_tokens,
        quiet=options.quiet,
    )
    context = options.context or min(CONTEXT, model.positions)
    if options.backend == RTL:
        return _run_hardware(options, model, prompt, context)
    session = open_session(model, context, backend=options.backend, threads=options.threads)
    found = respond(model, session, prompt, options.tokens, _show, raw=options.raw, sampling=sampling)
    _show("\n")
    if not options.quiet:
        print(_summary(found, context, model.bits["effective"]), file=sys.stderr)
    threads = session.program.threads if isinstance(session, CpuSession) else None
    about = {"backend": options.backend, "threads": threads, "context": context, "bits": model.bits}
    return 0, {**found.to_dict(), **about, "seed": options.seed}


def _run_hardware(options: argparse.Namespace, model: QuantizedModel, prompt: str, context: int) -> tuple[int, Any]:
    """The same on the simulated accelerator: greedy tokens, each compared."""
    from lutllm.accelerator.hardware import Hardware, build, check_prompt
    from lutllm.progress import note
    from lutllm.report import text as report
    from lutllm.run.generate import TextStream, prompt_ids, stop_ids

    if options.temperature:
        raise InputError("expected no --temperature with backend rtl, which picks greedily; leave it out")
    ids, stops = prompt_ids(model.tokenizer, prompt, raw=options.raw), stop_ids(model)
    check_prompt(ids, context)
    target, kind = options.target or "small", options.simulator or "arc"
    hardware = Hardware.of(model.lut(context), model.tensors, target=target)
    note(f"building the simulator of an accelerator ({kind})", quiet=options.quiet)
    simulator = build(hardware.plan.config, kind)
    stream, text, shown = TextStream(model.tokenizer), "", 0

    def show(tokens: list[int]) -> None:
        nonlocal shown, text
        for token in tokens[shown:]:
            piece = stream.push(token)
            text += piece
            _show(piece)
        shown = len(tokens)

    found = hardware.answer(simulator, ids, options.tokens, stops=stops, listener=show, quiet=options.quiet)
    show(found.tokens)
    rest = stream.finish()
    _show(rest + "\n")
    about = {"backend": RTL, "target": target, "context": context, "bits": model.bits, "text": text + rest}
    values = found.to_dict() | about | {"simulated_cycles_per_second": found.cycles_per_second}
    if not options.quiet:
        print(report.answer(found), file=sys.stderr)
    if not found.equal:
        print(f"lutllm: error: {report.answer_difference(found)}", file=sys.stderr)
    return (0 if found.equal else 1), values


def _prompt(given: str) -> str:
    try:
        prompt = sys.stdin.read() if given == "-" else given
        prompt.encode()  # bytes of the command line that are no UTF-8 are lone surrogates
    except UnicodeError:
        raise InputError("expected a prompt in UTF-8, got other bytes; convert it") from None
    if not prompt.strip():
        raise InputError("expected a prompt, got an empty one; write something")
    return prompt


def _show(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


def _summary(found: Any, context: int, bits: float) -> str:
    why = {"end": "the model ended it", "length": "--tokens", "context": f"the context of {context} tokens is full"}
    return (
        f"prompt {len(found.prompt)} tokens, {found.prefill_speed:.1f} token/s; "
        f"made {len(found.tokens)} tokens, {found.decode_speed:.1f} token/s; stopped by: {why[found.stop]}; "
        f"{bits:.2f} bits per weight"
    )
