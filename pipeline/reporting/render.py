"""Fills the templates of pages and of texts for the terminal."""

from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from pipeline.terminal import or_dash, printable


def render(name: str, **content: Any) -> str:
    """The text that templates/<name>.j2 makes of its content; in `.html` names are names."""
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
    environment.filters |= {"number": "{:,}".format, "or_dash": or_dash, "printable": printable}
    return environment
