"""What is fit to be shown on a terminal."""


def printable(text: str) -> str:
    """Text with whatever cannot be printed escaped: names may hold line breaks and worse."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
