"""Engine pick: the index of the largest logit of stream y, so that logits never leave the chip. In mode logit_softcap
that of the largest hyperbolic tangent of one, which several may have."""

from lutllm.lowering.hardware.control.records import task_port, words
from lutllm.lowering.hardware.control.task import TaskFields, Timing, stepped_task, words_then_tokens
from lutllm.lowering.hardware.lib.arithmetic import magnitude, rescaled_later
from lutllm.lowering.hardware.lib.circt import Design, Module
from lutllm.lowering.hardware.lib.functions import TANH_BITS, TANH_LATENCY, tanh
from lutllm.lowering.hardware.lib.signal import Signal, all_of, const, mux, pack
from lutllm.lowering.machine.accelerator import AcceleratorConfig

TOKEN_BITS = 32


def timing(config: AcceleratorConfig) -> Timing:
    """After the last step: the register of the word, the tree over its lanes, the register of the best."""
    capped = TANH_LATENCY + 2 if "logit_softcap" in config.modes else 0
    return Timing(first=0, last=_levels(config) + 2 + capped)


def _levels(config: AcceleratorConfig) -> int:
    """Of the tree over a word, a register each."""
    return config.lanes.bit_length() - 1


def pick(design: Design, config: AcceleratorConfig) -> str:
    """Streams in: `task`, `y`. Out: `token` with a pulse `token_valid` when a task with `last` is done.

    The largest so far stays from a task to the next one, unless that has `first`. Of equals the lowest index wins.
    """
    levels, capped = _levels(config), "logit_softcap" in config.modes
    bits = max(config.y_bits, TANH_BITS) if capped else config.y_bits

    def body(m: Module) -> dict[str, Signal]:
        y = m["y"]
        task = stepped_task(m, config, "pick", words_then_tokens(config), y.valid, latency=timing(config).last)
        f = task.fields
        y.drive(ready=task.going)
        logits = m.reg(task.pipe.at(y.data), "word_q").chunks(config.y_bits)
        if capped:
            logits = [_capped(m, f, logit, bits, i) for i, logit in enumerate(logits)]
        value, lane = _largest(m, [(logit, []) for logit in logits])
        task.ends(value)
        valid, value = task.step.until(value.cycle).plain(), value.plain()
        word = m.state(TOKEN_BITS - levels, "word_out", reset=0)
        word.set(mux(task.busy, word.signal + 1, const(0, word.signal.width)), valid | ~task.busy)
        best, index = m.state(bits, "best"), m.state(TOKEN_BITS, "best_index")
        anew = word.signal.eq(0) & f["first"].ne(0)
        better = all_of([valid, anew | best.signal.slt(value)])
        best.set(value, better)
        index.set(f["offset"] + pack([*(bit.plain() for bit in lane), word.signal]), better)
        return dict(token_valid=task.done & f["last"].ne(0), token=index.signal, done=task.done)

    inputs = {"task": task_port(config, "pick"), "y": words(config, "y")}
    return design.module("pick", inputs, {"token_valid": 1, "token": TOKEN_BITS, "done": 1}, body)


def _capped(m: Module, f: TaskFields, logit: Signal, bits: int, lane: int) -> Signal:
    """A logit, or what its task wants of it, at `bits`."""
    size = rescaled_later(m, magnitude(logit), f["sigmoid_right"], f"size_{lane}")
    u = m.output_of(tanh(m.design, size.width), f"tanh_{lane}", size=size, negative=logit[logit.width - 1])
    return m.reg(mux(f["capped"][0], u.sext(bits), logit.sext(bits)), f"capped_{lane}")


def _largest(m: Module, entries: list[tuple[Signal, list[Signal]]], level: int = 0) -> tuple[Signal, list[Signal]]:
    """The largest of (value, bits of its index so far, lowest first), the first of equals; a cycle a level."""
    if len(entries) == 1:
        return entries[0]
    winners = []
    for i, (low, high) in enumerate(zip(entries[::2], entries[1::2], strict=True)):
        higher = low[0].slt(high[0])
        index = [mux(higher, b, a) for a, b in zip(low[1], high[1], strict=True)] + [higher]
        chosen = m.reg(pack([mux(higher, high[0], low[0]), *index]), f"larger_{level}_{i}")
        width = low[0].width
        winners.append((chosen[0:width], [chosen[width + j] for j in range(level + 1)]))
    return _largest(m, winners, level + 1)
