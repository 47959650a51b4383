"""The errors that a caller of this package is expected to handle."""


class WeightsError(ValueError):
    """Weights or a model card are missing, damaged or do not fit each other."""


class EngineError(ValueError):
    """The inference engine does not exist or is not installed."""


class DegradationError(ValueError):
    """An image cannot be degraded by a chain."""


def one_line(said: object) -> str:
    """A library's or file's text as part of a message: one line, printable, at most 200 long."""
    text = " ".join(str(said).split())[:200]
    return "".join(character if character.isprintable() else "?" for character in text)
