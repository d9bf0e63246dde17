"""Mixed precision: the solver against all choices, measured costs, and what bits are counted."""

import itertools

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.quantizer import random_linear
from lutllm.quantizer.allocation import allocate, effective_bits, measure_costs
from lutllm.scheme import EXACT

ONE, TWO, THREE = (EXACT.with_(R=r, G=64) for r in (1, 2, 3))


def test_no_other_choice_within_the_budget_is_better():
    rng = np.random.default_rng(0)
    for budget in (2.1, 3.0, 4.5, 9.0):
        sizes = {name: int(rng.integers(1, 50)) for name in "abcdef"}
        bits = {name: {ONE: 2.0, TWO: 4.0, THREE: 6.0} for name in sizes}
        costs = {
            name: dict(zip((ONE, TWO, THREE), sorted(rng.exponential(size=3))[::-1], strict=True)) for name in sizes
        }
        found = allocate(costs, bits, sizes, budget)
        total = sum(sizes.values())

        def used(choice, bits=bits, sizes=sizes, total=total):
            return sum(bits[n][s] * sizes[n] for n, s in choice.items()) / total

        every = (dict(zip(sizes, c, strict=True)) for c in itertools.product((ONE, TWO, THREE), repeat=6))
        best = min(sum(costs[n][s] for n, s in c.items()) for c in every if used(c) <= budget)
        assert used(found) <= budget + 1e-9
        assert sum(costs[n][s] for n, s in found.items()) <= best * 1.002


def test_too_few_bits_are_an_error():
    with pytest.raises(InputError, match=r"expected at least 2\.00 effective bits a weight for this model, got 1\.5"):
        allocate({"a": {ONE: 1.0}}, {"a": {ONE: 2.0}}, {"a": 10}, 1.5)


@pytest.mark.parametrize("scheme", [ONE, TWO, EXACT.with_(R=2, c_w=8, G=24)])
def test_bits_from_the_shape_are_those_of_the_linear(scheme):
    linear = random_linear(16, 80, scheme, seed=1)
    assert effective_bits(scheme, 80, 16) == pytest.approx(linear.bits_per_weight()[1])


def test_costs_fall_with_bits_and_grow_with_importance():
    pytest.importorskip("torch")
    from lutllm.models import load

    module = load("tiny-llama", seed=1).module
    names = ["model.layers.0.mlp.up_proj", "model.layers.1.self_attn.v_proj", "lm_head"]
    outputs = {name: module.get_submodule(name).out_features for name in names}
    windows = [np.arange(64) % 50, np.arange(64)[::-1].copy() % 40]
    found = [
        measure_costs(
            module,
            dict.fromkeys(names, (ONE, TWO)),
            windows,
            {n: np.full(k, g) for n, k in outputs.items()},
            quiet=True,
        )
        for g in (1.0, 2.0)
    ]
    for name in names:
        assert found[0][name][TWO] < 0.5 * found[0][name][ONE]
        assert found[1][name][ONE] == pytest.approx(2 * found[0][name][ONE])
