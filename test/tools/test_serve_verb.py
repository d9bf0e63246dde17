"""`lutllm serve` as its clients see it: the package of OpenAI, 32 at a time, and some that behave badly."""

import http.client
import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from lutllm.run.compare import log_softmax
from lutllm.run.generate import Generation, generate
from lutllm.run.prompts import chat_ids, stop_ids, text_ids
from lutllm.run.sampling import Sampling
from lutllm.run.session import GoldenSession, open_session
from lutllm.tools.lutllm import main

pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")
uvicorn = pytest.importorskip("uvicorn", reason="the server needs uvicorn: pip install 'lutllm[serve]'")
openai = pytest.importorskip("openai", reason="a client that is not ours: pip install 'lutllm[test]'")

CONTEXT, KEY, NAME = 160, "secret", "tiny"
PARALLEL, WAITING = 3, 40


@pytest.fixture(scope="module")
def model(chat_model):
    return chat_model(CONTEXT)


@pytest.fixture(scope="module")
def engine(model):
    from lutllm.serve.engine import Engine

    made = Engine(model, open_session(model, CONTEXT, threads=1), parallel=PARALLEL, waiting=WAITING)
    yield made
    made.close()


@pytest.fixture(scope="module")
def port(engine):
    from lutllm.serve.app import Limits, application

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        found = free.getsockname()[1]
    app = application(engine, NAME, key=KEY, limits=Limits(body=20_000))
    server = uvicorn.Server(uvicorn.Config(app, port=found, log_level="error", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield found
    server.should_exit = True
    thread.join()


@pytest.fixture(scope="module")
def client(port):
    return openai.OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key=KEY, max_retries=0)


def alone(model, ids, limit, **sampling):
    """What the reference interpreter says to this alone."""
    session = GoldenSession.of(model, CONTEXT)
    *_, found = generate(session, ids, limit, stops=stop_ids(model), sampling=Sampling(**sampling))
    assert isinstance(found, Generation)
    return found.tokens


def text_of(model, tokens):
    return model.tokenizer.decode(tokens, skip_special_tokens=True, clean_up_tokenization_spaces=False)


def post(port, path, body, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    given = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"} | headers
    connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), given)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def test_models(client):
    assert [one.id for one in client.models.list()] == [NAME] and client.models.retrieve(NAME).owned_by == "lutllm"
    with pytest.raises(openai.NotFoundError, match="expected model 'tiny', got 'gpt'"):
        client.models.retrieve("gpt")


def test_a_chat_is_what_the_interpreter_says(client, model):
    turns = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}]
    wanted = alone(model, chat_ids(model.tokenizer, turns), 12)
    found = client.chat.completions.create(model=NAME, messages=turns, max_completion_tokens=12, temperature=0)
    (choice,) = found.choices
    assert choice.message.content == text_of(model, wanted) and choice.finish_reason == "length"
    assert found.usage.prompt_tokens == len("s:be brief;u:hi;a:") and found.usage.completion_tokens == 12
    pieces = client.chat.completions.create(
        model=NAME, messages=[{"role": "developer", "content": [{"type": "text", "text": "be brief"}]}, turns[1]],
        max_tokens=12, temperature=0, stream=True, stream_options={"include_usage": True},
    )  # fmt: skip
    *chunks, last = list(pieces)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == choice.message.content
    assert [c.choices[0].finish_reason for c in chunks] == [None] * (len(chunks) - 1) + ["length"]
    assert last.usage == found.usage and chunks[0].choices[0].delta.role == "assistant"
    assert {c.id for c in chunks} == {last.id}


def test_texts_seeds_and_choices(client, model):
    prompts = ["abc", "xyz"]
    options = dict(model=NAME, max_tokens=8, temperature=1.5, top_p=0.9, seed=5)
    found = client.completions.create(prompt=prompts, n=2, **options)
    texts = [
        text_of(model, alone(model, list(prompts[i // 2].encode()), 8, temperature=1.5, top_p=0.9, seed=5 + i))
        for i in range(4)
    ]
    assert [choice.text for choice in sorted(found.choices, key=lambda one: one.index)] == texts
    assert len(set(texts)) == 4 and found.usage.total_tokens == 6 + 4 * 8
    again = client.completions.create(prompt=list(b"abc"), **options)  # token ids
    assert again.choices[0].text == texts[0]


def test_stop_texts_and_log_probabilities(client, model):
    tokens = alone(model, list(b"abc"), 24)
    whole = text_of(model, tokens)
    stop = whole[9:12]
    found = client.completions.create(model=NAME, prompt="abc", max_tokens=24, temperature=0, stop=[stop], logprobs=3)
    (choice,) = found.choices
    assert choice.text == whole[: whole.index(stop)] and choice.finish_reason == "stop"
    said = choice.logprobs.token_logprobs
    session = GoldenSession.of(model, CONTEXT)
    logits = session.forward([*b"abc", *tokens], all_logits=True)[2:]
    wanted = [log_softmax(row * 2.0**session.logit_exponent)[t] for row, t in zip(logits, tokens, strict=False)]
    np.testing.assert_allclose(said, wanted[: len(said)])
    assert all(len(top) <= 3 and max(top.values()) == pytest.approx(chance)  # greedy took the likeliest
               for top, chance in zip(choice.logprobs.top_logprobs, said, strict=True))  # fmt: skip
    chat = client.chat.completions.create(
        model=NAME, messages=[{"role": "user", "content": "x"}], max_tokens=3, logprobs=True, top_logprobs=2, seed=1
    )
    content = chat.choices[0].logprobs.content
    assert len(content) == 3 and all(len(one.top_logprobs) == 2 for one in content)
    assert "".join(one.token for one in content) == chat.choices[0].message.content


def test_many_clients_at_a_time_get_what_each_gets_alone(client, model):
    """Three run, the rest wait; lengths, prompts, streams and whole answers mixed."""

    def ask(i):
        prompt, limit = "abcdefgh"[: i % 7 + 1] + str(i), 3 + i % 9
        options = dict(model=NAME, prompt=prompt, max_tokens=limit, temperature=0.7, seed=i)
        if i % 2:
            return "".join(c.choices[0].text for c in client.completions.create(stream=True, **options))
        return client.completions.create(**options).choices[0].text

    with ThreadPoolExecutor(32) as clients:
        found = list(clients.map(ask, range(32)))
    for i, text in enumerate(found):
        prompt = "abcdefgh"[: i % 7 + 1] + str(i)
        assert text == text_of(model, alone(model, list(prompt.encode()), 3 + i % 9, temperature=0.7, seed=i))


def test_jobs_step_together_and_fail_alone(model, monkeypatch):
    """Five jobs, a step of all a run; one is cancelled on the way, one fails, the others are as alone."""
    from lutllm.serve.engine import Engine, Job

    session, runs = open_session(model, CONTEXT, threads=1), []
    step = session.program.step

    def counted(name, ids, *rest):
        runs.append(ids.size)
        return step(name, ids, *rest)

    monkeypatch.setattr(session.program, "step", counted)
    events, ended = [[] for _ in range(5)], threading.Semaphore(0)
    prompts = [list(b"abcdefghij"[: 1 + 2 * i]) for i in range(5)]
    settings = [dict(temperature=0.9, seed=i) if i % 2 else {} for i in range(5)]

    def teller(i):
        def tell(event):
            events[i].append(event)
            if i == 3 and len(events[3]) == 2:
                jobs[3].cancelled = True
                ended.release()
            if i == 4 and len(events[4]) == 2:
                raise ValueError("broken")
            if event.done or event.error:
                ended.release()

        return tell

    jobs = [Job(prompts[i], 20 + i, Sampling(**settings[i]), teller(i)) for i in range(5)]
    engine = Engine(model, session, parallel=5)
    try:
        engine.submit(*jobs)
        for _ in jobs:
            assert ended.acquire(timeout=60)
    finally:
        engine.close()
    for i in range(3):
        assert events[i][-1].done.tokens == alone(model, prompts[i], 20 + i, **settings[i])
    assert len(events[3]) == 2 and events[4][-1].error == "expected an answer, got ValueError: broken"
    assert runs[:5] == [len(prompt) for prompt in prompts] and runs[5] == 5  # prompts, then a step of all
    assert sum(runs[5:]) > 2 * len(runs[5:])


def test_a_client_that_hangs_up_leaves_its_place(client, port, engine, model):
    body = json.dumps({"prompt": "abc", "max_tokens": 150, "temperature": 0, "stream": True}).encode()
    lines = ("POST /v1/completions HTTP/1.1", "Host: x", f"Authorization: Bearer {KEY}", f"Content-Length: {len(body)}")
    head = "\r\n".join([*lines, "", ""])
    for stream in (True, False) * 3:
        with socket.create_connection(("127.0.0.1", port)) as bad:
            bad.sendall(head.encode() + body)
            if stream:
                assert b"200 OK" in bad.recv(100)
                found = client.completions.create(model=NAME, prompt="xyz", max_tokens=30, temperature=1, seed=1)
                assert found.choices[0].text == text_of(model, alone(model, list(b"xyz"), 30, temperature=1, seed=1))
    with socket.create_connection(("127.0.0.1", port)) as half:
        half.sendall(head.encode() + body[:10])
    found = client.completions.create(model=NAME, prompt="abc", max_tokens=4, temperature=0)
    assert found.choices[0].text == text_of(model, alone(model, list(b"abc"), 4))
    for _ in range(100):
        if len(engine._free) == PARALLEL and not engine._waiting:
            break
        time.sleep(0.1)
    assert len(engine._free) == PARALLEL and not engine._waiting and not engine._running


LONG = "a" * CONTEXT


@pytest.mark.parametrize(
    ("path", "body", "status", "param", "message"),
    [
        ("completions", b"{", 400, None, "expected JSON"),
        ("completions", b"\xff", 400, None, "expected JSON"),
        ("completions", b'{"prompt": "\\ud800"}', 400, None, "expected JSON in UTF-8"),
        ("completions", b"[1]", 400, None, "expected a JSON object, got [1]"),
        ("completions", {}, 400, "prompt", "expected prompt as text or token ids, not empty, got null"),
        ("completions", {"prompt": ""}, 400, "prompt", "not empty"),
        ("completions", {"prompt": [999]}, 400, "prompt", "expected token ids in 0..319, got [999]"),
        ("completions", {"prompt": ["a"] * 17}, 400, "prompt", "expected 1 to 16 prompts, got 17"),
        ("completions", {"prompt": LONG}, 400, "prompt", f"fewer than {CONTEXT} tokens, the context, got {CONTEXT}"),
        ("completions", {"prompt": "a", "max_tokens": 0}, 400, "max_tokens", "at least 1, got 0"),
        ("completions", {"prompt": "a", "max_tokens": "3"}, 400, "max_tokens", 'expected max_tokens as int, got "3"'),
        ("completions", {"prompt": "a", "max_tokens": True}, 400, "max_tokens", "as int, got true"),
        ("completions", {"prompt": "a", "temperature": -1}, 400, "temperature", "expected a temperature of 0"),
        ("completions", b'{"prompt": "a", "temperature": 1' + b"0" * 400 + b"}", 400, "temperature", "a float holds"),
        ("completions", {"prompt": "a", "top_p": 2}, 400, "top_p", "expected top-p above 0 and up to 1, got 2"),
        ("completions", {"prompt": "a", "n": 99}, 400, "n", "expected n from 1 to 16, got 99"),
        ("completions", {"prompt": "a", "echo": True}, 400, "echo", "a field that can be honoured, got echo = true"),
        ("completions", {"prompt": "a", "top_kk": 3}, 400, "top_kk", "a field that can be honoured, got top_kk = 3"),
        ("completions", {"prompt": "a", "stop": [""]}, 400, "stop", "expected stop as up to 4 texts"),
        ("completions", {"prompt": "a", "stream_options": {"x": 1}}, 400, "x", "got stream_options.x = 1"),
        ("completions", {"prompt": "a", "model": "gpt"}, 404, "model", "expected model 'tiny', got 'gpt'"),
        ("completions", {"prompt": "a" * 30_000}, 413, None, "at most 20000 bytes, got more"),
        ("chat/completions", {"messages": []}, 400, "messages", "expected messages, got none"),
        ("chat/completions", {"messages": [{"role": "tool"}]}, 400, "messages[0]", "a role among system"),
        ("chat/completions", {"messages": [{"role": "user"}]}, 400, "messages[0].content", "as text, got null"),
        (
            "chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, 400,
            "messages[0].content", "as text",
        ),
        ("chat/completions", {"messages": [{"role": "user", "content": "a"}], "top_logprobs": 2}, 400, "top_logprobs",
         "together with logprobs"),
        ("chat/completions", {"messages": [{"role": "user", "content": "a"}], "tools": [{}]}, 400, "tools", "tools"),
        ("nothing", {}, 404, None, "expected a path of the API, got POST /v1/nothing"),
    ],
)  # fmt: skip
def test_what_is_refused_and_how(port, path, body, status, param, message):
    found, answer = post(port, f"/v1/{path}", body)
    error = answer["error"]
    assert (found, error["param"]) == (status, param) and message in error["message"]
    assert error["type"] == "invalid_request_error"


def test_a_key_is_asked_for(port):
    assert post(port, "/v1/completions", {"prompt": "a"}, Authorization="Bearer other")[0] == 401
    assert post(port, "/v1/completions", {"prompt": "a"}, Authorization="")[0] == 401
    connection = http.client.HTTPConnection("127.0.0.1", port)
    connection.request("GET", "/health")
    assert connection.getresponse().status == 200


def test_fields_that_say_nothing_about_the_answer(port):
    body = {"prompt": "a", "max_tokens": 1, "user": "me", "echo": False, "suffix": None, "logit_bias": {}}
    assert post(port, "/v1/completions", body)[0] == 200


def test_a_full_queue_and_a_late_answer(model):
    """Of an engine of its own, whose worker is kept busy."""
    from lutllm.serve.engine import Engine, Job, QueueFull

    session, go = open_session(model, CONTEXT, threads=1), threading.Event()
    step = session.forward
    session.forward = lambda ids, **options: (go.wait(), step(ids, **options))[1]
    engine, told = Engine(model, session, parallel=1, waiting=2), []
    try:
        jobs = [
            Job(text_ids(model.tokenizer, "abc"), 2, Sampling(), told.append, seconds=seconds)
            for seconds in (60, 60, 0)
        ]
        engine.submit(*jobs)
        with pytest.raises(QueueFull, match="at most 2 requests that wait"):
            engine.submit(Job([1], 1, Sampling(), told.append))
            engine.submit(Job([1], 1, Sampling(), told.append))
        go.set()
        while sum(bool(event.done or event.error) for event in told) < 3:
            time.sleep(0.01)
    finally:
        go.set()
        engine.close()
    assert [len(event.done.tokens) for event in told if event.done][:2] == [2, 2]
    assert [event.error for event in told if event.error] == [
        "expected an answer within 0 s, got none; ask for fewer tokens"
    ]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--host", "0.0.0.0"], "expected an API key to listen at 0.0.0.0"),
        (["--scheme", "nonsense"], "nonsense"),
    ],
)
def test_what_is_not_served(options, message, capsys, monkeypatch):
    monkeypatch.delenv("LUTLLM_API_KEY", raising=False)
    assert main(["serve", "tiny-llama", *options]) == 1
    error = capsys.readouterr().err
    assert message in error and "unexpected" not in error
