"""The shipped weights, a model card beside each. Data only; found through DIRECTORY."""

from pathlib import Path

DIRECTORY = Path(__file__).parent
