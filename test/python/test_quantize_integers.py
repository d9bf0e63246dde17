"""Shifts, multipliers and bounds: integers against an independent float computation, and what `validate` refuses."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm import interpreter
from lutllm.errors import InputError, LutllmError, NumericsError
from lutllm.quantizer import assemble, random_linear, validate
from lutllm.quantizer.linear.activations import IntegerInput
from lutllm.quantizer.linear.assembly import input_exponents, row_scale
from lutllm.quantizer.linear.ranges import accumulator_range, row_range
from lutllm.scheme import ADDITIVE, EXACT, PAPER, Scheme

SCHEMES = {
    "paper": PAPER.with_(G=16, c_a=9),
    "additive": ADDITIVE.with_(G=16, c_a=5),
    "exact": EXACT.with_(G=16),
    "three": Scheme(c_a=4, c_w=6, R=3, S=2, G=11, metric="l2", table_bits=12),
    "narrow": EXACT.with_(x_bits=8, act_bits=8, weight_bits=5, table_bits=10, term_bits=13, R=1),
}


def random_parts(scheme, pairs, outputs, rng):
    """Integer parts as a fit leaves them, with exponents that differ by pair."""
    codebook = None
    if scheme.kind == "vq":
        top = 1 << (scheme.act_bits - 1)
        codebook = rng.integers(-top, top, (pairs, scheme.S, scheme.c_a, 2)).astype(np.int16)
        codebook >>= rng.integers(0, 6, pairs)[:, None, None, None]
    top = 1 << (scheme.weight_bits - 1)
    entries = rng.integers(-top, top, (pairs, scheme.blocks(outputs), scheme.R, scheme.c_w, 2)).astype(np.int8)
    return {
        "exponents": rng.integers(-14, -4, pairs).astype(np.int8),
        "codebook": codebook,
        "weight_codebook": entries,
        "weight_exponents": rng.integers(-9, -3, pairs),
        "codes": rng.integers(0, scheme.c_w, (pairs, scheme.R, outputs)).astype(np.uint8),
    }


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(sorted(SCHEMES)), st.integers(1, 9), st.integers(1, 40), st.booleans(), st.integers(0, 10**6))
def test_integers_mean_what_the_float_parts_mean(name, pairs, outputs, bias, seed):
    """`y * 2**e` is scale * W' x' + bias up to the roundings: one a row entry, one for the bias, one for the output."""
    scheme, rng = SCHEMES[name], np.random.default_rng(seed)
    parts = random_parts(scheme, pairs, outputs, rng)
    scale = row_scale(rng.normal(size=(outputs, 2)) * 0.1)
    floats = rng.normal(size=outputs) * 3 if bias else None
    q = assemble(name="l", input_name="l.input", scheme=scheme, scale=scale, bias=floats, output_peak=0.0, **parts)

    block = np.arange(outputs) // scheme.G
    weight = np.zeros((outputs, 2 * pairs))
    for p in range(pairs):
        for r in range(scheme.R):
            entry = parts["weight_codebook"][p, block, r, parts["codes"][p, r]].astype(float)
            weight[:, 2 * p : 2 * p + 2] += entry * 2.0 ** parts["weight_exponents"][p]
    top = 1 << (scheme.x_bits - 1)
    x = rng.integers(-top, top, (5, 2 * pairs)).astype(np.int16)
    if scheme.kind == "vq":
        index = interpreter.centroid_search(x, q.codebook, scheme.metric)
        seen = sum(
            np.stack([q.codebook[p, s, index[:, p, s]] for p in range(pairs)], axis=1).astype(float)
            for s in range(scheme.S)
        ).reshape(5, -1)
    else:
        seen = x.astype(float)
    wanted = scale.value * (seen * np.repeat(2.0 ** q.exponents.astype(float), 2) @ weight.T)
    wanted += 0 if floats is None else floats

    common = 2.0 ** q.metadata["accumulator_exponent"]
    roundings = scheme.R * max(scheme.S, 1) * 0.5 * (2.0 ** q.shifts[:, 1] * (q.shifts[:, 0] > 0)).sum() + 0.5
    bound = scale.value * common * roundings + 0.5 * 2.0**q.out_exponent
    got = interpreter.linear(q, x) * 2.0**q.out_exponent
    assert (np.abs(got - wanted) <= bound * (1 + 1e-9)).all()


def test_coded_inputs_are_what_the_golden_model_searches():
    rng = np.random.default_rng(0)
    for name in ("paper", "additive", "three"):
        scheme = SCHEMES[name]
        parts = random_parts(scheme, 6, 4, rng)
        x = rng.integers(-(1 << 15), 1 << 15, (50, 12)).astype(np.int16)
        index = interpreter.centroid_search(x, parts["codebook"], scheme.metric)
        chosen = np.zeros((50, 6, 2))
        for p in range(6):
            for s in range(scheme.S):
                chosen[:, p] += parts["codebook"][p, s, index[:, p, s]]
        source = IntegerInput(scheme, np.zeros(6, np.int8), parts["codebook"])
        np.testing.assert_array_equal(source.seen(x.astype(float)), chosen.reshape(50, 12))


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(SCHEMES)), st.integers(1, 12), st.integers(1, 40), st.integers(0, 10**6))
def test_random_linears_are_valid_and_their_ranges_hold(name, pairs, outputs, seed):
    q = validate(random_linear(2 * pairs, outputs, SCHEMES[name], seed))
    top = 1 << (q.scheme.x_bits - 1)
    x = np.random.default_rng(seed).choice([-top, top - 1, 0, -1], size=(20, 2 * pairs)).astype(np.int16)
    rows = interpreter.rows_of(q, x, q.scheme.row_sources[-1])
    low, high = row_range(q.scheme, q.codebook, q.weight_codebook, q.shifts)
    assert (rows >= low).all() and (rows <= high).all()
    sums = interpreter.prefix_sum(interpreter.table_lookup(rows, q.codes, q.scheme.G)) + q.bias
    least, most = accumulator_range(q.scheme, (low, high), q.codes, q.bias)
    assert (sums >= least).all() and (sums <= most).all()
    for source in q.scheme.row_sources:
        np.testing.assert_array_equal(interpreter.linear(q, x, source), interpreter.linear(q, x))


def test_exact_row_range_is_reached():
    q = random_linear(2, 3, EXACT, seed=5)
    low, high = row_range(q.scheme, None, q.weight_codebook, q.shifts)
    ends = np.array([[a, b] for a in (-32768, 32767) for b in (-32768, 32767)], np.int16)
    rows = interpreter.rows_of(q, ends, "exact_row")
    np.testing.assert_array_equal(rows.min(axis=0), low)
    np.testing.assert_array_equal(rows.max(axis=0), high)


def test_random_linear_exercises_every_field_and_repeats():
    a, b, c = (random_linear(64, 70, ADDITIVE.with_(G=32), seed, tables=True) for seed in (4, 4, 5))
    for part in ("exponents", "codebook", "weight_codebook", "codes", "shifts", "multiplier", "bias"):
        np.testing.assert_array_equal(getattr(a, part), getattr(b, part))
        assert len(np.unique(getattr(a, part))) > 4
        assert not np.array_equal(getattr(a, part), getattr(c, part))
    assert a.shifts[:, 1].max() > 0 and a.shift == b.shift
    np.testing.assert_array_equal(a.tables, interpreter.make_tables(a))
    exact = random_linear(64, 70, EXACT, 4)
    assert len(np.unique(exact.shifts[:, 0])) > 2 and exact.shifts[:, 1].max() > 0
    with pytest.raises(InputError, match="an even number of inputs >= 2"):
        random_linear(7, 3, EXACT)


def test_validate_names_what_does_not_fit():
    q = random_linear(16, 20, PAPER.with_(c_a=8), seed=1)
    with pytest.raises(NumericsError, match=r"table of 'linear'.*must fit 8 signed bits"):
        validate(replace(q, shifts=np.zeros_like(q.shifts)))
    wide = q.shifts.copy()
    wide[3, 1] = 24
    with pytest.raises(NumericsError, match=r"row of 'linear'.*\[3, .*must fit 24 signed bits"):
        validate(replace(q, shifts=wide))
    bias = q.bias.copy()
    bias[7] = 2**31 - 1
    with pytest.raises(NumericsError, match="accumulator of 'linear' output 7"):
        validate(replace(q, bias=bias))
    with pytest.raises(LutllmError, match=r"expected 0..47, got 48"):
        validate(replace(q, shift=48))


def test_scales_and_exponents():
    weight = np.array([[1.0, 1.0], [0.5, -0.5], [0.0, 0.0]])
    scale = row_scale(weight)
    assert scale.value[0] == pytest.approx(1, abs=1e-4) and scale.value[1] == pytest.approx(0.5, abs=1e-4)
    assert scale.multiplier.min() > 0 and scale.multiplier.max() < 1 << 15
    assert len(np.unique(row_scale(weight, enabled=False).multiplier)) == 1
    assert (row_scale(np.zeros((3, 2))).multiplier > 0).all()
    peak = np.array([1.0, 1000.0, 0.0])
    exponents = input_exponents(peak, 16).astype(float)
    assert (peak * 2 <= 32767 * 2.0**exponents).all()
    assert (peak[:2] * 2 > 32767 * 2.0 ** (exponents[:2] - 1)).all()
    assert input_exponents(np.zeros(2), 16).dtype == np.int8


def test_output_exponent_holds_the_recorded_peak_with_headroom():
    parts = random_parts(SCHEMES["exact"], 4, 6, np.random.default_rng(2))
    scale = row_scale(np.ones((6, 2)))
    common = {"name": "l", "input_name": "i", "scheme": SCHEMES["exact"], "scale": scale, "bias": None, **parts}
    fine, safe = (assemble(output_peak=peak, **common) for peak in (0.01, 0.0))
    assert ((1 << 23) - 1) * 2.0**fine.out_exponent >= 4 * 0.01
    assert fine.out_exponent < safe.out_exponent and fine.shift < safe.shift
    extreme = np.full((1, 8), 32767, np.int16) * np.sign(np.random.default_rng(3).normal(size=(30, 8))).astype(np.int16)
    top = np.abs(interpreter.linear(safe, extreme)).max()
    assert 0 < top < 1 << 23, "without a recorded peak nothing can saturate"


def test_a_bias_beyond_the_sums_coarsens_the_accumulator():
    parts = random_parts(SCHEMES["exact"], 3, 5, np.random.default_rng(1))
    scale = row_scale(np.ones((5, 2)))
    common = {"name": "l", "input_name": "i", "scheme": SCHEMES["exact"], "scale": scale, "output_peak": 0.0, **parts}
    small, large = (assemble(bias=np.full(5, b), **common) for b in (0.0, 1e8))
    assert large.metadata["accumulator_exponent"] > small.metadata["accumulator_exponent"]
    got = interpreter.linear(large, np.zeros((1, 6), np.int16)) * 2.0**large.out_exponent
    np.testing.assert_allclose(got, 1e8, rtol=1e-4)


def test_importing_needs_neither_torch_nor_numba():
    code = "import sys, lutllm.quantizer as q; q.random_linear; print('torch' in sys.modules, 'numba' in sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.split() == ["False", "False"]
