"""Planning: a decoder's shapes and an accelerator in, its plan out; and the accelerator that a decoder needs."""

from __future__ import annotations

from dataclasses import replace

from lutllm.errors import CapacityError, InputError
from lutllm.lowering.accelerator import PARAMETER_WORDS, TASK_BITS, AcceleratorConfig
from lutllm.lowering.decoder_spec import DecoderSpec
from lutllm.lowering.engine import MODES
from lutllm.lowering.layout.decoder import layout_decoder
from lutllm.lowering.plan.check import verify_plan
from lutllm.lowering.plan.data import PROGRAMS, Buffer, Plan, Task
from lutllm.lowering.plan.memory import MemoryMap, Shape, buffers_of, rounds_of_decoder, words_needed
from lutllm.lowering.plan.tasks import ProgramTasks
from lutllm.lowering.plan.waits import hoisted, with_waits
from lutllm.lowering.schedule import engine_for
from lutllm.lowering.targets import Target


def plan_decoder(
    spec: DecoderSpec,
    config: AcceleratorConfig,
    *,
    memory_bytes: int = 1 << 40,
    context: int = 0,
    row_source: str | None = None,
) -> Plan:
    """The plan of a whole decoder, verified.

    `context` tokens fit its KV caches; 0: as many as the accelerator and the RoPE tables allow. Linears take their rows
    from `row_source` where their scheme has it. Raises `CapacityError` for what does not fit.
    """
    missing = spec.missing()
    if missing:
        raise InputError(f"expected quantized parameters of '{missing}', got none; quantize the whole model")
    if row_source not in (None, *MODES):
        raise InputError(f"expected a row source among {', '.join(MODES)}, got {row_source}")
    most = min(config.context, spec.positions)
    context = context or most
    if not 1 <= context <= most:
        raise CapacityError(
            f"expected a context of 1..{most} tokens, as accelerator and RoPE tables allow, got {context}; choose a "
            "shorter context"
        )
    layout = layout_decoder(spec, config)
    shape = Shape.of(spec, layout, config.lanes, config.head_lanes)
    buffers = buffers_of(shape, config)
    _check_sizes(config, shape, buffers)
    rounds = rounds_of_decoder(spec, layout, config, row_source)
    memory = MemoryMap(spec, shape, config, context, memory_bytes)
    memory.fill(rounds)
    tasks: list[Task] = []
    for program in PROGRAMS:
        made = hoisted(list(ProgramTasks(program, spec, memory, buffers, rounds).tasks()))
        tasks += with_waits(made, buffers)
        words = sum(descriptor_words(task, config) for task in made)
        memory.space.add(program, "d", 0, "", 8 * words)
    by_name = {r.name: r for found in rounds.values() for r in found}
    d, regions = spec.decoder, memory.space.regions
    plan = Plan(config, context, d.vocabulary, regions, buffers, by_name, tuple(tasks), spec.identity)
    verify_plan(plan)
    return plan


def config_for(spec: DecoderSpec, target: Target, context: int = 0) -> AcceleratorConfig:
    """The target's accelerator with memories just large enough for a decoder and `context` tokens (0: the target's
    context, or as many as there are RoPE positions), and FIFOs as deep as rates and the memory's latency ask for."""
    from lutllm.lowering.stream_depths import with_depths  # CIRCT, which planning alone does not need

    engine = engine_for([spec.linears[name].scheme for name in spec.decoder.linears], target.engine)
    config = AcceleratorConfig(
        engine=engine,
        head_lanes=target.head_lanes,
        context=context or min(target.context, spec.positions),
        head_words=target.head_lanes // engine.requant_lanes,
    )
    layout = layout_decoder(spec, config)
    shape = Shape.of(spec, layout, config.lanes, config.head_lanes)
    blocks = {name: -(-outputs.block // engine.lanes) for name, outputs in layout.outputs.items()}
    accumulator = max(n * (1 if name == spec.decoder.head else engine.tokens) for name, n in blocks.items())
    group = max(layer.attention.heads // layer.attention.kv_heads for layer in spec.decoder.layers)
    needed = words_needed(buffers_of(shape, config))
    sized = replace(
        config,
        engine=replace(engine, acc_words=max(engine.acc_words, accumulator)),
        **{f"{memory}_words": words for memory, words in needed.items()},  # type: ignore[arg-type]
        score_words=max(engine.tokens, group) * config.context,
        item_words=max(engine.tokens, group) * shape.beats,
        head_words=shape.head_words,
    )
    return with_depths(sized, target.latency)


def descriptor_words(task: Task, config: AcceleratorConfig) -> int:
    """64-bit words of a task's descriptor."""
    streams = 2 * (2 + config.engine.weight_ports) if task.engine == "linear" else 0
    return 1 + PARAMETER_WORDS + -(-sum(TASK_BITS[task.engine].values()) // 64) + streams


def _check_sizes(config: AcceleratorConfig, shape: Shape, buffers: dict[str, Buffer]) -> None:
    limits = {f"{memory}_words": words for memory, words in words_needed(buffers).items()}
    for name, needed in (limits | {"head_words": shape.head_words}).items():
        if needed > getattr(config, name):
            raise CapacityError(
                f"accelerator: expected {name} of at least {needed} for this decoder and {config.tokens} tokens a "
                f"pass, got {getattr(config, name)}; enlarge it, or use fewer tokens"
            )
