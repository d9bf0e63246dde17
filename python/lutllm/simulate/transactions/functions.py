"""What each engine of the accelerator does with a task: a chip's state and a task in, the state after it out.

The integers are those of the golden model. `FUNCTIONS` has one for each engine; LutLinear's is `linear_round`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from lutllm import interpreter
from lutllm.errors import InputError
from lutllm.functions import RECIPROCAL_FRACTION, SIGMOID_END, rsqrt, share, tanh
from lutllm.interpreter.decoder import attention as golden_attention
from lutllm.lowering.machine.accelerator import CACHE_BITS, HEAD_MODES, LEFT, X_BITS, AcceleratorConfig
from lutllm.lowering.place.rounds import Round
from lutllm.lowering.schedule.data import Task
from lutllm.lowering.schedule.fields import order_of_items
from lutllm.numerics import rescale, round_shift, saturate
from lutllm.quantization import NORM_BITS, RESIDUAL_BITS
from lutllm.scheme import QuantizedLinear
from lutllm.simulate.transactions.chip import Chip, places, rescaled, rows_of, words_of

ROPE_FRACTION = 14


@dataclass(frozen=True)
class Job:
    """A task as its engine gets it: `tokens` of the pass (1 where it is single), the first at `position`; its words of
    stream p from byte address `address` on, `beats` of them."""

    task: Task
    tokens: int
    position: int
    address: int = 0
    beats: int = 0

    @property
    def fields(self) -> dict[str, int]:
        return self.task.fields


def linear_round(chip: Chip, round_: Round, linear: QuantizedLinear) -> None:
    """Stream x in, stream y out: `linear` is laid out physically, `round_` says which of its outputs."""
    x = rows_of(chip.pull("x"))[:, : 2 * linear.pairs]
    part = round_part(linear, round_)
    # Padding has multiplier 0, which the golden model takes for a mistake.
    live = replace(part, multiplier=np.maximum(part.multiplier, 1))
    y = np.where(part.multiplier > 0, interpreter.linear(live, x, round_.row_source), 0)
    chip.push("y", words_of(y, chip.config.lanes))


def round_part(linear: QuantizedLinear, round_: Round) -> QuantizedLinear:
    """The outputs of a linear that one round computes."""
    outputs = slice(round_.first, round_.first + round_.outputs)
    first = round_.first // linear.scheme.G
    blocks = slice(first, first + round_.blocks)
    return replace(
        linear,
        weight_codebook=linear.weight_codebook[:, blocks],
        codes=linear.codes[:, :, outputs],
        multiplier=linear.multiplier[outputs],
        bias=linear.bias[outputs],
        tables=None if linear.tables is None else linear.tables[:, blocks],
    )


def words_of_feed(config: AcceleratorConfig, job: Job) -> int:
    """Words of memory x that a task of engine feed reads."""
    return -(-job.fields["groups"] * 2 * config.engine.pairs // config.lanes) * job.tokens


def words_taken(config: AcceleratorConfig, job: Job) -> int:
    """Of these, words that it takes off those written."""
    takes = job.fields["takes"]
    return words_of_feed(config, job) - (config.joined_words - takes) * job.tokens if takes else 0


def feed(chip: Chip, job: Job) -> None:
    group = 2 * chip.config.engine.pairs
    words = range(words_of_feed(chip.config, job) // job.tokens)
    rows = rows_of(chip.read("x", places(job.fields["base"], words, job.tokens)))
    chip.push("x", words_of(rows[:, : job.fields["groups"] * group], group))


def norm(chip: Chip, job: Job) -> None:
    f, tokens = job.fields, job.tokens
    rows = slice(tokens - 1, tokens) if f["last"] else slice(0, tokens)
    after = f.get("after", 0)
    x = chip.read(*(("y", places(f["source"], range(f["words"]), tokens)) if after else
                    ("r", places(0, range(f["words"]), tokens))))[:, rows]  # fmt: skip
    gain, right = chip.parameters(job.address, job.beats)
    bias: np.ndarray | int = 0
    if f.get("biased"):
        words = chip.bytes(job.address, job.beats, chip.config.p_bits // 8).view("<i4").astype(np.int64)
        bias, gain, right = words[0::2, None], gain[1::2], right[1::2]
    gain, right, squares = gain[:, None], right[:, None], chip.squares[rows, None]
    if f.get("centered"):
        total, channels = chip.totals[rows, None], f["channels"]
        mean = (2 * total + channels) // (2 * channels)
        x, squares = x - mean, squares - 2 * mean * total + channels * mean * mean
    n = x if f.get("bare") else normalised(x, squares, gain, f, bias)
    if after:
        chip.push("n", n)
        return
    out = saturate(rescaled(n, right), f["bits"])
    chip.write("x", places(f["base"], range(f["words"]), out.shape[1]), out)


def normalised(
    x: np.ndarray, squares: np.ndarray, gain: np.ndarray, f: dict[str, int], bias: np.ndarray | int = 0
) -> np.ndarray:
    """x by its root mean square, of which `squares` says the sum; as lut.rms_norm."""
    r, h = rsqrt(np.maximum(1, squares + f["epsilon"]))
    z = rescale(x * r, -(9 + h))
    return saturate(round_shift(z * gain, f["shift"]) + bias, NORM_BITS)


def residual(chip: Chip, job: Job) -> None:
    f = job.fields
    addresses = places(0, range(f["start"], f["start"] + f["words"]), job.tokens)
    out = words_of(chip.pull("e"), chip.config.lanes) if f["load"] else chip.pull("n" if f.get("normed") else "y")
    if not f["load"] or f.get("added"):
        terms = rescaled(chip.read("r", addresses), f["residual_right"]) + rescaled(out, f["y_right"])
        out = saturate(terms, RESIDUAL_BITS)
    squares = np.square(out).sum(axis=(0, 2))
    for sums, found in ((chip.squares, squares), (chip.totals, out.sum(axis=(0, 2)))):
        sums[: job.tokens] = found + (sums[: job.tokens] if f["start"] else 0)
    chip.write(*(("y", addresses + f["base"], out) if f.get("aside") else ("r", addresses, out)))
    chip.note("squares", np.arange(job.tokens), chip.squares[: job.tokens].copy())


def store(chip: Chip, job: Job) -> None:
    f = job.fields
    chip.write("y", places(f["base"], range(f["start"], f["start"] + f["words"]), job.tokens), chip.pull("y"))


def swiglu(chip: Chip, job: Job) -> None:
    f, words = job.fields, range(job.fields["start"], job.fields["start"] + job.fields["words"])
    gate, up = chip.pull("y"), np.ones(1, np.int64)
    if not f.get("plain"):
        gate, up = chip.read("y", places(f["gate"], words, job.tokens)), gate
    _, right = chip.parameters(job.address, job.beats)
    activation = chip.config.activations[f.get("activation", 0)]
    s = share(np.minimum(SIGMOID_END, rescaled(np.abs(gate), f["sigmoid_right"])), activation)
    silu = round_shift(gate * np.where(gate < 0, 2**15 - s, s), 15)
    chip.write("x", places(f["base"], words, job.tokens), saturate(rescaled(silu * up, right[:, None]), f["bits"]))


def heads(chip: Chip, job: Job) -> None:
    f, tokens, lanes = job.fields, job.tokens, chip.config.lanes
    mode, count, words = HEAD_MODES[f["mode"]], f["heads"], f["head_words"]
    if mode == "rotations":
        pairs = chip.halves(job.address, job.beats)[:, :lanes].reshape(tokens, words * lanes // 2, 2)
        chip.rotations = pairs.transpose(0, 2, 1)
        return
    found = chip.read("y", places(f["source"], range(count * words), tokens))
    x = found.reshape(count, words, tokens, lanes).transpose(0, 2, 1, 3).reshape(count, tokens, words * lanes)
    gain, right = (p.reshape(count, 1, words * lanes) for p in chip.parameters(job.address, job.beats))
    if f["norm"]:
        axes = (0, 2) if f.get("whole") else 2
        x = normalised(x, np.square(x).sum(axis=axes, keepdims=True), gain, f)
    if f["rotate"]:
        x = rotated(x, chip.rotations, f["wide"])
    out = saturate(rescaled(x, right), X_BITS if mode == "query" else CACHE_BITS)
    if mode == "query":
        beats = out.reshape(count * tokens, -1, chip.config.head_lanes)
        first = f["base"] + np.arange(count * tokens)[:, None] * beats.shape[1]
        chip.write("q", first + np.arange(beats.shape[1]), beats)
    else:
        append_rows(chip, job, out)


def rotated(x: np.ndarray, rotations: np.ndarray, bits: int) -> np.ndarray:
    """RoPE of [heads, tokens, channels]; the channels of a pair lie side by side."""
    (cos, sin), low, high = rotations.transpose(1, 0, 2), x[..., 0::2], x[..., 1::2]
    turned = np.stack((low * cos - high * sin, high * cos + low * sin), axis=-1).reshape(x.shape)
    return saturate(round_shift(turned, ROPE_FRACTION), bits)


def append_rows(chip: Chip, job: Job, rows: np.ndarray) -> None:
    """Rows [heads, tokens, channels] into a KV cache, from the position of the pass on."""
    f, part = job.fields, chip.config.part_bits // 8
    at = (
        f["address"]
        + np.arange(len(rows))[:, None, None] * f["head_stride"]
        + row_places(chip, job, rows.shape[-1])[-job.tokens :]
    )
    parts = rows.reshape(*at.shape, part)
    chip.image[at[..., None] + np.arange(part)] = parts.astype(np.int8).view(np.uint8)
    chip.note("kv", at, parts)


def row_places(chip: Chip, job: Job, channels: int) -> np.ndarray:
    """Where the parts of all rows that a pass sees lie in the cache of a head, [rows, parts]."""
    rows = np.arange(job.position + job.tokens)
    return chip.config.row_places(rows, channels // chip.config.lanes, job.fields["head_stride"])


def attention(chip: Chip, job: Job) -> None:
    f, tokens, lanes = job.fields, job.tokens, chip.config.lanes
    kv_heads, items = f["kv_heads"] * chip.config.attention_units, f["items"] * chip.config.attention_ways
    heads_ = kv_heads * items * f["reps"]
    channels = f["beats"] * chip.config.head_lanes
    words, shape = channels // lanes, (-1, f["reps"] * (1 + channels // lanes), lanes)
    order = np.argsort(order_of_items(kv_heads, items, chip.config))
    value, rights = (p.reshape(shape)[order] for p in chip.parameters(job.address, job.beats))
    multiplier = value[:, : f["reps"], 0].reshape(heads_)
    right = rights[:, f["reps"] :].reshape(heads_ * words * lanes)
    if (right[0::2] != right[1::2]).any():
        raise InputError(f"{job.task.name}: expected one right shift for both channels of a pair, got two in stream p")
    q = chip.read("q", f["q"] + np.arange(heads_ * tokens * f["beats"])).reshape(heads_, tokens, channels)
    keys, values = (cache_rows(chip, job, f[name], channels) for name in ("keys", "values"))
    seen = golden_attention(
        q.transpose(1, 0, 2).reshape(tokens, -1),
        keys,
        values,
        np.array([job.position]),
        heads=heads_,
        kv_heads=kv_heads,
        multiplier=multiplier,
        shift=f["shift"],
        value_exponents=np.zeros(kv_heads * channels // 2, np.int64),
        exponents=right[0::2] - LEFT - RECIPROCAL_FRACTION,  # stream p holds LEFT - shift
        bits=f["bits"],
        window=f["reach"] + 1 if "reach" in f else None,
        softcap=f.get("softcap") or None,
    )
    chip.write("x", places(f["base"], range(heads_ * words), tokens), words_of(seen, lanes))


def cache_rows(chip: Chip, job: Job, address: int, channels: int) -> np.ndarray:
    """The rows that a pass sees of one cache, [rows, kv heads * channels]."""
    f, part = job.fields, chip.config.part_bits // 8
    heads_ = np.arange(f["kv_heads"] * chip.config.attention_units) * f["head_stride"]
    at = address + heads_[:, None] + row_places(chip, job, channels)[:, None]  # [rows, heads, parts]
    return chip.image[at[..., None] + np.arange(part)].reshape(len(at), -1).view(np.int8)


def embed(chip: Chip, job: Job) -> None:
    f, lanes = job.fields, chip.config.lanes
    size = (1 + f["words"]) * lanes
    ids = chip.ids[job.position : job.position + job.tokens]
    if f.get("positions"):
        ids = f["first"] + job.position + np.arange(job.tokens)
    rows = np.concatenate([chip.bytes(f["address"] + int(i) * size, 1, size) for i in ids])
    multiplier = np.ascontiguousarray(rows[:, :2]).view("<i2").astype(np.int64)
    scaled = rows[:, lanes:].view(np.int8).astype(np.int64) * multiplier
    chip.push("e", saturate(round_shift(scaled, f["shift"]), RESIDUAL_BITS))


def pick(chip: Chip, job: Job) -> None:
    f, logits = job.fields, rows_of(chip.pull("y"))[0]
    if f.get("capped"):
        logits = np.sign(logits) * tanh(rescaled(np.abs(logits), f["sigmoid_right"]))
    index = int(logits.argmax())  # the first of equals
    if f["first"] or logits[index] > chip.best:
        chip.best, chip.best_index = int(logits[index]), f["offset"] + index
    if f["last"]:
        chip.token = chip.best_index
        chip.note("token", np.zeros(1, np.int64), np.array([chip.token]))


def load(chip: Chip, job: Job) -> None:
    f, size = job.fields, chip.config.load_bits // 8
    beats = f["words"] * job.tokens
    words = chip.bytes(f["address"] + job.position * f["words"] * size, beats, size)
    chip.write("x", f["base"] + np.arange(beats), words.view("<i2").astype(np.int64))


def save(chip: Chip, job: Job) -> None:
    f, size = job.fields, chip.config.save_bits // 8
    words = chip.pull("y").reshape(-1, chip.config.lanes)
    first = f["address"] + (job.position * f["row_words"] + f["start"] * job.tokens) * size
    at = first + np.arange(len(words)) * size
    chip.image[at[:, None] + np.arange(size)] = np.ascontiguousarray(words.astype("<i4")).view(np.uint8)
    chip.note("saved", at, words)


FUNCTIONS: dict[str, Callable[[Chip, Job], None]] = {
    each.__name__: each for each in (feed, norm, residual, store, swiglu, heads, attention, embed, pick, load, save)
}
