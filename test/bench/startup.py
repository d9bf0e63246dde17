"""Prints how long the commands take to start: whole processes, several runs each, minimum, median and maximum; with
directories of `lutllm quantize`, also until the first token of each, once it has been started."""

import statistics
import subprocess
import sys
import time

COMMANDS = (
    ["lutllm.tools.lutllm_opt", "--lut-decompose", "--cse"],
    ["lutllm.tools.lutllm_opt", "--version"],
    ["lutllm.tools.lutllm", "--version"],
    ["lutllm.tools.lutllm", "doctor"],
)
RUNS = 9


def seconds(command: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-m", *command], input=b"module {}", capture_output=True, check=True)
    return time.perf_counter() - start


def main() -> None:
    runs = [["lutllm.tools.lutllm", "run", model, "Once upon a time", "--tokens", "1"] for model in sys.argv[1:]]
    for command in (*COMMANDS, *runs):
        taken = sorted(seconds(command) for _ in range(RUNS + 1))[:RUNS]  # the slowest run warmed up the disk
        print(f"{' '.join(command):50} {taken[0]:.2f} {statistics.median(taken):.2f} {taken[-1]:.2f} s")


if __name__ == "__main__":
    main()
