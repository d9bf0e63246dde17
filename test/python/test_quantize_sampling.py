"""Text that the float model writes itself: from its distribution, after openings, the same every time."""

import copy
import dataclasses
import types

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lutllm.errors import InputError  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models.tokenizer import text_ends  # noqa: E402
from lutllm.quantizer.observe import sampling  # noqa: E402
from lutllm.quantizer.observe.sampling import Openings, chat_opening, own_windows, sample  # noqa: E402

TEMPLATE = "{% for m in messages %}<U>{{ m.content }}</U>{% endfor %}{% if add_generation_prompt %}<A>{% endif %}"


@pytest.fixture(scope="module")
def model():
    return load("tiny-llama", seed=1)


@pytest.fixture(scope="module")
def chatty(model):
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.chat_template = TEMPLATE
    return dataclasses.replace(model, tokenizer=tokenizer)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    return tmp_path


class Scripted(torch.nn.Module):
    """Says the same tokens whatever it is given, with certainty."""

    device = "cpu"

    def __init__(self, tokens, vocabulary):
        super().__init__()
        self.tokens, self.vocabulary = tokens, vocabulary

    def forward(self, ids, past_key_values, use_cache):
        at = past_key_values or 0
        logits = torch.full((len(ids), 1, self.vocabulary), -1e4)
        logits[:, :, self.tokens[at]] = 0.0
        return types.SimpleNamespace(logits=logits, past_key_values=at + 1)


def test_tokens_come_from_the_models_distribution(model):
    found = own_windows(model, 300, 44, seed=3)  # longer than any opening
    assert found.shape == (300, 44) and found.dtype == np.int64
    free = found[~np.isin(found, list(text_ends(model.tokenizer))).any(axis=1)]  # no second opening
    with torch.no_grad():
        log_p = torch.log_softmax(model.module(torch.from_numpy(free)).logits[:, 36:-1].double(), -1)
    surprise = -log_p.gather(2, torch.from_numpy(free)[:, 37:, None]).mean()
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    assert len(free) > 200 and float(surprise) == pytest.approx(float(entropy), abs=0.1)


def test_the_same_arguments_give_the_same_windows_and_other_seeds_others(model, cache):
    once = own_windows(model, 3, 8, seed=5)
    kept = list(cache.iterdir())
    assert len(kept) == 1
    np.testing.assert_array_equal(own_windows(model, 3, 8, seed=5), once)
    assert list(cache.iterdir()) == kept
    (kept[0] / sampling.TOKENS).unlink()  # made again, not read
    np.testing.assert_array_equal(own_windows(model, 3, 8, seed=5), once)
    assert not np.array_equal(own_windows(model, 3, 8, seed=6), once)


def test_a_chat_goes_from_turn_to_turn(chatty):
    tokenizer = chatty.tokenizer
    end = tokenizer.eos_token_id
    before, after = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("<U>", "</U><A>"))
    assert chat_opening(tokenizer) == (before, after)
    vocabulary = len(tokenizer)
    said = [0] * (len(before) - 1) + [50, end] + [0] * len(after) + [51, end] + [0] * 30
    openings = Openings(tokenizer, np.random.default_rng(0), chat=True)
    (found,) = sample(Scripted(said, vocabulary), openings, 1, len(before) + len(after) + 5 + len(before))
    wanted = [*before, 50, end, *after, 51, end, *before]
    assert found[: len(wanted)].tolist() == wanted


def test_openings_are_of_all_kinds(chatty):
    openings = Openings(chatty.tokenizer, np.random.default_rng(0), chat=False)
    lengths = [len(openings.draw()) for _ in range(60)]
    assert 10 < sum(n == 2 for n in lengths) < 30  # chats
    only = Openings(chatty.tokenizer, np.random.default_rng(0), chat=True)
    assert all(len(only.draw()) == 2 for _ in range(9))


def test_a_model_without_a_tokenizer_is_refused(model):
    with pytest.raises(InputError, match="'tiny-llama': expected a model with a tokenizer, got none"):
        own_windows(dataclasses.replace(model, tokenizer=None), 1, 8)
