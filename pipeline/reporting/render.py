"""Fills the templates of pages and of terminal texts."""

from datetime import datetime
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.terminal import or_dash, printable


def render(name: str, **content: Any) -> str:
    """Fills templates/<name>.j2; texts are escaped in `.html`."""
    environment = _environment(name.endswith(".html"))
    return environment.get_template(f"{name}.j2").render(content).rstrip("\n")


@cache
def _environment(autoescape: bool) -> Environment:
    """The templates; compiling those that all pages share takes a tenth of a short run."""
    environment = Environment(
        loader=PackageLoader("pipeline.reporting"),
        autoescape=autoescape,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {
        "number": "{:,}".format, "or_dash": or_dash, "printable": printable, "moment": _moment,
    }  # fmt: skip
    return environment


def _moment(iso: str) -> str:
    """A time such as `26 Nov 2026, 12:48 UTC`; empty for a damaged run, which has none."""
    if not iso:
        return ""
    time = datetime.fromisoformat(iso)
    return f"{time.day} {time:%b %Y, %H:%M} UTC"
