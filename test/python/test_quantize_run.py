"""`quantize` as a whole on a tiny model: the same bytes for the same seed, after a kill too; bad input is named."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import ClassVar

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm import interpreter, store  # noqa: E402
from lutllm.errors import InputError, LutllmError  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.text import Text, windows  # noqa: E402
from lutllm.quantizer import FloatLinear, VectorQuantizer, quantize, record, validate  # noqa: E402
from lutllm.quantizer.driver import _windows  # noqa: E402
from lutllm.quantizer.observe.recording import LayerStream, linears  # noqa: E402
from lutllm.quantizer.observe.simulated import simulated  # noqa: E402
from lutllm.scheme import ADDITIVE, EXACT, PAPER  # noqa: E402

SMALL = {"tokens": 256, "window": 64, "progress": False, "seed": 7}
SCHEME = EXACT.with_(R=1, G=48)
KINDS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@pytest.fixture(scope="module")
def model():
    return load("tiny-llama", seed=1)


def files(directory):
    return {p.name: p.read_bytes() for p in directory.iterdir() if p.is_file() and p.name != ".lock"}


def same(a, b):
    assert list(a.linears) == list(b.linears) and a.errors == b.errors
    for name in a.linears:
        left, right = a.linears[name].tensors(), b.linears[name].tensors()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key])
        np.testing.assert_array_equal(a.samples[name], b.samples[name])


def test_a_cluster_gives_the_same_bytes_though_a_worker_dies(model, tmp_path):
    distributed = pytest.importorskip("distributed", reason="pip install 'lutllm[explore]'")
    alone = quantize(model, scheme=ADDITIVE, **SMALL)
    with distributed.LocalCluster(n_workers=3, threads_per_worker=1, dashboard_address=None) as cluster:
        workers = [worker.pid for worker in cluster.workers.values()]

        def kill_one(entry):
            if entry["linear"].endswith("layers.0.self_attn.q_proj"):
                os.kill(workers[0], signal.SIGKILL)

        there = quantize(model, scheme=ADDITIVE, cluster=cluster.scheduler_address, listener=kill_one, **SMALL)
        assert cluster.scheduler.transition_counter, "no work was asked of it"
        assert workers[0] not in [worker.pid for worker in cluster.workers.values()]
    same(alone, there)


@pytest.mark.parametrize("scheme", [PAPER.with_(c_a=16), ADDITIVE, EXACT])
def test_a_layer_is_quantized(model, scheme):
    result = quantize(model, layers=[1], scheme=scheme, **SMALL)
    assert [name.split(".")[-1] for name in result.linears] == list(KINDS)
    assert all(".layers.1." in name for name in result.linears)
    q, k, v, o, gate, up, down = result.linears.values()
    assert q.input_name == k.input_name == v.input_name == f"{q.name}.input"
    assert gate.input_name == up.input_name == f"{gate.name}.input"
    assert len({x.input_name for x in (q, o, gate, down)}) == 4
    for name, linear in result.linears.items():
        validate(linear)
        sample = result.samples[name]
        assert sample.dtype == np.int16 and len(sample) >= 16 and 0.0 < result.errors[name] < 0.6
        top = np.abs(interpreter.linear(linear, sample)).max()
        assert 1 << 12 < top < (1 << 23) - 1, "the output uses its width and does not saturate"


@pytest.mark.parametrize("apart", [True, False], ids=["documents held apart", "one document"])
def test_a_part_of_the_calibration_windows_is_of_all_the_text(model, apart):
    """A quantizer may keep its first tokens only."""
    documents = {f"{i:03}": f"{i} is the number after {i - 1}. " * 40 for i in range(200)}
    text = Text(documents if apart else {"all": "".join(documents.values())}, "numbers", "none")
    whole = text.split()[0] if apart else text
    ordered = windows(model.tokenizer, whole, 64, 64 if apart else 66, 7).tolist()
    calibration, evaluation, _ = _windows(model, text, 64 * 64, 64, 7)
    places = [ordered.index(window) for window in calibration.tolist()]
    assert len(set(places)) == 64 and min(places[:16]) < 16 and max(places[:16]) >= 48
    assert not any(window in calibration.tolist() for window in evaluation.tolist())


def test_seeds_repeat_and_differ(model):
    first, again = (quantize(model, layers=[0], scheme=SCHEME, **SMALL) for _ in range(2))
    same(first, again)
    other = quantize(model, layers=[0], scheme=SCHEME, **{**SMALL, "seed": 8})
    assert any(not np.array_equal(other.linears[n].codes, first.linears[n].codes) for n in first.linears)


def test_one_layer_alone_is_as_among_all(model):
    alone = quantize(model, layers=[1], scheme=SCHEME, sequential=False, **SMALL)
    every = quantize(model, scheme=SCHEME, sequential=False, **SMALL)
    assert len(every.linears) == 7 * model.config.num_hidden_layers
    for name, linear in alone.linears.items():
        np.testing.assert_array_equal(linear.codes, every.linears[name].codes)


def test_walking_layer_by_layer_records_what_a_whole_run_does(model):
    windows = [np.arange(32) % 50, np.arange(32)[::-1].copy() % 40]
    names = linears(model.module, [1])
    walked = list(LayerStream(model.module, names, windows).layer(names))
    whole = list(record(model.module, names, windows))
    assert len(walked) == len(whole) == 2
    for a, b in zip(walked, whole, strict=True):
        for name in names:
            assert a[name].input_name == b[name].input_name
            np.testing.assert_allclose(a[name].x, b[name].x, rtol=1e-4, atol=1e-5)


def test_windows_pass_through_quantized_layers_to_the_head(model):
    windows = [np.arange(32) % 50, np.arange(32)[::-1].copy() % 40]
    names = [*linears(model.module), "lm_head"]
    stream = LayerStream(model.module, names, windows)
    groups = stream.groups(names)
    assert [len(g) for g in groups] == [*[7] * model.config.num_hidden_layers, 1]
    found = quantize(model, scheme=SCHEME, sequential=False, **SMALL).linears
    whole = list(record(simulated(model.module, found), names[:1] + names[-8:], windows))
    for group in groups[:-1]:
        walked = list(stream.layer(group, leave=group != groups[-2])) if group != groups[0] else []
        stream.replace({name: found[name] for name in group})
    for a, b in zip(walked, whole, strict=True):
        np.testing.assert_allclose(a[groups[-2][0]].x, b[groups[-2][0]].x, rtol=1e-3, atol=1e-4)
    for a, b in zip(stream.layer(groups[-1]), whole, strict=True):
        np.testing.assert_allclose(a["lm_head"].x, b["lm_head"].x, rtol=1e-3, atol=1e-4)
    assert isinstance(model.module.model.layers, torch.nn.ModuleList) and len(model.module.model.layers) > 1


def test_layers_are_fitted_to_what_the_layers_before_them_leave(model):
    name = "model.layers.1.self_attn.q_proj"
    alone, after = (quantize(model, scheme=SCHEME, sequential=s, **SMALL).linears for s in (False, True))
    first = "model.layers.0.self_attn.q_proj"
    np.testing.assert_array_equal(alone[first].codes, after[first].codes)
    assert not np.array_equal(alone[name].codes, after[name].codes)


def test_important_outputs_are_fitted_better(model):
    name = "model.layers.1.mlp.down_proj"
    outputs = model.module.get_submodule(name).out_features
    importance = np.where(np.arange(outputs) < 4, 300.0, 1.0)
    errors = []
    for given in (None, {name: importance}):
        linear = quantize(model, layers=[name], scheme=SCHEME, importance=given, **SMALL).linears[name]
        weight = simulated(model.module, {name: linear}).get_submodule(name).columns.numpy().T
        errors.append(np.linalg.norm((weight - model.module.get_submodule(name).weight.numpy())[:4]))
    assert errors[1] < 0.9 * errors[0]


def test_recording_stops_after_the_last_linear_wanted():
    class Fails(torch.nn.Module):
        def forward(self, x):
            raise AssertionError("ran too far")

    net = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Linear(6, 2), Fails())
    x = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    (seen,) = record(net, ["0", "1"], [x])
    np.testing.assert_array_equal(seen["0"].x, x)
    assert seen["1"].x.shape == (5, 6) and seen["1"].input_name == "1.input"


CHILD = """
import os, signal, sys
from lutllm.models import load
from lutllm.quantizer import quantize
from lutllm.quantizer.resume import RunDirectory
from lutllm.scheme import EXACT
left, put = int(sys.argv[2]), RunDirectory.put
def dying(self, linear, sample):
    global left
    kept = put(self, linear, sample)
    left -= 1
    if left == 0:
        (self.path / "parts" / ".half.partial").write_bytes(b"half")
        os.kill(os.getpid(), signal.SIGKILL)
    return kept
RunDirectory.put = dying
quantize(load("tiny-llama", seed=1), layers=[0, 1], scheme=EXACT.with_(R=1, G=48), tokens=256, window=64, seed=7,
         out_dir=sys.argv[1], progress=False)
"""


def test_a_killed_run_goes_on_and_gives_the_same_bytes(model, tmp_path, capsys):
    whole = quantize(model, layers=[0, 1], scheme=SCHEME, out_dir=tmp_path / "whole", **SMALL)
    child = subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "killed"), "9"], check=False)
    assert child.returncode == -signal.SIGKILL
    assert not (tmp_path / "killed" / store.SIDECAR).exists()
    again = quantize(model, layers=[0, 1], scheme=SCHEME, out_dir=tmp_path / "killed", **{**SMALL, "progress": True})
    lines = capsys.readouterr().err.splitlines()
    assert sum("kept from an earlier run" in line for line in lines) == 9
    assert len(lines) == 14 and re.search(r"\[14/14\] \S+ \d+x\d+ exact R=1 2.00/\d+\.\d+ bit, error 0\.\d+", lines[-1])
    same(whole, again)
    assert files(tmp_path / "whole") == files(tmp_path / "killed")
    assert not (tmp_path / "killed" / "parts").exists()


def test_a_changed_part_is_made_again(model, tmp_path, capsys):
    """A linear, the sample of three others, and one whose hash is not there."""
    whole = quantize(model, layers=[0, 1], scheme=SCHEME, out_dir=tmp_path / "whole", **SMALL)
    subprocess.run([sys.executable, "-c", CHILD, str(tmp_path / "killed"), "9"], check=False)
    parts = tmp_path / "killed" / "parts"
    for part in ("model.layers.0.mlp.down_proj", "model.layers.0.self_attn.q_proj.input.sample"):
        data = bytearray((parts / f"{part}.safetensors").read_bytes())
        data[-5] ^= 4
        (parts / f"{part}.safetensors").write_bytes(data)
    (parts / "model.layers.0.self_attn.o_proj.safetensors.sha256").unlink()
    again = quantize(model, layers=[0, 1], scheme=SCHEME, out_dir=tmp_path / "killed", **{**SMALL, "progress": True})
    assert capsys.readouterr().err.count("kept from an earlier run") == 9 - 1 - 3 - 1
    same(whole, again)
    assert files(tmp_path / "whole") == files(tmp_path / "killed")


def test_a_finished_run_is_read_back_and_another_refused(model, tmp_path, monkeypatch):
    arguments = {"layers": [0], "scheme": SCHEME, "out_dir": tmp_path, **SMALL}
    first = quantize(model, **arguments)
    monkeypatch.setattr(VectorQuantizer, "quantize_linear", None)  # nothing is computed again
    same(first, quantize(model, **arguments))
    assert list(store.load_linears(tmp_path)) == list(first.linears)
    assert json.loads((tmp_path / "quantization.json").read_text())["run"]["seed"] == 7
    for change, name in (
        ({"seed": 8}, "seed"),
        ({"scheme": SCHEME.with_(R=2)}, "schemes"),
        ({"layers": [1]}, "schemes"),
        ({"text": Text({"a": "other words " * 900}, "other", "none")}, "text"),
    ):
        with pytest.raises(InputError, match=f"expected a run with {name} = .*use another directory"):
            quantize(model, **{**arguments, **change})
    with pytest.raises(InputError, match="expected a run with model = "):
        quantize(load("tiny-llama", seed=2), **arguments)


def test_a_full_disk_leaves_a_run_that_can_go_on(model, tmp_path, monkeypatch):
    arguments = {"layers": [0], "scheme": SCHEME, **SMALL}
    real, count = os.fsync, [0]

    def full(handle):
        count[0] += 1
        if count[0] > 19:
            raise OSError(28, "No space left on device")
        real(handle)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(LutllmError, match="got No space left on device; nothing was changed"):
            quantize(model, out_dir=tmp_path / "a", **arguments)
    assert not list((tmp_path / "a").rglob("*.partial"))
    kept = list((tmp_path / "a" / "parts").glob("*_proj.safetensors"))
    assert 0 < len(kept) < 7
    quantize(model, out_dir=tmp_path / "a", **arguments)
    quantize(model, out_dir=tmp_path / "b", **arguments)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_another_quantizer_is_one_class(model):
    class Spy(VectorQuantizer):
        seen: ClassVar[dict] = {}

        def observe(self, input_name, x):
            self.seen[input_name] = self.seen.get(input_name, 0) + len(x)
            super().observe(input_name, x)

        def quantize_linear(self, linear: FloatLinear):
            return super().quantize_linear(linear)

    names = linears(model.module, [0])
    schemes = {name: SCHEME if "mlp" in name else ADDITIVE for name in names}
    result = quantize(model, layers=[0], scheme=schemes, quantizer=Spy, **SMALL)
    assert set(Spy.seen.values()) == {256} and len(Spy.seen) == 4
    assert {name: q.scheme for name, q in result.linears.items()} == schemes


def test_bad_input_is_named(model, tmp_path):
    small = {**SMALL, "scheme": SCHEME}
    with pytest.raises(
        InputError, match=r"expected layers of this model that hold linears \(layers 0\.\.\d+\), got 99"
    ):
        quantize(model, layers=[99], **small)
    with pytest.raises(InputError, match="got 'nothing'"):
        quantize(model, layers=["nothing"], **small)
    with pytest.raises(InputError, match="expected one of paper, additive, exact, got 'best'"):
        quantize(model, layers=[0], **{**small, "scheme": "best"})
    with pytest.raises(InputError, match="expected one for each linear"):
        quantize(model, layers=[0], **{**small, "scheme": {}})
    (tmp_path / "empty.txt").write_text(" \n")
    with pytest.raises(InputError, match="expected text, got an empty file"):
        quantize(model, layers=[0], text=tmp_path / "empty.txt", **small)
    with pytest.raises(InputError, match=r"expected at least 384 tokens .* got 0"):
        quantize(model, layers=[0], text=Text({}, "nowhere", "none"), **small)
    with pytest.raises(InputError, match="expected at least 1 token"):
        quantize(model, layers=[0], **{**small, "tokens": 0})
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="expected a directory that can be written"):
        quantize(model, layers=[0], out_dir=tmp_path / "file", **small)


def test_bad_models_are_named():
    bad = load("tiny-llama", seed=3)
    bad.module.model.layers[0].mlp.up_proj.weight[:] = float("inf")
    with pytest.raises(InputError, match=r"'model\.layers\.1\.self_attn\.q_proj\.input': expected finite values"):
        quantize(bad, layers=[1], scheme=SCHEME, **SMALL)
    name = "model.layers.1.self_attn.v_proj"
    bad.module.get_submodule(name).weight[3, 5] = float("nan")
    with pytest.raises(InputError, match=rf"'{name}.weight': expected finite values, got nan at \[3, 5\]"):
        quantize(bad, layers=[1], scheme=SCHEME, **SMALL)
    bad.module.model.layers[0].mlp.down_proj = torch.nn.Linear(7, 5)
    with pytest.raises(InputError, match=r"even number of inputs, got 'model.layers.0.mlp.down_proj' 7; leave"):
        quantize(bad, layers=[0], scheme=SCHEME, **SMALL)
    bad.module.get_submodule(name).weight[:] = 1.0
    bad.tokenizer = None
    with pytest.raises(InputError, match="expected a model with a tokenizer"):
        quantize(bad, layers=[1], scheme=SCHEME, **SMALL)
