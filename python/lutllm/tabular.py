"""Results as tables: records of plain data in; a pandas frame, or HTML for a notebook, out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from lutllm.errors import MissingDependencyError

if TYPE_CHECKING:
    import pandas


class Tabular(ABC):
    """A result that has records; its text is what the command line prints."""

    @abstractmethod
    def records(self) -> list[dict[str, Any]]:
        """Plain data by column, a row each."""

    def to_frame(self) -> pandas.DataFrame:
        """`records` as a frame. Raises `MissingDependencyError` without pandas."""
        try:
            import pandas
        except ImportError:
            problem = "expected package 'pandas' for frames, got none; pip install 'lutllm[notebook]'"
            raise MissingDependencyError(problem) from None
        return pandas.DataFrame(self.records())

    def _repr_html_(self) -> str:
        rows = self.records()
        head = "".join(f"<th>{escape(name)}</th>" for name in (rows[0] if rows else ()))
        body = "".join("<tr>" + "".join(f"<td>{_cell(v)}</td>" for v in row.values()) + "</tr>" for row in rows)
        return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    if isinstance(value, Mapping):
        return escape(", ".join(f"{key} {item}" for key, item in value.items()))
    return escape(str(value))
