"""The errors that a caller of this package is expected to handle."""


class WeightsError(ValueError):
    """Weights or a model card are missing, damaged or not what they claim to be."""


class EngineError(ValueError):
    """The asked inference engine does not exist or is not installed."""
