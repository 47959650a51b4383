"""Measurements of the job; see docs/development.md."""
