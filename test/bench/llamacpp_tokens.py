"""Tokens of a GGUF file beside llama.cpp's: the texts of `test/python/Inputs/gguf_tokens.json` and files made of it in,
those on which the two tokenizers differ out.

For each pre-tokenizer that lutllm knows, a tiny GGUF file with the same vocabulary: merges across words and digits, so
that tokens show where a text was cut, and words that no merges make. And two files as SentencePiece makes them.
llama.cpp comes as in `llamacpp.py`. `--write` keeps hashes of llama.cpp's own tokens for
`test/python/test_gguf_tokens.py`. `--gguf FILE` compares on a file of yours.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from llamacpp import ask

SENTENCEPIECE = {"sentencepiece": True, "sentencepiece, no prefix": False}  # with a space before a text?
INPUTS = Path(__file__).parents[1] / "python" / "Inputs" / "gguf_tokens.json"


def write_tiny(path: Path, kind: str, known: dict[str, Any]) -> None:
    """A model of one layer with the tokenizer `kind`: a pre-tokenizer, or one of `SENTENCEPIECE`."""
    import gguf
    import numpy as np

    size, tokens = 32, known["pieces" if kind in SENTENCEPIECE else "vocabulary"]
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_context_length(64)
    writer.add_embedding_length(size)
    writer.add_feed_forward_length(size)
    writer.add_head_count(2)
    writer.add_layer_norm_rms_eps(1e-5)
    if kind in SENTENCEPIECE:
        writer.add_tokenizer_model("llama")
        writer.add_token_scores([-float(i) for i in range(len(tokens))])
        writer.add_token_types([2, 3, 3, *[6] * 256, *[1] * (len(tokens) - 259)])
        writer.add_add_space_prefix(SENTENCEPIECE[kind])
    else:
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre(kind)
        writer.add_token_types([3 if token.startswith("<|") else 1 for token in tokens])
        writer.add_token_merges(known["merges"])
    writer.add_token_list(tokens)
    writer.add_bos_token_id(tokens.index("<|start|>"))
    writer.add_eos_token_id(tokens.index("<|end|>"))
    random = np.random.default_rng(0)
    linears = {f"blk.0.{name}": (size, size) for name in ("attn_q", "attn_k", "attn_v", "attn_output")}
    linears |= {f"blk.0.{name}": (size, size) for name in ("ffn_gate", "ffn_up", "ffn_down")}
    norms = {name: (size,) for name in ("blk.0.attn_norm", "blk.0.ffn_norm", "output_norm")}
    for name, shape in {"token_embd": (len(tokens), size), **linears, **norms}.items():
        writer.add_tensor(f"{name}.weight", random.normal(size=shape).astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def digest(tokens: list[list[int]]) -> str:
    return hashlib.sha256(json.dumps(tokens).encode()).hexdigest()


def trained(texts: list[str]) -> list[str]:
    """Merges over whole texts, cut nowhere."""
    import tokenizers

    backend = tokenizers.Tokenizer(tokenizers.models.BPE())
    backend.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=256 + 500, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator(texts, trainer)
    return [" ".join(pair) for pair in json.loads(backend.to_str())["model"]["merges"]]


def vocabulary(merges: list[str]) -> list[str]:
    import tokenizers

    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    whole = ["brown", "\u0120lazy", "123", "456", "\u0120Fuchs", "HTTPServer"]
    made = [merge.replace(" ", "") for merge in merges]
    return list(dict.fromkeys([*alphabet, *made, *whole, "<|start|>", "<|end|>"]))


def pieces(merges: list[str]) -> list[str]:
    """A vocabulary as SentencePiece's: byte tokens, and the merges that are whole characters."""
    from tokenizers.decoders import ByteLevel

    texts = [ByteLevel().decode([merge.replace(" ", "")]) for merge in merges]
    whole = [text.replace(" ", "\u2581") for text in texts if "\ufffd" not in text]
    letters = sorted({letter for text in whole for letter in text})
    return list(
        dict.fromkeys(["<unk>", "<|start|>", "<|end|>", *(f"<0x{i:02X}>" for i in range(256)), *whole, *letters])
    )


def compare(name: str, gguf: Path, texts: list[str]) -> str | None:
    """Print where the two differ; a hash of llama.cpp's tokens, None where there are none or others."""
    from lutllm.models.gguf_file import open_gguf
    from lutllm.models.gguf_tokenizer import tokenizer_from_gguf

    tokenizer: Any = tokenizer_from_gguf(open_gguf(gguf).keys, str(gguf))
    requests = [{"content": text, "add_special": True, "parse_special": True} for text in texts]
    answers = ask(gguf, "/tokenize", requests)
    if isinstance(answers, str):
        print(f"{name}: llama.cpp: {answers}")
        return None
    wanted = [answer["tokens"] for answer in answers]
    ours = [tokenizer(text)["input_ids"] for text in texts]
    differ = [i for i, (a, b) in enumerate(zip(ours, wanted, strict=True)) if a != b]
    print(f"{name}: {len(texts) - len(differ)} of {len(texts)} texts equal")
    for i in differ[:5]:
        pieces = [tokenizer.convert_ids_to_tokens(ids[i]) for ids in (ours, wanted)]
        print(f"  {texts[i]!r}\n    lutllm    {pieces[0]}\n    llama.cpp {pieces[1]}")
    return None if differ else digest(wanted)


def main() -> int:
    from lutllm.models.gguf_tokenizer import PRE_TOKENIZERS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--gguf", metavar="FILE")
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    known = json.loads(INPUTS.read_text())
    if options.gguf:
        return 0 if compare(options.gguf, Path(options.gguf), known["texts"]) else 1
    if options.write:
        merges = trained(known["texts"])
        known |= {"merges": merges, "vocabulary": vocabulary(merges), "pieces": pieces(merges)}
    known["tokens"] = {}
    with tempfile.TemporaryDirectory() as folder:
        for pre in (*PRE_TOKENIZERS, *SENTENCEPIECE):
            write_tiny(Path(folder) / "tiny.gguf", pre, known)
            known["tokens"][pre] = compare(pre, Path(folder) / "tiny.gguf", known["texts"])
    if options.write:
        INPUTS.write_text(json.dumps(known, indent=0, ensure_ascii=False) + "\n")
    return 0 if all(known["tokens"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
