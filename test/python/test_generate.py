"""Text out of a session: the loop, sampling, streaming. The session is a fake; real ones run in test_run_verb.py."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.run.compare import log_softmax
from lutllm.run.generate import Generation, generate, respond
from lutllm.run.prompts import chat_ids, prompt_ids, stop_ids
from lutllm.run.sampling import Sampling
from lutllm.run.text_stream import StopStrings, TextStream

VOCABULARY = 300


def tiny_tokenizer(kind):
    """A tokenizer with byte tokens 3 to 258, or with the byte alphabet, of the vocabulary of `gguf_tokens.json`."""
    from lutllm.models.gguf_tokenizer import tokenizer_from_gguf

    known = json.loads((Path(__file__).parent / "Inputs" / "gguf_tokens.json").read_text())
    if kind == "smollm":
        keys = {"model": "gpt2", "pre": kind, "tokens": known["vocabulary"], "merges": known["merges"]}
    else:
        types = [2, 3, 3, *[6] * 256, *[1] * (len(known["pieces"]) - 259)]
        keys = {"model": "llama", "tokens": known["pieces"], "token_type": types, "scores": range(0, -len(types), -1)}
        keys["add_space_prefix"] = "no prefix" not in kind
    return tokenizer_from_gguf({f"tokenizer.ggml.{key}": value for key, value in keys.items()}, kind)


class FakeSession:
    """Says the tokens of `script` one after the other, whatever it reads."""

    def __init__(self, script, context=64):
        self.script, self.context, self.position = list(script), context, 0
        self.logit_exponent, self.vocabulary, self.read = -3, VOCABULARY, []

    def seek(self, ids):
        self.position = self.said = 0
        return 0

    def forward(self, ids, all_logits=False):
        assert self.position + len(ids) <= self.context
        self.position += len(ids)
        self.read.append(list(ids))
        logits = np.zeros((1, VOCABULARY), np.int32)
        logits[0, self.script[self.said]] = 100
        self.said += 1
        return logits


class ByteTokenizer:
    """Token i is byte i; bytes that are no character become U+FFFD, as in Hugging Face's tokenizers."""

    eos_token_id, chat_template = 256, None

    def decode(self, ids, skip_special_tokens=True, clean_up_tokenization_spaces=False):
        return bytes(i for i in ids if i < 256).decode("utf-8", errors="replace")

    def get_vocab(self):
        return {"a": 97, "<|im_end|>": 257}

    def __call__(self, text, add_special_tokens=True):
        return {"input_ids": [*([299] if add_special_tokens else []), *text.encode()]}


class ChatTokenizer(ByteTokenizer):
    chat_template = "a template"

    def apply_chat_template(self, turns, add_generation_prompt, tokenize):
        assert add_generation_prompt and not tokenize
        return "".join(f"<{t['role']}>{t['content']}" for t in turns) + "<assistant>"


def model(tokenizer, config=None, generation=None):
    return SimpleNamespace(tokenizer=tokenizer, config=config or {}, generation=generation)


def run(session, prompt, limit, **options):
    *tokens, found = generate(session, prompt, limit, **options)
    assert isinstance(found, Generation) and found.tokens == tokens
    return found


def test_stops_at_a_stop_token_which_is_not_given():
    session = FakeSession([5, 6, 9, 7])
    found = run(session, [1, 2, 3], 10, stops={9})
    assert found.tokens == [5, 6] and found.stop == "end"
    assert session.read == [[1, 2, 3], [5], [6]]
    assert found.steps == 2 and found.prefill_speed > 0 and found.decode_speed > 0


def test_stops_at_the_limit_without_a_step_too_many():
    session = FakeSession([5, 6, 7])
    found = run(session, [1], 2)
    assert found.tokens == [5, 6] and found.stop == "length" and session.read == [[1], [5]]


def test_a_full_context_stops_with_its_last_token():
    session = FakeSession([5, 6, 7, 8], context=4)
    found = run(session, [1, 2, 3], 10)
    assert found.stop == "context" and found.tokens == [5, 6] and session.position == 4
    assert run(FakeSession([5], context=3), [1, 2, 3], 10).tokens == [5]


def test_it_starts_again_for_every_prompt():
    session = FakeSession([5, 6])
    assert run(session, [1], 2).tokens == run(session, [1], 2).tokens


@pytest.mark.parametrize(
    ("prompt", "limit", "message"),
    [([], 1, "empty"), ([1] * 65, 1, "at most 64 tokens, the context, got 65"), ([1], 0, "at least 1 token to make")],
)
def test_errors(prompt, limit, message):
    with pytest.raises(InputError, match=message):
        list(generate(FakeSession([5]), prompt, limit))


def test_greedy_is_the_largest_integer_and_the_lowest_among_equals():
    logits = np.array([-(2**31), 7, 2**31 - 1, 2**31 - 1], np.int64)
    assert Sampling().picker()(logits, -30, []) == 2
    assert Sampling(temperature=1.0, top_k=1).picker()(logits, -2, []) == 2
    assert Sampling(temperature=1e-9).picker()(logits[:3], -2, []) == 2


def test_a_seed_repeats_and_another_does_not():
    logits = np.random.default_rng(1).integers(-40, 40, VOCABULARY)

    def picks(seed):
        pick = Sampling(temperature=0.8, seed=seed).picker()
        return [pick(logits, -3, []) for _ in range(20)]

    assert picks(3) == picks(3) != picks(4)


def test_probabilities_are_softmax_over_the_temperature():
    logits = np.array([8, 0, -8, 16])
    order, chances = Sampling(temperature=2.0).distribution(logits, -3)
    wanted = np.exp(logits / 8 / 2)
    assert order.tolist() == [3, 0, 1, 2]
    np.testing.assert_allclose(chances, (wanted / wanted.sum())[order])


def test_draws_follow_the_probabilities():
    logits, sampling = np.array([0, 8, 4]), Sampling(temperature=1.0, seed=5)
    pick = sampling.picker()
    counts = np.bincount([pick(logits, -3, []) for _ in range(4000)], minlength=3)
    order, chances = sampling.distribution(logits, -3)
    np.testing.assert_allclose(counts[order] / 4000, chances, atol=0.03)


@pytest.mark.parametrize(
    ("top_k", "top_p", "left"),
    [
        (0, 1.0, 4),
        (2, 1.0, 2),
        (9, 1.0, 4),
        (1, 0.1, 1),
        (0, 1e-9, 1),
        (0, 0.5, 1),
        (0, 0.51, 2),
        (0, 0.76, 3),
        (0, 0.88, 4),
        (3, 0.99, 3),
    ],
)
def test_top_k_and_top_p(top_k, top_p, left):
    logits = np.round(np.log([0.5, 0.25, 0.125, 0.125]) * 2**20).astype(np.int64)
    logits[0] += 1  # so that the first alone reaches a half
    order, chances = Sampling(1.0, top_k, top_p).distribution(logits, -20)
    assert order.tolist() == [0, 1, 2, 3][:left] and chances.sum() == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"temperature": 1.0, "seed": -1},
        {"top_k": 5},  # without a temperature it would change nothing
        {"top_p": 0.5},
        {"min_p": 0.5},
        {"temperature": 1.0, "min_p": 1.5},
        {"repeat_penalty": 0.0},
        {"repeat_last_n": -1},
        {"frequency_penalty": 2.5},
        {"presence_penalty": float("nan")},
    ],
)
def test_wrong_sampling_is_refused(wrong):
    with pytest.raises(InputError, match=r"expected (a )?[a-z-]+ (of|from|above|with)"):
        Sampling(**wrong)


@pytest.mark.parametrize("text", ["plain", "größer \u20ac 😀!", "😀", "a" * 100 + "ß" * 40])
def test_streams_whole_characters(text):
    stream = TextStream(ByteTokenizer())
    pieces = [stream.push(byte) for byte in text.encode()]
    assert "".join(pieces) == text and stream.finish() == ""
    assert not any("\ufffd" in piece for piece in pieces)
    assert sum(map(bool, pieces)) == len(text)


def test_broken_bytes_come_out_when_they_are_certain():
    stream = TextStream(ByteTokenizer())
    assert [stream.push(byte) for byte in b"a\xf0\x9fb"] == ["a", "", "", "\ufffdb"]
    assert stream.push(0xE2) == "" and stream.finish() == "\ufffd"


@pytest.mark.parametrize("kind", ["sentencepiece", "sentencepiece, no prefix", "smollm"])
def test_what_was_shown_is_never_taken_back(kind):
    """Every prefix of the stream is one of the whole text, with runs of byte tokens that are characters or not."""
    tokenizer, generator = tiny_tokenizer(kind), np.random.default_rng(0)
    count = len(tokenizer)
    for _ in range(40):
        ids: list[int] = []
        while len(ids) < 120:
            if generator.random() < 0.4:  # a character as bytes, or some of them
                part = [3 + byte for byte in "é你😀"[generator.integers(3)].encode()] * int(generator.integers(1, 14))
                ids += part[: generator.integers(1, len(part) + 1)]
            ids += generator.integers(0, count, generator.integers(0, 20)).tolist()
        stream, shown = TextStream(tokenizer), ""
        whole = tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)
        for token in ids:
            shown += stream.push(token)
            assert whole.startswith(shown)
        assert shown + stream.finish() == whole


def test_temperature_comes_after_the_filters():
    """As llama.cpp has it: what top-p and min-p leave in does not depend on the temperature."""
    logits = np.round(np.log([0.5, 0.3, 0.15, 0.05]) * 2**20).astype(np.int64)
    for temperature in (0.2, 5.0):
        assert Sampling(temperature, top_p=0.7).distribution(logits, -20)[0].tolist() == [0, 1]
        assert Sampling(temperature, min_p=0.25).distribution(logits, -20)[0].tolist() == [0, 1, 2]
        assert Sampling(temperature, top_p=0.9, min_p=0.5).distribution(logits, -20)[0].tolist() == [0, 1]
    chances = Sampling(0.5, min_p=0.25).distribution(logits, -20)[1]
    np.testing.assert_allclose(chances, np.array([0.25, 0.09, 0.0225]) / 0.3625, rtol=1e-5)


def test_penalties_are_for_the_last_tokens():
    logits = np.array([16, -8, 8, 12], np.int32)
    found = Sampling(repeat_penalty=2.0, repeat_last_n=3).penalized(logits, -3, [2, 0, 0, 1])
    assert found.tolist() == [1.0, -2.0, 1.0, 1.5]  # token 2 is too long ago
    found = Sampling(frequency_penalty=0.5, presence_penalty=0.25).penalized(logits, -3, [0, 0, 1])
    assert found.tolist() == [2 - 1.25, -1 - 0.75, 1.0, 1.5]
    assert Sampling(repeat_penalty=2.0).picker()(logits, -3, [0]) == 3
    assert Sampling(repeat_penalty=2.0, repeat_last_n=0).picker()(logits, -3, [0]) == 0


def test_log_probabilities():
    found = log_softmax(np.array([8, 0, -1600], np.int32) * 2.0**-3)
    np.testing.assert_allclose(np.exp(found), [np.e / (np.e + 1), 1 / (np.e + 1), 0], atol=1e-12)


@pytest.mark.parametrize("cuts", [1, 2, 3, 7])
def test_nothing_of_a_stop_string_is_shown(cuts):
    text = "one, two; END of <end>what <en"
    for strings, wanted in (
        (["<end>"], "one, two; END of "),
        (["<end>", ", t", "two"], "one"),
        (["<enx>", "zzz"], text),
        ([], text),
        ([""], text),
    ):
        stops, shown = StopStrings(strings), ""
        for at in range(0, len(text), cuts):
            shown += stops.push(text[at : at + cuts])
            assert wanted.startswith(shown)
        assert stops.found == (wanted != text)
        assert shown + stops.finish() == wanted


def test_a_stop_string_ends_an_answer():
    shown, session = [], FakeSession([*b"say END now", 257])
    found = respond(model(ByteTokenizer()), session, [1], 20, shown.append, strings=["END"])
    assert found.text == "".join(shown) == "say " and found.stop == "text" and found.tokens == list(b"say END")
    found = respond(model(ByteTokenizer()), FakeSession([*b"say EN", 257]), [1], 20, shown.append, strings=["END"])
    assert found.text == "say EN" and found.stop == "end"


def test_chats_are_turns_of_a_template():
    turns = [{"role": r, "content": c} for r, c in (("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c"))]
    assert chat_ids(ChatTokenizer(), turns) == list(b"<system>s<user>a<assistant>b<user>c<assistant>")
    with pytest.raises(InputError, match="a model with a chat template, got none"):
        chat_ids(ByteTokenizer(), turns)


def test_prompts_are_a_turn_of_a_chat_where_there_is_a_template():
    assert prompt_ids(ByteTokenizer(), "hi") == [299, *b"hi"]
    assert prompt_ids(ChatTokenizer(), "hi") == list(b"<user>hi<assistant>")
    assert prompt_ids(ChatTokenizer(), "hi", raw=True) == [299, *b"hi"]
    with pytest.raises(InputError, match="got an empty one"):
        prompt_ids(ChatTokenizer(), "  \n")
    with pytest.raises(InputError, match="a tokenizer, got none"):
        prompt_ids(None, "hi")


def test_a_template_that_fails_is_an_error():
    class Broken(ChatTokenizer):
        def apply_chat_template(self, *_args, **_options):
            raise ValueError("no user\nturn")

    with pytest.raises(InputError, match="got no user turn; use a text prompt"):
        prompt_ids(Broken(), "hi")


def test_a_template_that_has_no_end_is_an_error():
    from lutllm.models.tokenizer import byte_tokenizer

    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{% for i in range(9999) %}{% for j in range(9999) %}{% endfor %}{% endfor %}x"
    with pytest.raises(
        InputError, match=r"got one that goes on after 1,000,000 lines of its program; use a text prompt"
    ):
        prompt_ids(tokenizer, "hi")
    tokenizer.chat_template = "{% for turn in messages %}{{ turn.content }}{% endfor %}!"
    assert prompt_ids(tokenizer, "hi") == list(b"hi!")


def test_tokens_that_the_model_has_no_embedding_for():
    from lutllm.models.tokenizer import byte_tokenizer

    tokenizer = byte_tokenizer()
    tokenizer.embedded = 120
    assert prompt_ids(tokenizer, "hi") == list(b"hi")
    with pytest.raises(InputError, match=r"expected token ids below 120, the rows of the model's embedding, got 122"):
        prompt_ids(tokenizer, "hizy")


def test_stop_tokens_of_every_file():
    assert stop_ids(model(ByteTokenizer())) == {256, 257}
    assert stop_ids(model(ByteTokenizer(), {"eos_token_id": 3}, {"eos_token_id": [4, 5]})) == {3, 4, 5, 256, 257}
    assert stop_ids(model(None, {"eos_token_id": None})) == set()


def test_respond_shows_the_text_as_it_comes():
    shown = []
    session = FakeSession([*"añb".encode(), 257])
    found = respond(model(ChatTokenizer()), session, prompt_ids(ChatTokenizer(), "x"), 20, shown.append)
    assert shown == ["a", "ñ", "b"] and found.text == "añb" and found.stop == "end"
    assert found.prompt == list(b"<user>x<assistant>")
    assert set(json.loads(json.dumps(found.to_dict()))) >= {"prompt_ids", "token_ids", "text", "stop"}


def test_respond_gives_what_was_held_back():
    shown = []
    found = respond(model(ByteTokenizer()), FakeSession([97, 0xC3]), [1], 2, shown.append)
    assert shown == ["a", "\ufffd"] and found.text == "a\ufffd"
