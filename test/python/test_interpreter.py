"""The golden model against definitions written out element by element, over random schemes and shapes."""

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lutllm import interpreter
from lutllm.errors import InputError, NumericsError
from lutllm.interpreter import layer
from lutllm.quantizer.random.linear import random_linear
from lutllm.scheme import ADDITIVE, EXACT, METRICS, PAPER, QuantizedLinear, Scheme

METRIC = st.sampled_from(METRICS)
vq_schemes = st.builds(
    Scheme,
    c_a=st.integers(1, 20),
    c_w=st.integers(2, 16),
    G=st.integers(1, 9),
    R=st.integers(1, 3),
    S=st.integers(1, 3),
    metric=METRIC,
    act_bits=st.sampled_from((8, 16)),
    table_bits=st.sampled_from((8, 12)),
)
exact_schemes = st.builds(
    Scheme,
    kind=st.just("exact"),
    c_a=st.just(0),
    S=st.just(0),
    c_w=st.integers(2, 16),
    G=st.integers(1, 9),
    R=st.integers(1, 3),
)


@st.composite
def layers(draw: st.DrawFn, schemes: st.SearchStrategy[Scheme]) -> tuple[QuantizedLinear, np.ndarray]:
    """A linear of 1..7 pairs and 1..20 outputs, and inputs for 1..4 tokens that use all of x_bits."""
    seed = draw(st.integers(0, 1 << 20))
    scheme = draw(schemes)
    q = random_linear(2 * draw(st.integers(1, 7)), draw(st.integers(1, 20)), scheme, seed=seed)
    half = 1 << (scheme.x_bits - 1)
    x = np.random.default_rng(seed).integers(-half, half, (draw(st.integers(1, 4)), 2 * q.pairs))
    return q, x


def shift_rounded(value: int, shift: int) -> int:
    """round_shift once more, on Python integers: the nearest, halves up."""
    return (2 * value + (1 << shift)) // (2 << shift)


def slow_row(q: QuantizedLinear, values: list[tuple[int, int]], p: int, b: int, r: int, w: int) -> int:
    """One row entry: the values are the chosen centroids of each stage, or the activations themselves."""
    weight = q.weight_codebook[p, b, r, w].tolist()
    right, left = q.shifts[p].tolist()
    return sum(shift_rounded(v[0] * weight[0] + v[1] * weight[1], right) for v in values) << left


def slow_search(q: QuantizedLinear, pair: list[int], p: int) -> list[int]:
    """Indices by trying every centroid, keeping the first that is strictly better."""
    left, indices = list(pair), []
    assert q.codebook is not None
    for book in q.codebook[p].tolist():
        best, best_distance = 0, None
        for a, (c0, c1) in enumerate(book):
            d0, d1 = abs(left[0] - c0), abs(left[1] - c1)
            distance = max(d0, d1) if q.scheme.metric == "chebyshev" else d0 * d0 + d1 * d1
            if best_distance is None or distance < best_distance:
                best, best_distance = a, distance
        left = [left[0] - book[best][0], left[1] - book[best][1]]
        indices.append(best)
    return indices


def slow_linear(q: QuantizedLinear, x: np.ndarray) -> np.ndarray:
    """The whole definition on Python integers."""
    y = np.zeros((x.shape[0], q.outputs), dtype=np.int64)
    for t, token in enumerate(x.tolist()):
        values = []
        for p in range(q.pairs):
            pair = token[2 * p : 2 * p + 2]
            if q.codebook is None:
                values.append([tuple(pair)])
            else:
                indices = slow_search(q, pair, p)
                values.append([tuple(q.codebook[p, s, a].tolist()) for s, a in enumerate(indices)])
        for o in range(q.outputs):
            acc = sum(
                slow_row(q, values[p], p, o // q.scheme.G, r, int(q.codes[p, r, o]))
                for p in range(q.pairs)
                for r in range(q.scheme.R)
            )
            scaled = shift_rounded((acc + int(q.bias[o])) * int(q.multiplier[o]), q.shift)
            half = 1 << (q.scheme.out_bits - 1)
            y[t, o] = min(max(scaled, -half), half - 1)
    return y


@given(layers(vq_schemes | exact_schemes))
@settings(max_examples=60, deadline=None)
def test_every_row_source_equals_the_written_out_definition(case: tuple[QuantizedLinear, np.ndarray]) -> None:
    q, x = case
    wanted = slow_linear(q, x)
    for source in q.scheme.row_sources:
        np.testing.assert_array_equal(interpreter.linear(q, x, source), wanted)


@given(layers(vq_schemes))
@settings(max_examples=60, deadline=None)
def test_rows_are_the_same_from_every_vq_source(case: tuple[QuantizedLinear, np.ndarray]) -> None:
    q, x = case
    q.tables = interpreter.make_tables(q)
    assert q.tables.dtype == (np.int8 if q.scheme.table_bits <= 8 else np.int32)
    stored, built_table, built_row = (interpreter.rows_of(q, x, source) for source in q.scheme.row_sources)
    np.testing.assert_array_equal(stored, built_table)
    np.testing.assert_array_equal(stored, built_row)
    assert stored.shape == (x.shape[0], q.pairs, q.blocks, q.scheme.R, q.scheme.c_w)


@given(layers(vq_schemes))
@settings(max_examples=60, deadline=None)
def test_search_takes_the_first_of_the_nearest(case: tuple[QuantizedLinear, np.ndarray]) -> None:
    q, x = case
    assert q.codebook is not None
    indices = interpreter.centroid_search(x, q.codebook, q.scheme.metric)
    wanted = [[slow_search(q, token[2 * p : 2 * p + 2], p) for p in range(q.pairs)] for token in x.tolist()]
    np.testing.assert_array_equal(indices, wanted)


@pytest.mark.parametrize("metric", METRICS)
def test_ties_go_to_the_lower_index(metric: str) -> None:
    book = np.array([[[[9, 9], [3, 0], [-3, 0], [0, 3], [3, 0]]]], dtype=np.int16)
    assert interpreter.centroid_search(np.zeros((1, 2), np.int64), book, metric).tolist() == [[[1]]]
    # At (2, 2): chebyshev to (3, 0) and (0, 3) is 2, squared l2 is 5; the lower index wins again.
    assert interpreter.centroid_search(np.full((1, 2), 2), book, metric).tolist() == [[[1]]]


def test_metrics_differ_where_they_should() -> None:
    book = np.array([[[[3, 3], [4, 0]]]], dtype=np.int16)
    origin = np.zeros((1, 2), np.int64)
    assert interpreter.centroid_search(origin, book, "chebyshev").tolist() == [[[0]]]
    assert interpreter.centroid_search(origin, book, "l2").tolist() == [[[1]]]


def test_search_has_room_for_the_farthest_centroids() -> None:
    book = np.full((1, 3, 1, 2), -32768, dtype=np.int16)
    x = np.full((1, 2), 32767)
    assert interpreter.centroid_search(x, book, "l2").tolist() == [[[0, 0, 0]]]


@given(layers(vq_schemes | exact_schemes), st.data())
@settings(max_examples=60, deadline=None)
def test_a_chain_of_partial_sums_equals_the_whole(
    case: tuple[QuantizedLinear, np.ndarray], data: st.DataObject
) -> None:
    q, x = case
    rows = interpreter.rows_of(q, x, q.scheme.row_sources[0])
    whole = interpreter.table_lookup(rows, q.codes, q.scheme.G)
    cuts = sorted(data.draw(st.lists(st.integers(0, q.pairs), max_size=3)))
    acc = None
    for start, stop in zip([0, *cuts], [*cuts, q.pairs], strict=True):
        part = interpreter.table_lookup(rows[:, start:stop], q.codes[start:stop], q.scheme.G)
        acc = interpreter.prefix_sum(part, acc)
    np.testing.assert_array_equal(acc, interpreter.prefix_sum(whole))
    np.testing.assert_array_equal(acc, whole.array().sum(axis=1))
    np.testing.assert_array_equal(acc, interpreter.prefix_sum(whole.array()))


@given(layers(vq_schemes | exact_schemes))
@settings(max_examples=25, deadline=None)
def test_leading_dimensions_are_tokens(case: tuple[QuantizedLinear, np.ndarray]) -> None:
    q, x = case
    stacked = np.stack([x, x[::-1]])[:, :, None]  # [2, T, 1, K]
    y = interpreter.linear(q, x)
    np.testing.assert_array_equal(interpreter.linear(q, stacked), np.stack([y, y[::-1]])[:, :, None])


@pytest.mark.parametrize("elements", [1, 1000, 1 << 22])
@pytest.mark.parametrize("scheme", [PAPER, ADDITIVE, EXACT], ids=["paper", "additive", "exact"])
def test_grouping_of_pairs_never_shows(monkeypatch: pytest.MonkeyPatch, scheme: Scheme, elements: int) -> None:
    q = random_linear(22, 13, replace(scheme, G=5))
    x = np.random.default_rng(0).integers(-32768, 32768, (3, 22))
    wanted = slow_linear(q, x)
    monkeypatch.setattr(layer, "GROUP_ELEMENTS", elements)
    for source in scheme.row_sources:
        np.testing.assert_array_equal(interpreter.linear(q, x, source), wanted)


def test_random_layers_reach_saturation_and_both_signs() -> None:
    """The cases above mean something: outputs are not all zero, and some saturate."""
    q = random_linear(64, 300, replace(ADDITIVE, out_bits=12), seed=3)
    y = interpreter.linear(q, np.random.default_rng(1).integers(-32768, 32768, (40, 64)))
    assert {int(y.min()), int(y.max())} == {-2048, 2047}
    assert len(np.unique(y)) > 1000


# --- what does not fit --------------------------------------------------------------------------------------------


def _layer() -> tuple[QuantizedLinear, np.ndarray]:
    q = random_linear(6, 5, Scheme(c_a=4, G=3, R=2, S=2), seed=1, tables=True)
    return q, np.random.default_rng(1).integers(-32768, 32768, (2, 6))


def _set(name: str, value: object) -> Callable[[QuantizedLinear], object]:
    return lambda q: setattr(q, name, value)


BROKEN: dict[str, tuple[Callable[[QuantizedLinear], object], str]] = {
    "codes": (lambda q: q.codes.__setitem__((0, 0, 0), 16), r"expected weight codes in 0..15, got 0..16"),
    "left shift": (lambda q: q.shifts.__setitem__((0, 1), 30), r"row \[.*\] must fit 24 signed bits, got"),
    "no right shift": (lambda q: q.shifts.__setitem__((slice(None), 0), 0), r"must fit 8 signed bits, got"),
    "negative shift": (lambda q: q.shifts.__setitem__((0, 0), -1), r"expected shifts in 0..31, got -1.."),
    "multiplier": (lambda q: q.multiplier.__setitem__(0, 0), r"expected multipliers in 1..32767, got 0.."),
    "multiplier width": (lambda q: q.multiplier.__setitem__(0, 32768), r"expected multipliers in 1..32767, got"),
    "shift": (_set("shift", 48), r"expected requantizer shifts in 0..47, got 48"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_does_not_fit_is_an_error(name: str) -> None:
    q, x = _layer()
    interpreter.linear(q, x)
    apply, message = BROKEN[name]
    apply(q)
    with pytest.raises(NumericsError, match=message):
        interpreter.linear(q, x, "built_table")
    with pytest.raises(NumericsError, match="must fit 8 signed bits" if name == "no right shift" else None):
        interpreter.linear(q, x, "built_row")


def test_inputs_wider_than_the_scheme_are_an_error() -> None:
    q, x = _layer()
    x[1, 2] = 32768
    with pytest.raises(NumericsError, match=r"input\[1, 2\] must fit 16 signed bits, got 32768"):
        interpreter.linear(q, x)


def test_stored_tables_wider_than_the_scheme_are_an_error() -> None:
    q, x = _layer()
    assert q.tables is not None
    q.tables = q.tables.astype(np.int32)
    q.tables[0, 0, 0, 0, 0, 0] = 128
    with pytest.raises(NumericsError, match=r"stored table entry.* must fit 8 signed bits, got 128"):
        interpreter.linear(q, x, "stored_table")


def test_indices_past_the_codebook_are_an_error() -> None:
    q, _ = _layer()
    indices = np.full((1, 3, 2), 4)
    assert q.tables is not None and q.codebook is not None
    with pytest.raises(NumericsError, match=r"expected centroid indices in 0..3, got 4..4"):
        interpreter.table_rows(indices, q.tables, q.shifts, 24)
    with pytest.raises(NumericsError, match=r"expected centroid indices in 0..3, got 4..4"):
        interpreter.built_row(indices, q.codebook, q.weight_codebook, q.shifts, 8, 24)


def test_a_sum_past_int32_is_an_error_even_when_it_comes_back() -> None:
    terms = np.array([[[2**31 - 1], [1], [-5]]])  # the whole sum fits, the running one does not
    with pytest.raises(NumericsError, match=r"sum up to pair 1 \[output, token\] \[0, 0\] must fit 32 signed bits"):
        interpreter.prefix_sum(terms)
    with pytest.raises(NumericsError, match="sum up to pair 0"):
        interpreter.prefix_sum(terms, np.array([[1]]))
    assert interpreter.prefix_sum(terms[:, :1]).tolist() == [[2**31 - 1]]


def test_a_term_past_int32_is_an_error() -> None:
    rows = np.full((1, 1, 1, 3, 2), 2**30, dtype=np.int64)
    with pytest.raises(NumericsError, match="term of pair 0"):
        interpreter.prefix_sum(interpreter.table_lookup(rows, np.zeros((1, 3, 1), np.uint8), 1))


def test_requantize_saturates_at_both_ends_and_rounds_halves_up() -> None:
    acc = np.array([[3, -3, 2**31 - 1, -(2**31)]])
    one, zero = np.ones(4, np.int32), np.zeros(4, np.int32)
    assert interpreter.requantize(acc, one, zero, 1, 8).tolist() == [[2, -1, 127, -128]]
    # 33 bits times 15 bits: nothing is lost on the way.
    most = np.full(4, 2**15 - 1, np.int32)
    bias = np.array([0, 0, 2**31 - 1, -(2**31)], np.int32)
    y = interpreter.requantize(acc, most, bias, 47, 32)
    assert y.tolist() == [
        [0, 0, shift_rounded((2**32 - 2) * (2**15 - 1), 47), shift_rounded(-(2**32) * (2**15 - 1), 47)]
    ]


@pytest.mark.parametrize(("acc", "bias", "what"), [(2**31, 0, "accumulator"), (0, 2**31, "bias")])
def test_requantize_refuses_what_is_wider_than_the_accumulator(acc: int, bias: int, what: str) -> None:
    with pytest.raises(NumericsError, match=rf"{what} ?\[.*\] must fit 32 signed bits, got 2147483648"):
        interpreter.requantize(np.array([[acc]]), np.array([1]), np.array([bias]), 0, 24)


def test_a_row_source_of_another_kind_is_refused() -> None:
    q, x = _layer()
    with pytest.raises(
        InputError, match="expected row source stored_table or built_table or built_row, got 'exact_row'"
    ):
        interpreter.linear(q, x, "exact_row")
    with pytest.raises(InputError, match="expected a scheme of kind 'vq' to make tables, got 'exact'"):
        interpreter.make_tables(random_linear(4, 4, EXACT))


def test_inputs_of_another_width_are_refused() -> None:
    q, x = _layer()
    with pytest.raises(InputError, match=r"expected inputs \[..., 6\], got \[2, 4\]"):
        interpreter.linear(q, x[:, :4])


@pytest.mark.parametrize("scheme", [PAPER, replace(ADDITIVE, metric="l2"), EXACT], ids=["paper", "additive", "exact"])
def test_real_sizes_take_seconds(scheme: Scheme) -> None:
    """64 tokens of 1536 x 1536; a few of the outputs are compared."""
    q = random_linear(1536, 1536, scheme)
    x = np.random.default_rng(0).integers(-32768, 32768, (64, 1536))
    start = time.process_time()
    y = interpreter.linear(q, x)
    assert time.process_time() - start < 5
    few = [0, 511, 512, 1535]
    only = replace(q, codes=q.codes[:, :, few], multiplier=q.multiplier[few], bias=q.bias[few])
    only.scheme = scheme.with_(G=1)
    only.weight_codebook = q.weight_codebook[:, [o // scheme.G for o in few]]
    np.testing.assert_array_equal(y[:2, few], slow_linear(only, x[:2]))
