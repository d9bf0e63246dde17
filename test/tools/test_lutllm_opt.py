"""lutllm-opt where lit cannot go: broken pipes, crashes, damaged input, Ctrl-C, start-up; and its exact messages."""

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from lutllm.bindings import Diagnostic, ir
from lutllm.passes import Pass
from lutllm.tools import lutllm_opt
from lutllm.tools.opt.crash_guard import run_guarded
from lutllm.tools.opt.diagnostics import format_diagnostic
from lutllm.tools.opt.input import MAX_NESTING, SPLIT_MARKER, Source, read_source, split, too_deep
from lutllm.tools.opt.reproducer import reproduced

OPT = Path(sys.executable).with_name("lutllm-opt")
SOURCE = Source("a.mlir", None, b"func.func @f()\n\tfunc.func @g()\n")


def opt(*arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    return subprocess.run([OPT, *arguments], input=stdin, capture_output=True, timeout=60, check=False)


def test_a_diagnostic_shows_the_line_and_a_caret() -> None:
    got = format_diagnostic(Diagnostic("error", "no", "-", 2, 12), SOURCE)
    assert got == "a.mlir:2:12: error: no\n\tfunc.func @g()\n\t          ^"
    assert format_diagnostic(Diagnostic("note", "no", "model.py", 2, 12), SOURCE) == "model.py:2:12: note: no"
    assert format_diagnostic(Diagnostic("error", "no"), SOURCE) == "error: no"
    assert format_diagnostic(Diagnostic("error", "no", "-", 0, 0), SOURCE) == "a.mlir: error: no"


def test_split_keeps_line_numbers() -> None:
    source = Source("a", None, b"a\n// -----\nb\n  // ----- c\n// ++")
    assert split(source, SPLIT_MARKER) == [b"a\n", b"\n\nb\n", b"\n\n\n\n// ++"]
    assert split(source, "// ++") == [b"a\n// -----\nb\n  // ----- c\n", b"\n\n\n\n"]


def test_nesting_counts_brackets_outside_strings_and_comments() -> None:
    deep = b"[" * (MAX_NESTING + 1)
    assert too_deep(deep) == MAX_NESTING
    assert too_deep(b"[" * MAX_NESTING + b"]" * MAX_NESTING + b"[") is None
    assert too_deep(b'"' + deep + b'"') is None
    assert too_deep(b"// " + deep) is None
    assert too_deep(b"(->" * MAX_NESTING) is None
    assert too_deep(b"(->" * (MAX_NESTING + 1)) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"module {\n" * 20000, f"<stdin>:257:8: error: expected at most {MAX_NESTING} nested brackets"),
        (b"module {}\n\0", "<stdin>:2:1: error: expected MLIR text or bytecode, got a NUL byte"),
        (
            b"module {} \xff",
            "<stdin>:1:11: error: expected MLIR text or bytecode, got the byte 0xff, which is not UTF-8",
        ),
        (
            b'func.func @"\\FF"()',
            "<stdin>:1:12: error: expected MLIR text or bytecode, got a string whose escapes are not",
        ),
        (b"ML\xefRjunkjunk", "<stdin>: error: bytecode version"),
        (b"module {\n  %0 =\n}", "<stdin>:2:7: error: expected operation name in quotes\n  %0 =\n      ^"),
        (b'"lut.linear"() : () -> ()', "<stdin>:1:1: error: 'lut.linear' op expected 1 operand (x), got 0"),
    ],
    ids=["deep", "nul", "latin1", "escape", "bytecode", "syntax", "verifier"],
)
def test_bad_input_is_one_located_error(text: bytes, message: str) -> None:
    result = opt("--cse", stdin=text)
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.decode().startswith(message)
    assert b"Traceback" not in result.stderr


def test_random_bytes_never_end_in_a_traceback(tmp_path: Path) -> None:
    """Damaged text and bytecode, even where MLIR itself crashes: an error, exit code 1, no Python."""
    text = Path(__file__).with_name("lutllm-opt-verify-each.mlir").read_bytes()
    bytecode = opt("--emit-bytecode", stdin=text).stdout
    assert bytecode.startswith(b"ML\xefR")
    chance = random.Random(1)
    for original in (text, bytecode) * 8:
        damaged = bytearray(original)
        for _ in range(8):
            damaged[chance.randrange(4, len(damaged))] = chance.randrange(256)
        result = opt(stdin=bytes(damaged))
        assert result.returncode in (0, 1)
        assert (b"error: " in result.stderr) == (result.returncode == 1)
        assert b"Traceback" not in result.stderr and b"defect" not in result.stderr


def test_a_reader_that_goes_away() -> None:
    text = b"".join(b"func.func private @f%d()\n" % i for i in range(100))
    with subprocess.Popen([OPT], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdin and process.stdout and process.stderr
        process.stdout.close()
        process.stdin.write(text)
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 1


@pytest.mark.parametrize(
    ("redirect", "message"),
    [
        (">/dev/full", b"error: cannot write '-': No space left on device\n"),
        ("<&-", b"error: cannot read stdin: it is closed\n"),
    ],
)
def test_streams_that_do_not_work(redirect: str, message: bytes) -> None:
    result = subprocess.run(f"{OPT} {redirect}", shell=True, input=b"", capture_output=True, timeout=60, check=False)
    assert (result.returncode, result.stderr) == (1, message)


def test_a_crash_is_an_error() -> None:
    code = (
        "import os; from lutllm.tools.opt.crash_guard import run_guarded; "
        "raise SystemExit(run_guarded(os.abort, 'tool'))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 1
    assert result.stderr == "error: the MLIR library stopped with SIGABRT; run tool with --debug to see where\n"


@dataclass(frozen=True)
class Crash(Pass):
    """End the process."""

    name: ClassVar[str] = "crash"

    def run(self, op: ir.Operation) -> None:
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_crash_leaves_a_reproducer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(lutllm_opt, "ALL_PASSES", (Crash,))
    text, file = tmp_path / "a.mlir", tmp_path / "reproducer.mlir"
    text.write_text("func.func private @f()")
    reproduce = f"--mlir-pass-pipeline-crash-reproducer={file}"
    assert lutllm_opt.main([str(text), "--cse", "--crash", reproduce]) == 1
    assert reproduced(read_source(str(file))) == ("builtin.module(cse,crash)", True)
    assert lutllm_opt.main([str(text), "--cse", reproduce]) == 0
    assert not file.exists()


@dataclass(frozen=True)
class Complain(Pass):
    """Report an error and go on."""

    name: ClassVar[str] = "complain"

    def run(self, op: ir.Operation) -> None:
        op.location.emit_error("this could be better")


def test_an_error_of_a_pass_that_succeeds(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """It is printed, and the result too; where diagnostics are expected, it must be."""
    monkeypatch.setattr(lutllm_opt, "ALL_PASSES", (Complain,))
    text = tmp_path / "a.mlir"
    text.write_text("module {} // expected-error {{could be better}}")
    assert lutllm_opt.run([str(text), "--complain"]) == 0
    out, err = capfd.readouterr()
    assert out == "module {\n}\n" and err.startswith(f"{text}:1:1: error: this could be better\n")
    assert lutllm_opt.run([str(text), "--complain", "--verify-diagnostics"]) == 0
    assert lutllm_opt.run([str(text), "--verify-diagnostics"]) == 1


def test_a_defect_is_an_error_without_traceback(capfd: pytest.CaptureFixture[str]) -> None:
    def defect() -> int:
        raise KeyError("x")

    assert run_guarded(defect, "tool") == 1
    assert capfd.readouterr().err == "error: KeyError: 'x'; this is a defect, --debug shows where\n"
    assert run_guarded(lambda: 0, "tool") == 0
    assert run_guarded(lambda: 3, "tool") == 3


def test_debug_shows_the_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert lutllm_opt.run(["--debug", "--pass-pipeline=x"]) == 1
    assert "Traceback" in capsys.readouterr().err
    assert lutllm_opt.run(["--pass-pipeline=x"]) == 1
    assert "Traceback" not in capsys.readouterr().err


def test_ctrl_c() -> None:
    with subprocess.Popen([OPT], stdin=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True) as process:
        assert process.stderr
        while not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text():
            time.sleep(0.1)
        time.sleep(0.5)  # the child waits for stdin now
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130
        assert process.stderr.read() == b""


def test_nothing_heavy_is_imported() -> None:
    code = "import sys, lutllm.tools.lutllm_opt; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "transformers", "pycde", "circt", "llvmlite", "numba", "scipy"} & set(loaded)
