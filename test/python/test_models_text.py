"""Calibration and evaluation text: sources, split, windows."""

import hashlib

import numpy as np
import pytest

from lutllm.errors import InputError
from lutllm.models.text import Text, default_text, text_file, windows


class Bytes:
    """A tokenizer with one token per byte."""

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": list(text.encode())}


def test_default_text_needs_no_download_and_names_its_licence():
    info = default_text().info
    assert info["source"] == "pydoc_data.topics"
    assert info["licence"] == "PSF-2.0"
    assert info["characters"] > 300_000
    assert len(info["sha256"]) == 64


def test_split_is_by_hash_and_complete():
    text = default_text()
    calibration, evaluation = text.split()
    assert calibration.documents.keys() | evaluation.documents.keys() == text.documents.keys()
    assert not calibration.documents.keys() & evaluation.documents.keys()
    assert evaluation.documents
    for name in text.documents:
        digest = int(hashlib.sha256(("pydoc_data.topics" + name).encode()).hexdigest(), 16)
        assert (name in evaluation.documents) == (digest % 10 == 0)


@pytest.mark.parametrize("gap", [" ", "\n", "\n\n"])
def test_a_file_is_cut_into_documents_whatever_its_lines(tmp_path, gap):
    path = tmp_path / "words.txt"
    path.write_text(gap.join(f"word{i}" for i in range(4000)))
    documents = text_file(path).documents
    assert len(documents) > 3 and max(map(len, documents.values())) <= 8000
    assert "".join(documents.values()).split() == path.read_text().split()


def test_a_text_of_one_document_is_calibrated_on():
    for name in map(str, range(40)):  # one in ten would be held apart
        calibration, evaluation = Text({name: "words"}, "source", "none").split()
        assert list(calibration.documents) == [name] and not evaluation.documents


def test_windows_do_not_overlap_and_follow_the_seed():
    text = "".join(chr(65 + i % 26) + str(i) + " " for i in range(2000))
    one = windows(Bytes(), text, 16, 20, seed=1)
    assert one.shape == (20, 16)
    assert one.dtype == np.int64
    assert np.array_equal(one, windows(Bytes(), text, 16, 20, seed=1))
    assert not np.array_equal(one, windows(Bytes(), text, 16, 20, seed=2))
    found = [text.encode().index(bytes(row.tolist())) for row in one]
    assert found == sorted(found)
    assert all(at % 16 == 0 for at in found)


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("   \n", 0), ("short", 5)])
def test_text_too_short_says_how_many_tokens(text, tokens):
    with pytest.raises(
        InputError, match=rf"expected at least 64 tokens \(4 windows of 16\), got {tokens}; give a longer"
    ):
        windows(Bytes(), text, 16, 4)


def test_windows_of_no_tokenizer_and_of_no_seed_are_refused():
    with pytest.raises(InputError, match=r"expected a model with a tokenizer, got none; add tokenizer\.json"):
        windows(None, "text", 2, 2)
    with pytest.raises(InputError, match="expected a seed of 0 or more, got -1"):
        windows(Bytes(), "some text", 2, 2, -1)


def test_windows_of_nothing_are_refused():
    with pytest.raises(InputError, match="at least 1 window of at least 1 token"):
        windows(Bytes(), "text", 0, 4)


def test_file_is_cut_into_documents_at_empty_lines(tmp_path):
    paragraphs = [f"Paragraph {i}: " + "word " * 300 for i in range(40)]
    path = tmp_path / "book.txt"
    path.write_text("\n\n".join(paragraphs))
    text = text_file(path)
    assert len(text.documents) > 5
    assert "".join(text.documents.values()).split() == " ".join(paragraphs).split()
    assert text.info["source"] == "book.txt"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"expected text, got an empty file \(0 tokens\)"),
        (b" \n ", r"expected text, got an empty file \(0 tokens\)"),
        (b"abc\xff\xfe", "expected UTF-8 text, got byte 0xff at 3"),
    ],
)
def test_unusable_file(tmp_path, content, message):
    (tmp_path / "text.txt").write_bytes(content)
    with pytest.raises(InputError, match=message):
        text_file(tmp_path / "text.txt")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="expected a text file, got No such file or directory"):
        text_file(tmp_path / "none.txt")


def test_hash_follows_the_content():
    assert Text({"a": "x"}, "s", "l").sha256 != Text({"a": "y"}, "s", "l").sha256
