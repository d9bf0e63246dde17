"""`lutllm chat`: turns typed, answers shown; the session reads only what is new."""

import json
import os
import signal
from dataclasses import replace

import pytest

from lutllm.errors import InputError
from lutllm.run.conversation import Conversation
from lutllm.run.generate import respond
from lutllm.run.prompts import chat_ids
from lutllm.run.sampling import Sampling
from lutllm.run.session import open_session
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")

TEMPLATE = (
    "{% for t in messages %}{{ t.role[0] }}:{{ t.content }};{% endfor %}{% if add_generation_prompt %}a:{% endif %}"
)


@pytest.fixture(scope="module")
def model(chat_model):
    return chat_model(100)


@pytest.fixture(scope="module")
def directory(model, tmp_path_factory):
    from lutllm.quantized.pretrained import save_pretrained

    return save_pretrained(model, tmp_path_factory.mktemp("tiny") / "q")


def talk(model, backend="cpu", **options):
    session = open_session(model, 100, backend=backend)
    return Conversation(model, session, sampling=Sampling(**options))


@pytest.mark.parametrize("backend", ["cpu", "golden"])
def test_a_turn_answers_as_if_all_were_read_again(model, backend):
    chat = talk(model, backend, temperature=0.8, seed=4)
    for i, text in enumerate(("hi", "who?", "bye")):
        wanted = respond(
            model, open_session(model, 100, backend=backend),
            chat_ids(model.tokenizer, [*chat.turns, {"role": "user", "content": text}]), 6, lambda _: None,
            sampling=Sampling(temperature=0.8, seed=4 + i),
        )  # fmt: skip
        found = chat.say(text, 6, lambda _: None)
        assert found is not None and (found.tokens, found.text) == (wanted.tokens, wanted.text)
        assert (found.reused > 0) == (i > 0)
        assert chat.turns[-1] == {"role": "assistant", "content": found.text}


def test_an_interrupt_keeps_what_was_said(model):
    chat, said, before = talk(model), [], signal.getsignal(signal.SIGINT)

    def show(piece: str) -> None:
        said.append(piece)
        if len(said) == 3:
            os.kill(os.getpid(), signal.SIGINT)

    assert chat.say("hi", 60, show) is None
    assert chat.turns[-1]["content"] == "".join(said) and len(said) == 3
    found = chat.say("go on", 4, lambda _: None)
    again = talk(model)
    again.turns = list(chat.turns[:-2])
    wanted = again.say("go on", 4, lambda _: None)
    assert found is not None and wanted is not None and found.tokens == wanted.tokens
    assert signal.getsignal(signal.SIGINT) is before


def test_a_full_conversation_is_an_error_and_can_begin_anew(model):
    chat = talk(model)
    chat.say("x" * 60, 10, lambda _: None)
    turns = list(chat.turns)
    with pytest.raises(InputError, match=r"fewer than 100 tokens, the context, got 1[0-9][0-9]; begin a new one"):
        chat.say("y" * 40, 10, lambda _: None)
    assert chat.turns == turns
    chat.clear()
    assert chat.say("y" * 40, 10, lambda _: None) is not None


def test_without_a_template_there_is_no_chat(model):
    from lutllm.models.tokenizer import byte_tokenizer

    with pytest.raises(InputError, match="expected a model with a chat template, got none"):
        talk(replace(model, tokenizer=byte_tokenizer()))


def test_the_verb(directory, tmp_path, capsys, monkeypatch):
    lines = iter(["hi\\", "there", "", "/nothing", "/system be brief", " /really", "/clear", "hi", "/exit", "never"])
    monkeypatch.setattr("builtins.input", lambda _prompt: next(lines))
    path = tmp_path / "chat.json"
    assert main(["chat", str(directory), "--tokens", "5", "--json", str(path), "--debug"]) == 0
    printed, turns = capsys.readouterr(), json.loads(path.read_text())["turns"]
    assert [turn["user"] for turn in turns] == ["hi\nthere", " /really", "hi"]
    assert printed.out == "".join(turn["assistant"] + "\n" for turn in turns)
    assert "expected a command among /clear, /system, /help, /exit, got /nothing" in printed.err
    assert "of 100 tokens; " in printed.err


def test_the_end_of_the_input_ends_it(directory, monkeypatch, capsys):
    def nothing(_prompt: str) -> str:
        raise EOFError

    monkeypatch.setattr("builtins.input", nothing)
    assert main(["chat", str(directory)]) == 0 and capsys.readouterr().out == ""
