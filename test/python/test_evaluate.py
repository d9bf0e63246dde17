"""Perplexity of a quantized model: three programs on the same windows, of text nobody calibrated on."""

import copy
import dataclasses
import math

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import lutllm  # noqa: E402
from lutllm import store  # noqa: E402
from lutllm.errors import InputError  # noqa: E402
from lutllm.models import load  # noqa: E402
from lutllm.models import text as texts  # noqa: E402
from lutllm.models.corpus import joined  # noqa: E402
from lutllm.models.text import Text, default_text, evaluation_windows  # noqa: E402
from lutllm.quantizer.recipe import load_recipe  # noqa: E402
from lutllm.quantizer.whole import quantize_model  # noqa: E402
from lutllm.report import text as report  # noqa: E402
from lutllm.run import evaluate as module  # noqa: E402
from lutllm.run.compare import compare, of_session  # noqa: E402
from lutllm.run.evaluate import Perplexities, evaluate  # noqa: E402
from lutllm.run.greedy import compare_greedy, loops  # noqa: E402
from lutllm.run.session import open_session  # noqa: E402

SMALL = {"tokens": 96, "window": 24, "backend": "golden", "quiet": True}
CALIBRATED = Text(dict(list(default_text().documents.items())[:40]), "topics", "PSF-2.0")
OTHER = Text({str(i): f"Other words number {i} are here. " * 20 for i in range(40)}, "other", "CC0-1.0")


@pytest.fixture(scope="module")
def source():
    return load("tiny-qwen3", seed=1, layers=1)


@pytest.fixture(scope="module")
def model(source, tmp_path_factory):
    directory = tmp_path_factory.mktemp("evaluated") / "q"
    recipe = load_recipe([{"targets": "*", "scheme": "exact", "stages": 2, "block": 64}])
    quantize_model(source, directory, recipe, text=CALIBRATED, tokens=512, window=64, progress=False)
    return lutllm.from_pretrained(directory)


@pytest.fixture
def windows_asked_for(monkeypatch):
    """Every text that windows were taken of."""
    asked = []
    real = texts.windows
    monkeypatch.setattr(module, "windows", lambda *a, **k: asked.append(a[1]) or real(*a, **k))
    return asked


def test_three_perplexities_of_one_text(model, source):
    found = evaluate(model, text=CALIBRATED, source=source, **SMALL).to_dict()
    chosen = evaluation_windows(model.tokenizer, CALIBRATED, 24, 4)
    session = open_session(model, 24, backend="golden")
    total = divergence = same = 0.0
    for window in chosen:
        ids = torch.from_numpy(window)[None]
        with torch.no_grad():
            logits = source.module(ids).logits[0, :-1].double()
        total += float(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum"))
        session.reset()
        integers = torch.from_numpy(session.forward(window[:-1], all_logits=True) * 2.0**session.logit_exponent)
        p, q = (torch.distributions.Categorical(logits=each) for each in (logits, integers))
        divergence += float(torch.distributions.kl_divergence(p, q).sum())
        same += int((logits.argmax(-1) == integers.argmax(-1)).sum())
    assert found["float"] == pytest.approx(math.exp(total / (4 * 23)), rel=1e-5)
    assert found["lut_float"] == pytest.approx(found["float"], rel=0.1) and found["lut_float"] != found["float"]
    assert found["lut_integer"] == pytest.approx(found["lut_float"], rel=0.03)
    assert found["lut_integer"] != found["lut_float"]
    assert found["kl"] == pytest.approx(divergence / 92, rel=1e-3) and found["top1"] == same / 92
    assert found["ratios"]["lut_integer/float"] == pytest.approx(found["lut_integer"] / found["float"], rel=1e-4)
    assert found["bits_effective"] == model.bits["effective"] and found["bits_embedding"] == model.bits["embedding"]
    assert (found["windows"], found["context"], found["tokens"], found["predicted"]) == (4, 24, 96, 92)
    assert found["corpus"]["source"] == "topics, documents held apart" and found["backend"] == "golden"
    assert found["calibration"]["sha256"] == CALIBRATED.sha256 and "out_of_domain" not in found
    assert "sources" not in found


class Uniform:
    """A session whose logits say nothing, but for token 3, e times as likely as others."""

    logit_exponent = -10

    def reset(self):
        self.position = 0

    def forward(self, ids, all_logits):
        assert all_logits and self.position == 0
        logits = np.zeros((len(ids), 8), np.int64)
        logits[:, 3] = 1 << 10
        return logits + 10**6  # softmax does not mind


def test_perplexity_is_that_of_the_logits():
    uneven = 7 + math.e
    reference, (found,) = beside_flat(Uniform(), [[0, 1, 2]])
    assert (reference, found.perplexity) == (pytest.approx(8), pytest.approx(uneven))
    assert found.kl == pytest.approx(math.log(uneven / 8) - 1 / 8) and found.top1 == 0.0
    assert beside_flat(Uniform(), [[0, 3, 3]])[1][0].perplexity == pytest.approx(uneven / math.e)
    windows = [[3, 3, 3], [0, 1, 2, 3, 3]]
    assert beside_flat(Uniform(), windows)[1][0].perplexity == pytest.approx(uneven / math.e ** (4 / 6))


def beside_flat(session, windows):
    """(the perplexity of a program that finds 8 tokens equally likely, what a session is beside it)."""
    reference, found = compare(lambda ids: np.full((len(ids), 8), 3.0), {"it": of_session(session)}, windows)
    return reference, list(found.values())


def test_a_perplexity_that_no_number_holds_is_infinity(model, source, tmp_path):
    class Certain(Uniform):
        logit_exponent = 0

    assert beside_flat(Certain(), [[0, 1, 2]])[1][0].perplexity == math.inf
    found = Perplexities(2.0, 3.0, math.inf, {}, 1, 3, 3, 2, kl=9.0, top1=0.0)
    assert found.ratios == {"lut_float/float": 1.5, "lut_integer/lut_float": math.inf, "lut_integer/float": math.inf}
    store.write_json(tmp_path / "e.json", found.to_dict())
    assert store.read_json(tmp_path / "e.json")["lut_integer"] == "inf"


def test_an_original_checkpoint_shows_a_wrong_import(model, source):
    """Beside itself nothing differs; beside another model everything does."""
    found = evaluate(model, text=CALIBRATED, source=source, against=source, **SMALL)
    same = found.against
    assert same.model == source.name and same.same_tokens
    assert same.perplexity == pytest.approx(found.corpus.reference, rel=1e-5)
    assert same.divergence["float"] < 1e-9 and same.top1_agreement["float"] == 1.0
    assert 1e-6 < same.divergence["lut_integer"] < 0.1 and 0.5 < same.top1_agreement["lut_integer"] <= 1.0
    assert "against tiny-qwen3, of perplexity" in report.perplexities(found)
    other = evaluate(model, text=CALIBRATED, source=source, against=load("tiny-qwen3", seed=2, layers=1), **SMALL)
    assert other.against.divergence["float"] > 0.5 and other.against.top1_agreement["float"] < 0.5
    assert other.to_dict()["against"]["divergence"] == other.against.divergence
    wide = load("tiny-qwen3", layers=1)
    wide.config.vocab_size = 999
    with pytest.raises(InputError, match="expected a vocabulary of 320 tokens, got one of 999"):
        evaluate(model, text=CALIBRATED, source=source, against=wide, **SMALL)


def test_text_that_was_calibrated_on_is_measured_on_what_is_held_apart(model, source, windows_asked_for):
    evaluate(model, text=CALIBRATED, source=source, **SMALL)
    evaluate(model, text=OTHER, source=source, **SMALL)
    held, whole = windows_asked_for
    assert held.documents == CALIBRATED.split()[1].documents
    assert whole == OTHER


NEWS = Text({"1": "The council voted on Tuesday. " * 40}, "news", "CC0-1.0")


def test_the_default_is_measured_beside_texts_of_other_kinds(model, source, windows_asked_for, monkeypatch):
    corpus = joined([OTHER, CALIBRATED])
    monkeypatch.setattr("lutllm.models.corpus.default_corpus", lambda: corpus)
    others = {"reference": default_text(), "news": NEWS}
    monkeypatch.setattr("lutllm.models.corpus.out_of_domain_texts", lambda: others)
    found = evaluate(model, source=source, source_tokens=50, **SMALL)
    values = found.to_dict()
    assert list(values["sources"]) == ["reference", "news"] and values["sources"]["news"]["tokens"] == 48
    assert values["out_of_domain"]["corpus"]["source"] == "pydoc_data.topics"
    ratios = [each["lut_integer"] / each["float"] for each in values["sources"].values()]
    assert values["out_of_domain"]["mean_ratio"] == pytest.approx(sum(ratios) / 2, abs=1e-5)
    held, *apart = windows_asked_for
    assert held.documents == corpus.split()[1].documents and apart == [default_text(), NEWS]
    lines = report.perplexities(found).splitlines()
    assert lines[0].split()[:6] == ["perplexity", "of", "float", "lut", "float", "lut"]
    assert lines[1].startswith("other + topics, documents held apart") and lines[2].startswith("reference: pydoc")
    assert lines[4] == f"out of domain, mean of lut_integer/float: {sum(ratios) / 2:.4f}"
    assert lines[5].startswith("greedy texts after 8 prompts: ") and values["greedy"]["tokens"] == 12
    assert "4 windows of 24 tokens each (96 tokens, 92 predicted" in lines[6] and "effective bits" in lines[7]
    assert evaluate(model, source=source, out_of_domain=False, **SMALL).out_of_domain is None


def test_greedy_texts_are_those_of_transformers_and_of_the_interpreter(model, source):
    prompts = evaluation_windows(model.tokenizer, CALIBRATED, 12, 3)
    session = open_session(model, 40, backend="golden")
    shares, looped = [], []
    for prompt in prompts:
        ids = torch.from_numpy(prompt)[None]
        wanted = source.module.generate(ids, max_new_tokens=24, min_new_tokens=24, do_sample=False)[0, 12:].tolist()
        got = list(prompt)
        for _ in range(24):  # the whole text each time, nothing kept
            session.reset()
            got.append(int(session.forward(got, all_logits=True)[-1].argmax()))
        shares.append(next((i for i in range(24) if wanted[i] != got[12 + i]), 24) / 24)
        looped.append([loops(got[12:]), loops(wanted)])
    found = compare_greedy(source.module, session, prompts, 24)
    assert (found.prompts, found.tokens, found.agreed) == (3, 24, pytest.approx(np.mean(shares)))
    assert [found.loops, found.float_loops] == pytest.approx(np.mean(looped, axis=0).tolist())
    asked = evaluate(model, text=CALIBRATED, source=source, prompts=2, **SMALL)
    assert asked.greedy.prompts == 2 and asked.to_dict()["greedy"]["agreed"] == asked.greedy.agreed
    assert evaluate(model, text=CALIBRATED, source=source, **SMALL).greedy is None


def test_a_loop_is_a_last_half_that_repeats_itself():
    assert loops([1, 2, 3, 4, 5, 6, 5, 6, 5, 6, 5, 6]) and loops([9, 8, 7, 7, 7, 7, 7, 7])
    assert not loops([1, 2, 3, 4, 1, 2, 3, 4]), "one period is no repeat"
    assert not loops([5, 6, 5, 6, 5, 6, 5, 6, 7, 8, 9, 1])


def test_chats_are_written_by_the_float_model_where_there_is_a_template(model, source, monkeypatch, tmp_path):
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path))
    monkeypatch.setattr("lutllm.models.corpus.out_of_domain_texts", dict)
    chatty = copy.deepcopy(model.tokenizer)
    chatty.chat_template = "{% for m in messages %}[{{ m.content }}]{% endfor %}"
    both = dataclasses.replace(model, tokenizer=chatty), dataclasses.replace(source, tokenizer=chatty)
    found = evaluate(both[0], text=OTHER, source=both[1], out_of_domain=True, source_tokens=24, **SMALL)
    assert list(found.sources) == ["chat"] and found.sources["chat"].windows == 1


def test_text_that_was_calibrated_on_is_never_called_out_of_domain(model, source, monkeypatch):
    monkeypatch.setattr("lutllm.models.corpus.out_of_domain_texts", lambda: {"topics": CALIBRATED})
    assert evaluate(model, text=OTHER, source=source, out_of_domain=True, **SMALL).out_of_domain is None


def test_the_float_model_is_found_by_its_name(model):
    about = {**model.about, "model": {**model.about["model"], "source": "tiny-qwen3"}}
    whole = dataclasses.replace(model, about=about)
    with pytest.raises(
        InputError, match=r"'tiny-qwen3': expected the model .* was made from \(.{12}\.\.\.\), got another"
    ):
        evaluate(whole, text=OTHER, **SMALL)  # it was made from one layer of it
    about["model"]["source"] = "/no/such/model"
    with pytest.raises(
        InputError, match=r"'/no/such/model': expected a model directory, .* was made from with --model"
    ):
        evaluate(whole, text=OTHER, **SMALL)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backend": "gpu"}, "expected a backend among cpu, golden, got 'gpu'"),
        ({"window": 1}, "expected a window of at least 2 tokens"),
        ({"tokens": 20}, "expected a window of at least 2 tokens and tokens for one, got 24 and 20"),
        ({"window": 1000, "tokens": 1000}, r"expected a context of 1..512 tokens, as the RoPE tables have positions"),
        ({"tokens": 10**6}, r"other: expected at least 999984 tokens .* give a longer text"),
    ],
)
def test_what_cannot_be_measured_is_refused(model, source, changes, message):
    with pytest.raises(InputError, match=message):
        evaluate(model, text=OTHER, source=source, **{**SMALL, **changes})


def test_both_backends_give_the_same_logits(model):
    ids = model.tokenizer("The same integers")["input_ids"]
    golden, cpu = (
        open_session(model, 32, backend=backend).forward(ids, all_logits=True) for backend in ("golden", "cpu")
    )
    np.testing.assert_array_equal(golden, cpu)
