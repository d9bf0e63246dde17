"""What the site of the documentation has beside docs/: the repository's other pages, and a reference made of the code.

Hooks of MkDocs, which `tools/site.yml` names: files in, files out; links between pages follow them.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lutllm
import lutllm.dialect
from lutllm.tools.lutllm import command_parser

ROOT = Path(lutllm.dialect.__file__).parents[1]
ELSEWHERE = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "dialect/README.md": "dialect.md",
    "passes/README.md": "passes.md",
}


def command_line() -> str:
    """A page of all verbs, as `--help` says them."""
    parser = command_parser()
    parts = ["# Command line", parser.description or ""]
    for name, verb in _verbs(parser):
        parts += [f"## lutllm {name}", f"```text\n{verb.format_help().rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _verbs(parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    (group,) = (action for action in parser._actions if isinstance(action, argparse._SubParsersAction))
    yield from group.choices.items()


def python() -> str:
    """A page of what `lutllm` exports; mkdocstrings fills it in."""
    homes = [f"::: {lutllm._HOME[name]}.{name}" for name in lutllm.__all__]
    return "\n\n".join(["# Python", (lutllm.__doc__ or "").strip(), *homes]) + "\n"


def notebook(path: Path) -> str:
    """A notebook as a page: its cells, and what each shows."""
    parts = []
    for cell in json.loads(path.read_text())["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", ()):
            data = output.get("data", {})
            html, text = (data.get("text/html"), output.get("text") or data.get("text/plain"))
            parts.append("".join(html).replace("\n\n", "\n") if html else f"```text\n{''.join(text).rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """Add what lies elsewhere, and what is made of the code."""
    from mkdocs.structure.files import File

    pages = {new: (ROOT / old).read_text() for old, new in ELSEWHERE.items()}
    pages |= {"reference/command-line.md": command_line(), "reference/python.md": python()}
    pages |= {f"notebooks/{path.stem}.md": notebook(path) for path in (ROOT / "docs" / "notebooks").glob("*.ipynb")}
    for name, text in pages.items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(text: str, *, page: Any, **_options: Any) -> str:
    """Links to files as they lie in the repository become links to pages; to what is no page, text."""
    old = next((old for old, new in ELSEWHERE.items() if new == page.file.src_uri), f"docs/{page.file.src_uri}")

    def link(found: re.Match[str]) -> str:
        label, target, anchor = found.groups()
        path = (ROOT / old).parent.joinpath(target).resolve()
        name = str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else target
        new = ELSEWHERE.get(name) or (name.removeprefix("docs/") if name.startswith("docs/") else None)
        if path.exists() and (path.is_dir() or not new):
            return label
        up = "../" * page.file.src_uri.count("/")
        return f"[{label}]({up}{new or target}{anchor or ''})"

    return re.sub(r"\[([^\]]+)\]\((?!https?:|#)([^)#\s]+)(#[^)\s]*)?\)", link, text)
