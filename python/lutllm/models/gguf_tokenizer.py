"""The tokenizer in a GGUF file: its keys in, a transformers tokenizer that gives llama.cpp's tokens out.

Every key is used as said here or refused by name, as is a pre-tokenizer that is not in `PRE_TOKENIZERS`: one that cuts
text in another way gives the model other tokens. The patterns are facts of llama.cpp's `src/llama-vocab.cpp`;
`test/bench/llamacpp_tokens.py` compares the tokens.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lutllm.errors import InputError
from lutllm.models.hf import one_line, require, silent

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_CASED = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| "
    r"?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


@dataclass(frozen=True)
class PreTokenizer:
    """Text is cut at each pattern in turn. `whole`: a part that is a token is not merged; `bos`: a text starts with the
    start token unless the file says otherwise."""

    patterns: tuple[str, ...]
    whole: bool = False
    bos: bool = False


_GPT2, _DIGITS = PreTokenizer((_WORDS,)), PreTokenizer((r"\p{N}", _WORDS))
_LLAMA3, _QWEN2 = PreTokenizer((_CASED % "{1,3}",), whole=True, bos=True), PreTokenizer((_CASED % "",))
PRE_TOKENIZERS = {
    "default": PreTokenizer((r"[\p{P}\$\+<=>\^~\|]+", _WORDS, r"\p{N}+", "[0-9][0-9][0-9]")),
    **dict.fromkeys(("llama-bpe", "llama3", "llama-v3", "falcon3"), _LLAMA3),
    **dict.fromkeys(("smaug-bpe", "dbrx"), PreTokenizer((_CASED % "{1,3}",))),
    **dict.fromkeys(("gpt-2", "phi-2", "mpt", "olmo", "jais", "gigachat"), _GPT2),
    **dict.fromkeys(("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"), _DIGITS),
    **dict.fromkeys(("qwen2", "stablelm2", "megrez", "deepseek-r1-qwen"), _QWEN2),
}
_NORMAL, _UNKNOWN, _CONTROL, _USER, _BYTE = 1, 2, 3, 4, 6  # token types
_IDS = ("bos", "eos", "unknown", "padding")
# Read here, by `GgufModel` or by nobody because they mean nothing for a decoder's text.
_READ = {"model", "pre", "tokens", "token_type", "scores", "merges", "add_bos_token", "add_eos_token"}
_READ |= {"add_space_prefix", *(f"{name}_token_id" for name in (*_IDS, "eot", "eom"))}
_MEANINGLESS = {"seperator_token_id", "cls_token_id", "mask_token_id", "prefix_token_id", "suffix_token_id"}
_MEANINGLESS |= {"middle_token_id", "token_type_count"}
_PREFIX = "tokenizer.ggml."
TEMPLATE = "tokenizer.chat_template"


def tokenizer_from_gguf(keys: Mapping[str, Any], source: str) -> Any | None:
    """A `PreTrainedTokenizerFast`, or None for a file without a tokenizer."""
    own = {key.removeprefix(_PREFIX): value for key, value in keys.items() if key.startswith(_PREFIX)}
    if own.get("model", "no_vocab") in ("no_vocab", "none"):
        return None
    _refuse(own, source)
    spm = own["model"] == "llama"
    try:
        backend, bos = (_sentencepiece if spm else _byte_pairs)(own, require("tokenizers"))
        return _wrapped(backend, own, bos, keys.get(TEMPLATE))
    except Exception as error:
        raise InputError(
            f"{source}: expected a vocabulary that a tokenizer can be made of, got {one_line(error)}; download it again"
        ) from None


def _refuse(own: Mapping[str, Any], source: str) -> None:
    """Stop at what is not read, or not known."""

    def wrong(expected: str, got: str) -> InputError:
        return InputError(f"{source}: expected {expected}, got {got}; choose another model")

    if own["model"] not in ("gpt2", "llama"):
        raise wrong("a tokenizer.ggml.model of gpt2, llama", repr(own["model"]))
    if own["model"] == "gpt2" and own.get("pre", "default") not in PRE_TOKENIZERS:
        raise wrong(f"a pre-tokenizer 'tokenizer.ggml.pre' among {', '.join(PRE_TOKENIZERS)}", repr(own["pre"]))
    for key, value in own.items():
        harmless = key in _MEANINGLESS or key.startswith("fim_") or value in (False, [], "")
        if key not in _READ and not harmless:
            raise wrong(f"a tokenizer without '{_PREFIX}{key}', which is not applied", f"{str(value)[:40]}")
    tokens = own.get("tokens", [])
    for name in (*_IDS, "eot", "eom"):
        if not 0 <= own.get(f"{name}_token_id", 0) < max(1, len(tokens)):
            raise wrong(f"'{_PREFIX}{name}_token_id' below {len(tokens)}", f"{own[f'{name}_token_id']}")


def _byte_pairs(own: Mapping[str, Any], tokenizers: Any) -> tuple[Any, bool]:
    """GPT-2's kind: text in the byte alphabet, merges by rank."""
    pre = PRE_TOKENIZERS[own.get("pre", "default")]
    vocabulary = {token: number for number, token in enumerate(own["tokens"])}
    merges = [(merge[:at], merge[at + 1 :]) for merge in own["merges"] for at in [merge.index(" ", 1)]]
    backend = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, merges, ignore_merges=pre.whole))
    splits = [
        tokenizers.pre_tokenizers.Split(tokenizers.Regex(pattern), behavior="isolated") for pattern in pre.patterns
    ]
    bytes_ = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = tokenizers.pre_tokenizers.Sequence([*splits, bytes_])
    backend.decoder = tokenizers.decoders.ByteLevel()
    return backend, pre.bos


def _sentencepiece(own: Mapping[str, Any], tokenizers: Any) -> tuple[Any, bool]:
    """Llama 2's kind: spaces as U+2581, the pair whose token scores highest is merged, unknown characters as bytes."""
    tokens, scores, types = own["tokens"], own["scores"], own.get("token_type") or [_NORMAL] * len(own["tokens"])
    vocabulary = {token: number for number, token in enumerate(tokens)}
    merges = []
    for token, score, kind in zip(tokens, scores, types, strict=True):
        pairs = [(token[:at], token[at:]) for at in range(1, len(token))] if kind in (_NORMAL, _USER) else []
        merges += [(-score, *pair) for pair in pairs if pair[0] in vocabulary and pair[1] in vocabulary]
    merges.sort(key=lambda merge: merge[0])
    unknown = tokens[own.get("unknown_token_id", 0)]
    model = tokenizers.models.BPE(
        vocabulary, [(left, right) for _, left, right in merges], unk_token=unknown, fuse_unk=True, byte_fallback=True
    )
    backend = tokenizers.Tokenizer(model)
    prefix = own.get("add_space_prefix", True)
    escape = tokenizers.normalizers.Replace(" ", "\u2581")
    start = [tokenizers.normalizers.Prepend("\u2581")] if prefix else []
    backend.normalizer = tokenizers.normalizers.Sequence([*start, escape])
    decoders = tokenizers.decoders
    steps = [decoders.Replace("\u2581", " "), decoders.ByteFallback(), decoders.Fuse()]
    backend.decoder = decoders.Sequence([*steps, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    return backend, True


def _wrapped(backend: Any, own: Mapping[str, Any], bos: bool, template: str | None) -> Any:
    """The backend with its special tokens, found in any text, and what a text starts and ends with."""
    tokenizers, tokens = require("tokenizers"), own["tokens"]
    types = own.get("token_type") or [_NORMAL] * len(tokens)
    for kinds, special in (((_UNKNOWN, _CONTROL), True), ((_USER,), False)):
        added = [token for token, kind in zip(tokens, types, strict=True) if kind in kinds]
        made = [tokenizers.AddedToken(token, normalized=False, special=special) for token in added]
        (backend.add_special_tokens if special else backend.add_tokens)(made)
    named = {name: tokens[own[f"{name}_token_id"]] for name in _IDS if f"{name}_token_id" in own}
    ends = {"bos": own.get("add_bos_token", bos), "eos": own.get("add_eos_token", False)}
    around = [named[name] if ends[name] and name in named else None for name in ends]
    single = [*around[:1], "$A", *around[1:]]
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single=[part for part in single if part],
        special_tokens=[(token, tokens.index(token)) for token in around if token],
    )
    fields = {"bos": "bos_token", "eos": "eos_token", "unknown": "unk_token", "padding": "pad_token"}
    with silent():
        return require("transformers").PreTrainedTokenizerFast(
            tokenizer_object=backend,
            chat_template=template,
            **{fields[name]: token for name, token in named.items()},
        )
