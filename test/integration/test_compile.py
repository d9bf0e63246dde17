"""The main job on a tiny random Llama, end to end, and what goes wrong around it. One compilation serves all tests."""

import hashlib
import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="model import needs torch: pip install 'lutllm[models]'")

import lutllm
from lutllm import compiler, store
from lutllm.bindings import ir
from lutllm.errors import InputError, IRError
from lutllm.lowering.levels import check_level
from lutllm.simulate.saved import simulate_saved
from lutllm.tools.lutllm import main

KEYS = {
    *("linear", "scheme", "row_source", "tokens", "equal", "mismatches"),
    *("cycles", "lookups_per_cycle", "bits_code", "bits_effective", "output_error"),
}
OPTIONS = dict(schemes=("paper", "exact:1"), target="tiny", tokens=6, calibration=2048)


def tiny_options(**changes):
    return compiler.Options(**{**OPTIONS, "layers": [1], **changes})


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    return compiler.compile("tiny-llama", tmp_path_factory.mktemp("job"), tiny_options())


def test_the_public_names_are_the_main_jobs():
    assert lutllm.compile is compiler.compile and lutllm.Options is compiler.Options
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = lutllm.nothing


def test_every_linear_and_row_source_is_equal(job):
    assert job.equal and not job.mismatches
    expected = {("paper", s) for s in ("stored_table", "built_table", "built_row")} | {("exact:1", "exact_row")}
    assert {(row["scheme"], row["row_source"]) for row in job.rows} == expected
    assert len(job.rows) == 7 * 4
    assert all(row["equal"] and row["tokens"] == 6 and row["mismatches"] == 0 for row in job.rows)


def test_equality_report_has_the_promised_keys(job):
    rows = json.loads((job.directory / "reports" / "equality.json").read_text())
    assert rows == job.rows
    assert all(set(row) >= KEYS for row in rows)
    assert all(0 < row["output_error"] < 1 and row["bits_effective"] > row["bits_code"] for row in rows)


def test_cycles_of_a_program_add_up(job):
    runs = {run["program"]: run for run in simulate_saved(job.directory)}
    for name, run in runs.items():
        _, scheme, source = name.split(".")
        rows = [r for r in job.rows if r["scheme"].replace(":", "-r") == scheme and r["row_source"] == source]
        assert sum(row["cycles"] for row in rows) == run["cycles"]


def test_manifest_has_the_hash_of_every_file(job):
    manifest = json.loads((job.directory / "manifest.json").read_text())
    for name, digest in manifest["files"].items():
        path = job.directory / name
        if path.is_file():
            assert hashlib.sha256(path.read_bytes()).hexdigest() == digest, name
    assert {"ir/layer1.torch.mlir", "rtl/lut_accelerator.sv", "mem/layer1.paper.built_row.bin"} <= set(
        manifest["files"]
    )
    assert manifest["options"]["seed"] == 0 and manifest["model"]["name"] == "tiny-llama"


def test_saved_programs_run_again_under_another_memory(job, capsys, tmp_path):
    report = tmp_path / "runs.json"
    wave = tmp_path / "w.vcd"
    arguments = ["simulate", str(job.directory), "--program", "layer1.paper.built_row", "--latency", "200"]
    code = main([*arguments, "--stalls", "80", "--json", str(report), "--wave", str(wave), "--wave-cycles", "10:50"])
    assert code == 0
    (run,) = json.loads(report.read_text())
    assert run["equal"] and run["linears"] == 7
    assert wave.read_text().count("$var") > 100
    assert "layer1.paper.built_row" in capsys.readouterr().out


def test_same_input_gives_the_same_bytes(job, tmp_path):
    again = compiler.compile("tiny-llama", tmp_path / "again", tiny_options())
    for path in sorted(job.directory.rglob("*")):
        relative = path.relative_to(job.directory)
        if (
            path.is_file()
            and relative.name not in ("timing.json", "manifest.json")
            and "quantized" not in relative.parts
        ):
            other = (again.directory / relative).read_bytes()
            mine = path.read_bytes()
            same = mine.replace(str(job.directory).encode(), b"") == other.replace(str(again.directory).encode(), b"")
            assert same, relative


def test_the_same_rtl_runs_another_layer(job, tmp_path):
    other = compiler.compile("tiny-llama", tmp_path / "other", tiny_options(layers=[0]))
    mine = {p.name: p.read_bytes() for p in (job.directory / "rtl").iterdir()}
    assert mine == {p.name: p.read_bytes() for p in (other.directory / "rtl").iterdir()}


def test_a_wrong_weight_is_found_and_named(job, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(job.directory, copy)
    image = copy / "mem" / "layer1.paper.built_row.bin"
    data = bytearray(image.read_bytes())
    text = (copy / "ir" / "layer1.paper.built_row.scheduled.mlir").read_text()
    line = next(item for item in text.splitlines() if "lut.region" in item and "q_proj.0.w0" in item)
    start = int(line.split("address = ")[1].split(",")[0])
    data[start : start + 64] = bytes(64)
    image.write_bytes(data)
    code = main(["simulate", str(copy), "--program", "layer1.paper.built_row"])
    error = capsys.readouterr().err
    assert code == 1
    assert "'lut.requantize' of model.layers.1.self_attn.q_proj (built_row): element [0, " in error
    assert "written at cycle" in error and "expected" in error and "got" in error


def test_an_image_that_does_not_fit_the_map_is_refused(job, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(job.directory, copy)
    image = copy / "mem" / "layer1.paper.built_row.bin"
    image.write_bytes(image.read_bytes()[:-1])
    assert main(["simulate", str(copy), "--program", "layer1.paper.built_row"]) == 1
    assert "expected an image of" in capsys.readouterr().err


def test_levels_hold_what_they_promise(job):
    from lutllm import dialect

    with dialect.context(), ir.Location.unknown():
        text = (job.directory / "ir" / "layer1.paper.built_row.steps.mlir").read_text()
        module = ir.Module.parse(text)
        check_level(module, "steps")
        with pytest.raises(IRError, match=r"'lut.centroid_search' op may not stand at level lut"):
            check_level(module, "lut")


def test_pytorch_names_reach_the_schedule(job):
    text = (job.directory / "ir" / "layer1.paper.built_row.scheduled.mlir").read_text()
    assert 'label = "model.layers.1.mlp.down_proj"' in text
    assert 'loc("model.layers.1.mlp.down_proj"' in text


def test_stored_results_are_the_golden_models(job):
    golden = store.load(job.directory / "mem" / "layer1.paper.built_row.expected.safetensors")
    tables = store.load(job.directory / "mem" / "layer1.paper.stored_table.expected.safetensors")
    assert set(golden) == set(tables) and len(golden) == 7
    assert all(np.array_equal(golden[name], tables[name]) for name in golden)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(schemes=("fancy",)), "expected schemes among paper, additive, exact"),
        (dict(schemes=("paper:x",)), "expected schemes among"),
        (dict(target="huge"), "expected a target among"),
        (dict(simulator="vcs"), "expected a simulator among"),
        (dict(layers=[2]), "expected decoder layers in 0..1, got layer 2"),
    ],
)
def test_wrong_options_are_one_clear_error(changes, message, tmp_path):
    with pytest.raises(InputError, match=message):
        compiler.compile("tiny-llama", tmp_path, tiny_options(**changes))


def test_additive_scheme_of_qwen3(tmp_path):
    result = compiler.compile(
        "tiny-qwen3", tmp_path, tiny_options(layers=[0], schemes=("additive",), tokens=5, target="small")
    )
    assert result.equal and len(result.rows) == 7 * 3


def test_the_page_shows_every_linear_and_what_differs(job):
    from lutllm.report.linears_page import linears_page

    text = (job.directory / "reports" / "report.html").read_text()
    assert text.count("<rect") == len(job.rows) and "all 28 equal the golden model" in text
    wrong = [{**job.rows[0], "equal": False, "first_mismatch": "<here>"}, *job.rows[1:]]
    assert "class=wrong" in linears_page("t", wrong, 16) and "&lt;here&gt;" in linears_page("t", wrong, 16)
