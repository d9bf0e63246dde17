"""Tokenizers without transformers: the same ids, texts and chats as transformers' own, and nothing stale."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

transformers = pytest.importorskip("transformers", reason="tokenizers need transformers: pip install 'lutllm[models]'")
import tokenizers  # noqa: E402
from tokenizers import decoders, models, pre_tokenizers, processors  # noqa: E402

from lutllm.models import kept_tokenizer  # noqa: E402
from lutllm.models.kept_tokenizer import KeptTokenizer, open_tokenizer  # noqa: E402
from lutllm.models.tokenizer import byte_tokenizer, load_tokenizer, text_ends  # noqa: E402

TEXTS = (
    "Hello, world !",
    " leading",
    "größe 1234 日本語 🎉 \n\n  x",
    "<s>a</s> b<pad>",
    "don't  stop .",
    "hug hugs",
    "",
)
TEMPLATES = (
    "{% for m in messages %}{{ bos_token }}{{ m['role'] }}: {{ m.content | trim }}\n{% endfor %}{{ eos_token }}",
    "  {% if add_generation_prompt %}\n  go\n{% endif %}{{ messages | tojson }}{{ messages | tojson(indent=1) }}",
    "{% for m in messages %}{% if loop.index > 1 %}{% break %}{% endif %}{{ m.content }}{% endfor %}{{ unk_token }}",
    "{% set n = namespace(x=0, self=1) %}{% for m in messages %}{% set n.x = n.x + 1 %}{% endfor %}{{ n.x }}",
    "{{ dict(a=1) }}{{ dict.fromkeys([1]) }}{{ tools }}{{ documents }}",
    "{% set n = namespace(_x=0) %}{{ n._x }}",
    "{% generation %}{{ messages[0].content }}{% endgeneration %}",
    "{{ raise_exception('no ' ~ messages[0].role) }}",
    "{{ messages.append(1) }}",
    "{{ ''.__class__.__mro__ }}|{{ strftime_now('%Y') }}",
    "{{ messages[0]['role'] }",
)
CHATS = (
    [{"role": "user", "content": "<b> hi & \u00e4 </b> "}],
    [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}],
)


def _bpe(prefix: bool) -> tokenizers.Tokenizer:
    pieces = {
        piece: i
        for i, piece in enumerate(["<unk>", "<s>", "</s>", "<pad>", *"hugsabdont.,'!", "hu", "hug", "Ġ", "Ġhug"])
    }
    made = tokenizers.Tokenizer(models.BPE(pieces, [("h", "u"), ("hu", "g"), ("Ġ", "hug")], unk_token="<unk>"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.ByteLevel(add_prefix_space=prefix), decoders.ByteLevel()
    made.add_special_tokens(["<unk>", "<s>", "</s>"])
    made.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return made


def _llama() -> tokenizers.Tokenizer:
    pieces = ["<unk>", "<s>", "</s>", *(f"<0x{i:02X}>" for i in range(256)), "▁", "▁hug", "s", "a", "b"]
    scores = [(piece, -float(i > 2) * (1 + (len(piece) == 1))) for i, piece in enumerate(pieces)]
    made = tokenizers.Tokenizer(models.Unigram(scores, unk_id=0, byte_fallback=True))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    made.decoder = decoders.Sequence([decoders.Metaspace(), decoders.ByteFallback(), decoders.Fuse()])
    made.enable_truncation(3)
    made.enable_padding(length=16, pad_token="</s>", pad_id=2)
    return made


def _words() -> tokenizers.Tokenizer:
    pieces = ["[UNK]", "hug", "##s", "don", "'", "t", "stop", ".", ",", "!", "world"]
    made = tokenizers.Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    made.pre_tokenizer, made.decoder = pre_tokenizers.BertPreTokenizer(), decoders.WordPiece()
    return made


SPECIAL = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
KINDS = {
    "bytes": byte_tokenizer,
    "bpe": lambda: transformers.PreTrainedTokenizerFast(
        tokenizer_object=_bpe(prefix=False), **SPECIAL, pad_token="<pad>"
    ),
    "bpe, prefix": lambda: transformers.PreTrainedTokenizerFast(
        tokenizer_object=_bpe(prefix=True), **SPECIAL, add_prefix_space=True, additional_special_tokens=["hug"]
    ),
    "bpe, specials split": lambda: transformers.PreTrainedTokenizerFast(
        tokenizer_object=_bpe(prefix=False), **SPECIAL, split_special_tokens=True, add_eos_token=True
    ),
    "unigram": lambda: transformers.PreTrainedTokenizerFast(tokenizer_object=_llama(), **SPECIAL),
    "words": lambda: transformers.PreTrainedTokenizerFast(
        tokenizer_object=_words(), unk_token="[UNK]", clean_up_tokenization_spaces=True
    ),
    "of its own class": lambda: transformers.Qwen2Tokenizer(vocab={"h": 0, "i": 1, "hi": 2}, merges=[("h", "i")]),
}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("kind", KINDS)
def test_ids_and_texts_are_those_of_transformers(tmp_path: Path, kind: str) -> None:
    KINDS[kind]().save_pretrained(tmp_path / "t")
    wanted = load_tokenizer(tmp_path / "t")
    for found in (open_tokenizer(tmp_path / "t"), open_tokenizer(tmp_path / "t")):  # made, and found in the cache
        assert isinstance(found, KeptTokenizer)
        for text in TEXTS:
            for special in (True, False):
                ids = list(wanted(text, add_special_tokens=special)["input_ids"])
                assert found(text, add_special_tokens=special)["input_ids"] == ids
                for skip in (True, False):
                    how = dict(skip_special_tokens=skip, clean_up_tokenization_spaces=False)
                    assert found.decode(ids, **how) == wanted.decode(ids, **how)
        assert found.get_vocab() == wanted.get_vocab() and len(found) == len(wanted)
        assert text_ends(found) == text_ends(wanted) and found.chat_template == wanted.chat_template
        kinds = [{i: (str(t), t.special) for i, t in one.added_tokens_decoder.items()} for one in (found, wanted)]
        assert kinds[0] == kinds[1]
        assert "whole" not in vars(found)
        # What running a model does not ask for is asked of transformers.
        assert found.decode(ids) == wanted.decode(ids) and found.all_special_ids == wanted.all_special_ids
        assert dict(found([*TEXTS])) == dict(wanted([*TEXTS]))


@pytest.mark.parametrize("template", TEMPLATES)
def test_chats_are_those_of_transformers(tmp_path: Path, template: str) -> None:
    tokenizer = KINDS["bpe"]()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    wanted, found = load_tokenizer(tmp_path), open_tokenizer(tmp_path)

    def said(tokenizer: object, chat: list) -> str:
        try:
            return tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)  # type: ignore[attr-defined]
        except Exception as error:
            return type(error).__name__ + ("" if "underscore" in str(error) else str(error))

    for chat in CHATS:
        assert said(found, chat) == said(wanted, chat)
    assert ("whole" in vars(found)) == ("generation %}" in template)


def test_a_tokenizer_that_does_more_is_transformers_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Shouting(transformers.PreTrainedTokenizerFast):
        def _decode(self, *ids: object, **options: object) -> str:
            return super()._decode(*ids, **options).upper()

    byte_tokenizer().save_pretrained(tmp_path)
    load = lambda directory, embedded=None: Shouting.from_pretrained(directory)  # noqa: E731
    monkeypatch.setattr(kept_tokenizer, "load_tokenizer", load)
    for _ in range(2):
        assert open_tokenizer(tmp_path).decode([104, 105]) == "HI"


@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_a_changed_file_is_read_again(tmp_path: Path, name: str) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "t")
    before = open_tokenizer(tmp_path / "t")
    path = tmp_path / "t" / name
    values = json.loads(path.read_text())
    if name == "tokenizer.json":
        values["model"]["vocab"] |= {"a": 98, "b": 97}
    else:
        values["eos_token"] = "a"
    path.write_text(json.dumps(values))
    found, wanted = open_tokenizer(tmp_path / "t"), load_tokenizer(tmp_path / "t")
    assert (found("ab")["input_ids"], found.eos_token_id) == (list(wanted("ab")["input_ids"]), wanted.eos_token_id)
    assert (found("ab")["input_ids"], found.eos_token_id) != (before("ab")["input_ids"], before.eos_token_id)


def test_transformers_is_not_loaded(tmp_path: Path) -> None:
    byte_tokenizer().save_pretrained(tmp_path / "t")
    open_tokenizer(tmp_path / "t")
    code = (
        "import sys; from pathlib import Path; from lutllm.models.kept_tokenizer import open_tokenizer; "
        f"assert open_tokenizer(Path({str(tmp_path / 't')!r}))('hi')['input_ids'] == [104, 105]; "
        "assert 'transformers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
