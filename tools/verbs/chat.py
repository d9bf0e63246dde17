"""`lutllm chat`: a conversation with a quantized model in the terminal."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from lutllm.tools.verbs import arguments
from lutllm.tools.verbs.terminal import show

HELP = """/clear begins a new conversation, /system TEXT one with another system prompt, /help says this, /exit ends it.
Ctrl-C ends an answer, Ctrl-D the chat. A line that ends with a backslash goes on in the next."""


def chat_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help=arguments.QUANTIZED_HELP)
    parser.add_argument("--system", default="", metavar="TEXT", help="system prompt")
    parser.add_argument("--tokens", type=arguments.positive, default=512, metavar="N", help="an answer (default 512)")
    arguments.context_argument(parser)
    parser.add_argument("--threads", type=arguments.positive, metavar="N", help="default: all cores")
    parser.add_argument("--quiet", action="store_true", help="nothing but the text")
    arguments.sampling_arguments(parser)
    arguments.float_model_arguments(parser)


def chat(options: argparse.Namespace) -> tuple[int, Any]:
    from lutllm.errors import InputError
    from lutllm.run.conversation import Conversation
    from lutllm.run.session import open_session

    sampling = arguments.sampling(options)
    model = arguments.model_of(options)
    session = open_session(model, model.room(options.context), threads=options.threads)
    talk = Conversation(model, session, system=options.system, sampling=sampling)
    if sys.stdin.isatty():
        import readline  # noqa: F401  # editing and history of what is typed

        print(HELP, file=sys.stderr)
    turns: list[dict[str, Any]] = []
    while (text := _typed()) is not None:
        command, _, rest = (text if text.startswith("/") else "").strip().partition(" ")
        if command in ("/exit", "/quit"):
            break
        if command == "/help":
            print(HELP, file=sys.stderr)
        elif command in ("/clear", "/system"):
            talk.system = rest if command == "/system" else talk.system
            talk.clear()
        elif command.startswith("/"):
            print(f"lutllm: error: expected a command among /clear, /system, /help, /exit, got {command}; begin with "
                  "a space to say it", file=sys.stderr)  # fmt: skip
        elif text.strip():
            try:
                found = talk.say(text, options.tokens, show, options.stop)
            except InputError as error:
                print(f"lutllm: {error}", file=sys.stderr)
                continue
            show("\n")
            turns.append(
                {"user": text, "assistant": talk.turns[-1]["content"], "stop": found.stop if found else "user"}
            )
            if not options.quiet and found:
                speeds = f"{found.prefill_speed:.1f} and {found.decode_speed:.1f} token/s"
                print(f"[{session.position} of {session.context} tokens; {speeds}]", file=sys.stderr)
    return 0, {"turns": turns, "context": session.context, "seed": options.seed}


def _typed() -> str | None:
    """What is said next, None at the end. Ctrl-C takes a line back."""
    lines: list[str] = []
    while True:
        try:
            line = input(("... " if lines else "> ") if sys.stdin.isatty() else "")
        except EOFError:
            return "\n".join(lines) if lines else None
        except KeyboardInterrupt:
            print(file=sys.stderr)
            lines.clear()
            continue
        if not line.endswith("\\"):
            return "\n".join([*lines, line])
        lines.append(line[:-1])
