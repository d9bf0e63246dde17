"""`lutllm explore` on a tiny model: points, what they are in simulation, what cannot be had, and how it goes on."""

import json
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import lutllm
from lutllm import dialect
from lutllm.errors import InputError, MissingDependencyError
from lutllm.explore import search as searching
from lutllm.explore.evaluate import Job, evaluate
from lutllm.explore.search import Search
from lutllm.explore.space import AROUND, ENGINE, MODEL, PORTS, Space
from lutllm.lowering.machine.targets import find_target
from lutllm.quantizer.random.float_models import float_decoder
from lutllm.scheme import ADDITIVE, EXACT
from lutllm.tools.lutllm import main
from lutllm.workers import pool

pytest.importorskip("plotly", reason="pip install 'lutllm[explore]'")

SCHEME = EXACT.with_(R=1, G=64)
KEYS = {
    "target", "core_mhz", "memory_mhz", "decode_cycles", "decode_ms", "prefill_cycles", "prefill_ms", "hbm_busy",
    "bits_effective", "resources", "error",
}  # fmt: skip
COMMAND = ["explore", "tiny", "--target", "tiny", "--kv", "12", "--prefill", "9", "--block", "64", "--quiet"]


@pytest.fixture(scope="module")
def job() -> Job:
    module = float_decoder(hidden=24, intermediate=40, layers=1, heads=2, kv_heads=1, head_dim=12, vocabulary=60)
    return Job("tiny", "", dialect.module_text(module), SCHEME, 12, 9)


class Here(Executor):
    """Work is done as it comes."""

    def submit(self, work: Any, *arguments: Any, **_: Any) -> Future[Any]:
        done: Future[Any] = Future()
        done.set_result(work(*arguments))
        return done


@pytest.fixture(autouse=True)
def here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Points are evaluated in this process, one after the other, where a test does not ask for others."""
    monkeypatch.setattr(searching, "pool", lambda cluster, spawned: Here())


def space(target: str = "tiny", scheme: Any = SCHEME, blocks: tuple[int, ...] = ()) -> Space:
    return Space(find_target(target), target, [scheme], blocks)


def test_dimensions_are_those_of_the_ranges_that_the_model_leaves_open() -> None:
    exact = {(d.table, d.name) for d in space().dimensions}
    assert {(ENGINE, "pairs"), (ENGINE, "lanes"), (ENGINE, "tokens"), (ENGINE, "weight_ports")} <= exact
    assert {(AROUND, "head_lanes"), (PORTS, "w"), (PORTS, "c"), (PORTS, "q")} <= exact
    assert not {"centroids", "chains", "act_stages", "term_bits", "weight_bits", "row_entries"} & {n for _, n in exact}
    searched = {(d.table, d.name): d.values for d in space(scheme=ADDITIVE, blocks=(64, 128)).dimensions}
    assert (ENGINE, "chains") in searched and searched[(MODEL, "block")] == (64, 128)
    assert searched[(MODEL, "row_source")] == ("", *ADDITIVE.row_sources) or len(searched[(MODEL, "row_source")]) == 4
    assert max(searched[(PORTS, "w")]) == 128  # the widest port of the target


def test_neighbours_can_be_built_and_their_files_say_what_they_are(tmp_path: Path) -> None:
    found = space("u280")
    changes = [found.changes(point) for point in found.neighbours(found.start)]
    assert all(1 <= len(change) <= 2 for change in changes)
    assert {"pairs": 32} in changes and {"pairs": 8, "weight_ports": 8} in changes  # more ports than pairs cannot be
    for point in found.neighbours(found.start):
        (tmp_path / "point.toml").write_text(found.file(point))
        target, changed = find_target(str(tmp_path / "point.toml")), found.changes(point)
        for name, value in changed.items():
            where = target.engine.port_bits if name in "wcq" else vars(target.engine) | vars(target.accelerator)
            assert where[name] == value
        assert target.device == found.target.device


def test_the_verb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*COMMAND, "--points", "5", "-o", str(tmp_path / "out"), "--json", str(tmp_path / "out.json"), "--debug"]
    assert main(command) == 0
    report = json.loads((tmp_path / "out.json").read_text())
    assert report == json.loads((tmp_path / "out" / "front.json").read_text())
    assert report["tried"] + report["refused"] == 5
    times = [point["decode_ms"] for point in report["points"]]
    assert times == sorted(times) and all(set(point) >= KEYS for point in report["points"])
    best = report["points"][0]
    simulated = best["simulated"]
    assert simulated["equal"] and simulated["cycles"] == simulated["predicted_cycles"]
    assert all(point["simulated"] is None for point in report["points"][1:])
    text = (tmp_path / "out" / "best.toml").read_text()
    assert text == (tmp_path / "out" / "points" / best["config"]).read_text()
    page = (tmp_path / "out" / "front.html").read_text()
    assert "Plotly.react" in page and "http-equiv" not in page and best["config"] in page
    assert "as predicted" in capsys.readouterr().out

    # The point's file is a target of its own: its estimate is the point's.
    again = ["estimate", "tiny", "--target", str(tmp_path / "out" / "best.toml"), *COMMAND[4:-1]]
    assert main([*again, "--json", str(tmp_path / "again.json")]) == 0
    assert json.loads((tmp_path / "again.json").read_text())["decode_cycles"] == best["decode_cycles"]


def test_it_goes_on_where_it_was(job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run(most: int) -> Search:
        search = Search(space(), job, "decode", {}, tmp_path, most, quiet=True)
        search.run()
        return search

    first = run(3)
    assert len(first.tried) == 3
    done: list[Job] = []
    monkeypatch.setattr(searching, "evaluate", lambda job: done.append(job) or evaluate(job))
    second = run(5)
    assert len(second.tried) == 5 and len(done) == 2
    assert [found.estimate for found in first.tried.values()] == [found.estimate for found in second.tried.values()][:3]
    other = replace(job, kv=11)
    assert other.key != job.key


def test_what_cannot_be_had(job: Job, tmp_path: Path) -> None:
    search = Search(space(), job, "decode", {"LUT": 1e-6}, tmp_path, 3, quiet=True)
    with pytest.raises(InputError) as raised:
        search.run()
    message = raised.value.message
    nearest = min(found.value("LUT") for found in search.tried.values())
    assert message.startswith("expected LUT of at most 1e-06 of what there is, got ") and "LUT too many" in message
    allowed = float(message.rpartition("--limit LUT=")[2].partition(",")[0])
    assert nearest <= allowed < nearest + 1e-3
    assert Search(space(), job, "decode", {"LUT": allowed}, tmp_path, 3, quiet=True).run()
    impossible = {"decode_ms": 1e-9}
    with pytest.raises(InputError, match=r"expected decode_ms of at most 1e-09 ms, got \S+ at the nearest of 3 points"):
        Search(space(), job, "decode", impossible, tmp_path, 3, quiet=True).run()


def test_a_point_that_cannot_be_built_is_refused(job: Job) -> None:
    file = 'like = "tiny"\nsummary = "little"\n[memory]\nbytes = 5000\n[sources]\nmemory = "mine"\n'
    assert "expected at most 5000 bytes" in evaluate(replace(job, file=file))["refused"]


def test_the_front_is_what_nothing_beats(job: Job, tmp_path: Path) -> None:
    search = Search(space(), job, "area", {}, tmp_path, 6, quiet=True)
    front = search.run()
    assert [found.value("area") for found in front] == sorted(found.value("area") for found in front)
    for found in front:
        assert not any(
            other.value("area") <= found.value("area") and other.value("decode_ms") < found.value("decode_ms")
            for other in search.tried.values()
        )


def test_points_in_processes_and_on_a_cluster(tmp_path: Path, job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """What evaluates points, which the other tests leave out: both ways give what this process gives."""
    distributed = pytest.importorskip("distributed", reason="pip install 'lutllm[explore]'")
    start = space()
    expected = evaluate(replace(job, file=start.file(start.start)))
    monkeypatch.setattr(searching, "pool", pool)
    of_one = dict(n_workers=1, threads_per_worker=1, processes=True, dashboard_address=None)
    with distributed.LocalCluster(**of_one) as cluster:
        for where, address in {"here": None, "there": cluster.scheduler_address}.items():
            search = Search(start, job, "decode", {}, tmp_path / where, most=1, quiet=True)
            (found,) = search.run(address)
            assert found.estimate == expected


def test_without_packages(
    job: Job, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import builtins

    real = builtins.__import__

    def without(name: str, *rest: Any, **names: Any) -> Any:
        if name.partition(".")[0] in ("distributed", "plotly"):
            raise ImportError(name)
        return real(name, *rest, **names)

    monkeypatch.setattr(builtins, "__import__", without)
    with (
        pytest.raises(MissingDependencyError, match="expected package 'distributed' for --cluster"),
        pool("tcp://127.0.0.1:1", ThreadPoolExecutor),
    ):
        pass
    assert main([*COMMAND, "-o", str(tmp_path / "out")]) == 1
    assert "expected package 'plotly' for charts, got none" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()  # said before any point was estimated


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--limit", "LUT=0"], 2, "expected NAME=VALUE above 0 with a name of decode_ms"),
        (["--limit", "LUTS=1"], 2, "expected NAME=VALUE above 0"),
        (["--target", "v81"], 1, "expected a target among"),
        (["--objective", "speed"], 2, "invalid choice"),
        (["--points", "0"], 2, "expected a whole number above 0"),
    ],
)
def test_wrong_requests(arguments: list[str], code: int, message: str, capsys: pytest.CaptureFixture[str]) -> None:
    try:
        found = main([*COMMAND, *arguments])
    except SystemExit as end:
        found = end.code
    assert found == code and message in capsys.readouterr().err


def test_a_configuration_of_another_target(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = space()
    point = next(start.neighbours(start.start))
    (tmp_path / "point.toml").write_text(start.file(point))
    command = ["compile", "tiny-llama", "-o", str(tmp_path / "out"), "--config", str(tmp_path / "point.toml")]
    assert main([*command, "--target", "small"]) == 1
    assert "expected a configuration of target small, got one of tiny" in capsys.readouterr().err


@pytest.fixture(scope="module")
def quantized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two quantizations of one model, and a text."""
    pytest.importorskip("torch")
    folder = tmp_path_factory.mktemp("quality")
    for name in ("text", "other"):
        (folder / name).write_text("\n\n".join(f"Some {name}, number {i}, of no meaning at all." for i in range(200)))
    for stages in (1, 2):
        how: dict[str, Any] = {"text": folder / "text", "tokens": 512, "distill": 0, "stages": stages}
        lutllm.quantize("tiny-llama", folder / "models" / f"r{stages}", **how)
    return folder


QUALITY = [
    "explore",
    "--target",
    "tiny",
    "--kv",
    "12",
    "--prefill",
    "9",
    "--quiet",
    "--tokens",
    "1024",
    "--points",
    "4",
]


def test_quality_time_and_area(
    quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    command = [
        *QUALITY,
        "--quality",
        str(quantized / "models"),
        "--text",
        str(quantized / "other"),
        "-o",
        str(tmp_path),
    ]
    assert main(command) == 0
    table = capsys.readouterr().out
    report = json.loads((tmp_path / "quality.json").read_text())
    for model in report["models"]:
        directory = quantized / "models" / model["model"]
        found = lutllm.eval(directory, text=quantized / "other", tokens=1024).corpus
        assert model["ratio"] == found.ratios["lut_integer/float"]
        points = [json.loads(path.read_text()) for path in (tmp_path / model["model"] / "points").glob("*.json")]
        for point in points:  # each is on the front, or one of the front is as good in everything
            mine = (model["ratio"], point["decode_ms"], largest(point))
            assert any(
                all(a <= b for a, b in zip((p["ratio"], p["decode_ms"], largest(p)), mine, strict=True))
                for p in report["points"]
            )
    best = [(p["ratio"], p["decode_ms"], largest(p)) for p in report["points"]]
    assert not any(a != b and all(x <= y for x, y in zip(a, b, strict=True)) for a in best for b in best)
    assert all(Path(point["file"]).is_file() and point["file"] in table for point in report["points"])
    page = (tmp_path / "quality.html").read_text()
    assert "Plotly.react" in page and "r1" in page and "r2" in page
    monkeypatch.setattr("lutllm.explore.quality.evaluate", None)  # nothing is measured again
    assert main(command) == 0


def largest(point: dict[str, Any]) -> float:
    return max(values["share"] for values in point["resources"].values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--quality", "models", "tiny"], "expected a model or --quality, got both"),
        (["--quality", "."], "'.': expected a directory of directories of lutllm quantize, got none"),
        ([], "expected a model, got none"),
    ],
)
def test_wrong_requests_for_quality(
    quantized: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(quantized)
    assert main([*QUALITY, *arguments]) == 1
    assert message in capsys.readouterr().err


def test_quantizations_of_two_models_are_not_compared(
    quantized: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a").symlink_to(quantized / "models" / "r1")
    other: dict[str, Any] = {"text": quantized / "text", "tokens": 512, "distill": 0, "seed": 1}
    lutllm.quantize("tiny-llama", tmp_path / "b", **other)
    assert main([*QUALITY, "--quality", str(tmp_path)]) == 1
    assert "expected a quantization of tiny-llama like" in capsys.readouterr().err
