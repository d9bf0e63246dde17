"""The site of the documentation: it is built without network, its links lead somewhere, and what it shows is true."""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from subprocess import CompletedProcess, run

import pytest

import lutllm
from lutllm.tools.lutllm import command_parser

pytest.importorskip("mkdocs", reason="the site needs mkdocs: pip install 'lutllm[site]'")
ROOT = Path(__file__).parents[2]


def build(config: Path, site: Path) -> CompletedProcess[str]:
    command = [sys.executable, "-m", "mkdocs", "build", "-f", str(config), "-d", str(site)]
    return run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = build(ROOT / "tools" / "site.yml", folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_nothing_comes_from_elsewhere(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        assert not re.search(r"<(script|link|img|iframe)[^>]*(src|href)=.?https?://", page.read_text()), page


def test_every_local_link_leads_somewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for target, anchor in re.findall(r"<a [^>]*href=.(?!https?:)([^\"'#>:]*)(#[^\"'>]*)?", page.read_text()):
            found = (page.parent / target) if target else page
            if page.name != "404.html":  # whose links are of the root of a server
                assert found.exists(), f"{page}: {target}"
                assert len(anchor) < 2 or f'id="{anchor[1:]}"' in found.read_text(), f"{page}: {target}{anchor}"


def test_every_verb_and_every_name_has_an_entry(site: Path) -> None:
    command_line = (site / "reference" / "command-line.html").read_text()
    verbs = re.findall(r"\n    (\w+)  ", command_parser().format_help())
    assert len(verbs) > 12
    assert [verb for verb in verbs if f"usage: lutllm {verb} " not in command_line] == []
    python = (site / "reference" / "python.html").read_text()
    assert [name for name in lutllm.__all__ if not re.search(rf'id="lutllm\.[\w.]*{name}"', python)] == []


def test_the_notebook_shows_its_picture(site: Path) -> None:
    page = (site / "notebooks" / "schedule.html").read_text()
    assert "result.gantt()" in page and "<svg" in page and 'class="dataframe"' in page


def test_a_link_that_leads_nowhere_is_an_error(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    (tmp_path / "tools").mkdir()
    text = (ROOT / "tools" / "site.yml").read_text().replace("[site.py]", f"[{ROOT / 'tools' / 'site.py'}]")
    (tmp_path / "tools" / "site.yml").write_text(text)
    page = tmp_path / "docs" / "glossary.md"
    page.write_text(page.read_text().replace("(numerics.md)", "(numbers.md)"))
    done = build(tmp_path / "tools" / "site.yml", tmp_path / "site")
    assert done.returncode == 1 and "numbers.md" in done.stderr + done.stdout
