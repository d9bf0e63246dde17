"""The rules of the repository that no linter knows: import directions, one spelling for a pass, length, no pickle."""

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from lutllm import lowering, passes
from lutllm.passes import Pass

ROOT = Path(__file__).parents[1]
FOLDERS = {"lutllm": ROOT / "python" / "lutllm"} | {
    f"lutllm.{name}": ROOT / name for name in ("dialect", "passes", "lowering", "tools")
}
BASE = (
    "errors", "tabular", "workers", "bindings", "numerics", "functions", "scheme", "quantization", "packing", "store",
    "progress",
)  # fmt: skip
# What a group may import, besides itself. Everything in python/lutllm that is not named here is the public API.
MAY_IMPORT = {
    "base": set(),
    "dialect": {"base"},
    "interpreter": {"base", "dialect"},
    "passes": {"base", "dialect"},
    "lowering": {"base", "dialect", "passes"},
    "api": {"base", "dialect", "interpreter", "passes", "lowering"},
    "tools": {"base", "dialect", "interpreter", "passes", "lowering", "api"},
}
# What a room of lowering may import of the others, in the order in which a model goes through them.
ROOMS = {
    "raising": set(),
    "quantize": {"raising"},
    "machine": set(),
    "place": {"machine"},
    "hardware": {"machine"},
    "schedule": {"machine", "place", "hardware"},
    "cpu": set(),
    "linalg": set(),
    "export": {"machine", "place", "hardware", "schedule"},
}
MOST_FILES = 16  # of a folder of the package, besides its __init__.py
CIRCT = "lutllm.lowering.hardware.lib.circt_bindings"
ALONE = {"torch_mlir": "lutllm.bindings", "pycde": CIRCT, "circt": CIRCT, "xdsl": "lutllm.embed.xdsl"}
PICKLES = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
MAX_LINES = 500
PASSES = (*passes.PASSES, *lowering.PASSES)


def modules() -> dict[str, Path]:
    """Every module of the package by its import name."""
    found = {}
    for prefix, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = path.relative_to(folder).with_suffix("").parts
            name = ".".join((prefix, *(parts[:-1] if parts[-1] == "__init__" else parts)))
            found[name] = path
    return found


MODULES = modules()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and full name of everything a file imports, at whatever depth of the code."""
    for node in ast.walk(ast.parse(path.read_text(), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: expected an absolute import, got a relative one"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def group(name: str) -> str | None:
    """The group of a module, or of a name in one; None for `lutllm` itself and for other packages."""
    first, _, rest = name.partition(".")
    part = rest.partition(".")[0]
    if first != "lutllm" or not part or part.startswith("__"):
        return None
    return "base" if part in BASE else part if part in MAY_IMPORT else "api"


def wrong_imports(name: str, path: Path) -> list[str]:
    own = group(name)
    wrong = []
    for line, target in imports(path):
        other = group(target)
        if own and other and other != own and other not in MAY_IMPORT[own]:
            wrong.append(f"{path}:{line}: {own} must not import {other} ({target})")
    return wrong


def test_modules_are_found() -> None:
    assert {"lutllm", "lutllm.errors", "lutllm.dialect", "lutllm.passes.runner", "lutllm.tools.lutllm_opt"} <= set(
        MODULES
    )
    assert {group(name) for name in MODULES} == {None, *MAY_IMPORT}


def test_imports_point_down() -> None:
    assert [w for name, path in MODULES.items() for w in wrong_imports(name, path)] == []


def test_an_upward_import_is_seen(tmp_path: Path) -> None:
    path = tmp_path / "bad.py"
    path.write_text("def f():\n    from lutllm.lowering import circt\n    import lutllm.numerics\n")
    assert len(wrong_imports("lutllm.dialect.bad", path)) == 1
    assert wrong_imports("lutllm.compiler", path) == []


def test_rooms_of_lowering_point_down() -> None:
    rooms = {path.name for path in (ROOT / "lowering").iterdir() if (path / "__init__.py").exists()}
    assert rooms == set(ROOMS)
    wrong = []
    for room, path in ((n.split(".")[2], p) for n, p in MODULES.items() if n.startswith("lutllm.lowering.")):
        for line, target in imports(path) if room in ROOMS else ():
            other = target.split(".")[2] if target.startswith("lutllm.lowering.") else room
            if other in ROOMS and other != room and other not in ROOMS[room]:
                wrong.append(f"{path}:{line}: {room} must not import {other}")
    assert wrong == []


def test_folders_are_rooms() -> None:
    """No folder of the package is a drawer: each holds few files, and says what they are."""
    folders = {path.parent for path in MODULES.values()}
    held = {folder: [p for p in folder.glob("*.py") if p.name != "__init__.py"] for folder in folders}
    assert [str(folder) for folder, files in held.items() if len(files) > MOST_FILES] == []
    assert [str(folder) for folder in folders if not (folder / "__init__.py").exists()] == []


@pytest.mark.parametrize(("package", "door"), ALONE.items())
def test_one_module_alone_imports(package: str, door: str) -> None:
    importers = {name for name, path in MODULES.items() if any(t.split(".")[0] == package for _, t in imports(path))}
    assert importers == {door}


def test_no_pickle() -> None:
    for path in MODULES.values():
        assert not {t.split(".")[0] for _, t in imports(path)} & PICKLES, path
        text = path.read_text()
        assert "torch.load(" not in text, f"{path}: torch.load unpickles; read safetensors"
        assert "allow_pickle=True" not in text, path


def test_files_say_what_they_are_and_stay_short() -> None:
    files = {*MODULES.values(), *ROOT.glob("test/**/*.py")}
    texts = {str(path.relative_to(ROOT)): path.read_text() for path in files}
    assert [name for name, text in texts.items() if len(text.splitlines()) > MAX_LINES] == []
    assert [name for name, text in texts.items() if not ast.get_docstring(ast.parse(text))] == []


def test_no_top_level_package_is_shadowed() -> None:
    """Only `lutllm` is installed: the folders of the repository are reached through it."""
    names = {"dialect", "passes", "lowering", "tools", "test"}
    for path in MODULES.values():
        assert not {t.split(".")[0] for _, t in imports(path)} & names, path


def kebab(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", name).lower()


@pytest.mark.parametrize("cls", PASSES, ids=lambda c: c.__name__)
def test_one_spelling(cls: type[Pass]) -> None:
    """Class LutFoldX = flag lut-fold-x = file lut_fold_x.py, in whatever room of passes or lowering, = test
    lut-fold-x.mlir of that folder, and the test uses the flag."""
    _, level, *_, file = cls.__module__.split(".")
    assert level in ("passes", "lowering")
    assert cls.name == kebab(cls.__name__)
    assert file == cls.name.replace("-", "_")
    test = ROOT / "test" / level / f"{cls.name}.mlir"
    runs = [line for line in test.read_text().splitlines() if "RUN:" in line]
    assert any(re.search(rf"\b{cls.name}\b", run) for run in runs), f"{test} never runs the pass"


@pytest.mark.parametrize("cls", PASSES, ids=lambda c: c.__name__)
def test_a_pass_is_documented(cls: type[Pass]) -> None:
    assert cls.summary() and not cls.summary().startswith(f"{cls.__name__}("), "expected a docstring of its own"
    table = (ROOT / "passes" / "README.md").read_text()
    assert f"| `{cls.name}` |" in table, "expected a row in passes/README.md"
    for option in cls.options():
        assert f"`{option}`" in table, f"expected option {option} in passes/README.md"


def test_every_pass_is_registered() -> None:
    defined = {
        f"{name}.{node.name}"
        for name, path in MODULES.items()
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ClassDef) and any(isinstance(b, ast.Name) and b.id == "Pass" for b in node.bases)
    }
    assert defined == {f"{c.__module__}.{c.__name__}" for c in PASSES}
    assert len({c.name for c in PASSES}) == len(PASSES)


def test_only_source_is_tracked() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )
    assert [f for f in listed if re.search(r"(^|/)(build|__pycache__|\.venv)/|\.(pyc|so|o|safetensors|gguf)$", f)] == []
