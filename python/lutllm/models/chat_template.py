"""Chat templates: a template of Jinja and turns in, a text out, as transformers renders it (chat_template_utils.py of
5.23): in a sandbox, blocks trimmed, with `raise_exception`, `strftime_now`, and JSON as it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any, NoReturn

from jinja2 import Template
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace


def render(template: str, turns: Sequence[Mapping[str, str]], special: Mapping[str, Any]) -> str:
    """The turns, up to where the next answer begins; `special` are the tokens that a template may name."""
    return _compiled(template).render(
        messages=[dict(turn) for turn in turns], tools=None, documents=None, add_generation_prompt=True, **special
    )


@lru_cache(maxsize=4)
def _compiled(template: str) -> Template:
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _json
    environment.globals |= {
        "raise_exception": _refuse,
        "strftime_now": lambda form: datetime.now().strftime(form),
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment.from_string(template)


def _json(
    value: Any, ensure_ascii: bool = False, indent: Any = None, separators: Any = None, sort_keys: bool = False
) -> str:
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise TemplateError(message)


class _Dict:
    """`dict` without the attributes of a class."""

    def __call__(self, *values: Any, **named: Any) -> dict[Any, Any]:
        return dict(*values, **named)

    def fromkeys(self, *values: Any) -> dict[Any, Any]:
        return dict.fromkeys(*values)


class _Namespace(Namespace):
    """Of names that do not begin with an underscore."""

    def __init__(self, /, *values: Any, **named: Any) -> None:
        super().__init__({_public(name): value for name, value in dict(*values, **named).items()})

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(_public(name), value)


def _public(name: Any) -> Any:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"expected a name that does not begin with an underscore, got {name!r}")
    return name
