"""Texts and figures as a person sees them."""


def printable(text: str) -> str:
    """Text with unprintable characters escaped: names may hold line breaks and worse."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def or_dash(value: float | None, form: str) -> str:
    """A figure in a format, or a dash where there is none."""
    return "-" if value is None else format(value, form)
