"""The errors that a caller of this package is expected to handle."""


class WeightsError(ValueError):
    """Weights or a model card are missing, damaged or not what they claim to be."""


class EngineError(ValueError):
    """The asked inference engine does not exist or is not installed."""


class DegradationError(ValueError):
    """An image cannot be degraded in the way asked."""


def one_line(said: object) -> str:
    """What a library or a file says, as part of a message: one line of printable text, cut."""
    text = " ".join(str(said).split())[:200]
    return "".join(character if character.isprintable() else "?" for character in text)
