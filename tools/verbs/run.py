"""`lutllm run`: a quantized model answers a prompt, token by token, from integers and lookups."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from lutllm.errors import InputError
from lutllm.tools.verbs import arguments
from lutllm.tools.verbs.terminal import show

if TYPE_CHECKING:
    from collections.abc import Callable

    from lutllm.accelerator.hardware import Hardware
    from lutllm.quantized.pretrained import QuantizedModel
    from lutllm.run.sampling import Sampling

RTL, BOARD = "rtl", "board"
SIM, VRT = "sim", "vrt:"


def run_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.QUANTIZED_HELP)
    parser.add_argument("prompt", metavar="PROMPT", help="what to answer; - reads it from standard input")
    parser.add_argument("--tokens", type=arguments.positive, default=256, metavar="N", help="at most (default 256)")
    parser.add_argument("--raw", "--no-chat", action="store_true", help="go on with the text, without chat template")
    arguments.context_argument(parser)
    parser.add_argument("--quiet", action="store_true", help="nothing but the text")
    arguments.sampling_arguments(parser)
    where = parser.add_argument_group("what runs it", "every backend gives the same tokens")
    where.add_argument(
        "--backend",
        default="cpu",
        help="cpu (default); golden: the reference interpreter, slow; rtl: the whole accelerator, simulated, and every "
        "token compared with the golden model's; board: the same of an output of lutllm compile, by a board's driver",
    )
    where.add_argument("--threads", type=arguments.positive, metavar="N", help="of cpu (default: all cores)")
    where.add_argument("--target", help=f"accelerator of rtl: {arguments.TARGET_HELP} (default small)")
    where.add_argument(
        "--device",
        metavar="sim|vrt:BDF",
        help="of board: the accelerator simulated (default), or the board at BDF by SLASH's runtime VRT",
    )
    where.add_argument("--vbin", metavar="FILE", help="of a board at vrt: what slashkit linked")
    where.add_argument(
        "--simulator",
        choices=("arc", "verilator"),
        help="of rtl and board: arc (default); verilator runs the SystemVerilog",
    )
    arguments.float_model_arguments(parser)


def run(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.run.generate import respond
    from lutllm.run.prompts import prompt_ids
    from lutllm.run.session import BACKENDS, CpuSession, open_session

    backends = (*BACKENDS, RTL, BOARD)
    if options.backend not in backends:
        raise InputError(f"expected a backend among {', '.join(backends)}, got '{options.backend}'")
    of_one = {"threads": ("cpu",), "target": (RTL,), "simulator": (RTL, BOARD)}
    of_one |= {"device": (BOARD,), "vbin": (BOARD,)}
    for name, of in of_one.items():
        if getattr(options, name) is not None and options.backend not in of:
            wanted = f"--{name} is of backend {' and '.join(of)}"
            raise InputError(f"{wanted}: expected none, got one with {options.backend}; leave it out")
    sampling = arguments.sampling(options)
    prompt = _prompt(options.prompt)
    if options.backend == BOARD:
        return _run_board(options, sampling, prompt)
    model = arguments.model_of(options)
    context = model.room(options.context)
    if options.backend == RTL:
        from lutllm.accelerator.hardware import Hardware

        def made() -> Hardware:
            return Hardware.of(model.lut(context), model.tensors, target=options.target or "small")

        return _run_hardware(options, sampling, model, prompt, context, made)
    session = open_session(model, context, backend=options.backend, threads=options.threads)
    ids = prompt_ids(model.tokenizer, prompt, raw=options.raw)
    found = respond(model, session, ids, options.tokens, show, sampling=sampling, strings=options.stop)
    show("\n")
    if not options.quiet:
        print(_summary(found, context, model.bits["effective"]), file=sys.stderr)
    threads = session.program.threads if isinstance(session, CpuSession) else None
    about = {"backend": options.backend, "threads": threads, "context": context, "bits": model.bits}
    return 0, {**found.to_dict(), **about, "seed": options.seed}


def _run_board(options: argparse.Namespace, sampling: Sampling, prompt: str) -> tuple[int, Any]:
    """What `lutllm compile` wrote, at a device: the image is loaded and checked first."""
    from lutllm.accelerator.hardware import Hardware
    from lutllm.compiler.compiled import Compiled

    for name in ("context", "scheme", "text", "calibration_tokens"):
        if getattr(options, name) is not None:
            option = name.replace("_", "-")
            raise InputError(f"expected no --{option} with backend board, which runs what was compiled; leave it out")
    options.device = options.device or SIM
    at_vrt = options.device.startswith(VRT) and len(options.device) > len(VRT)
    if options.device != SIM and not at_vrt:
        raise InputError(f"expected a device sim or vrt:BDF, as vrt:0000:03:00, got '{options.device}'")
    if at_vrt != (options.vbin is not None):
        raise InputError("expected --vbin, what slashkit linked, with a device vrt:BDF and with no other; give both")
    if at_vrt and options.simulator:
        raise InputError("expected no --simulator with a device vrt:BDF, which is not simulated here; leave it out")
    compiled = Compiled(options.model)
    model, plan = compiled.model, compiled.plan

    def made() -> Hardware:
        return Hardware(model.lut(plan.context), compiled.module, model.tensors, compiled.image)

    options.target = compiled.about["options"]["target"]
    return _run_hardware(options, sampling, model, prompt, plan.context, made)


def _run_hardware(
    options: argparse.Namespace,
    sampling: Sampling,
    model: QuantizedModel,
    prompt: str,
    context: int,
    made: Callable[[], Hardware],
) -> tuple[int, Any]:
    """The same on an accelerator, simulated or on a board: greedy tokens, each compared."""
    from lutllm.accelerator.hardware import Answer, BoardAnswer, build, check_prompt
    from lutllm.board.driver import Driver
    from lutllm.board.vrt import VrtDevice
    from lutllm.progress import note
    from lutllm.report import text as report
    from lutllm.run.prompts import prompt_ids, stop_ids
    from lutllm.run.sampling import Sampling
    from lutllm.run.text_stream import TextStream

    if sampling != Sampling(seed=options.seed) or options.stop:
        raise InputError(
            f"expected no sampling and no --stop with backend {options.backend}, which picks greedily; leave them out"
        )
    ids, stops = prompt_ids(model.tokenizer, prompt, raw=options.raw), stop_ids(model)
    check_prompt(ids, context)
    hardware = made()
    stream, text, shown = TextStream(model.tokenizer), "", 0

    def told(tokens: list[int]) -> None:
        nonlocal shown, text
        for token in tokens[shown:]:
            piece = stream.push(token)
            text += piece
            show(piece)
        shown = len(tokens)

    found: BoardAnswer
    given: dict[str, Any] = {"stops": stops, "listener": told}
    if options.vbin is not None:
        note(f"programming {options.device}", quiet=options.quiet)
        with VrtDevice(options.device.removeprefix(VRT), options.vbin, hardware.image.size) as device:
            found = hardware.answer_at(Driver.connect(device), device.base, ids, options.tokens, **given)
    else:
        kind = options.simulator or "arc"
        note(f"building the simulator of an accelerator ({kind})", quiet=options.quiet)
        simulator = build(hardware.plan.config, kind)
        load = options.backend == BOARD
        found = hardware.answer(simulator, ids, options.tokens, load=load, quiet=options.quiet, **given)
    told(found.tokens)
    rest = stream.finish()
    show(rest + "\n")
    about = {
        "backend": options.backend,
        "device": options.device,
        "target": options.target or "small",
        "context": context,
        "bits": model.bits,
        "text": text + rest,
    }
    values = found.to_dict() | about
    if isinstance(found, Answer):
        values["simulated_cycles_per_second"] = found.cycles_per_second
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


def _summary(found: Any, context: int, bits: float) -> str:
    why = {"end": "the model ended it", "length": "--tokens", "context": f"the context of {context} tokens is full"}
    why["text"] = "--stop"
    return (
        f"prompt {len(found.prompt)} tokens, {found.prefill_speed:.1f} token/s; "
        f"made {len(found.tokens)} tokens, {found.decode_speed:.1f} token/s; stopped by: {why[found.stop]}; "
        f"{bits:.2f} bits per weight"
    )
