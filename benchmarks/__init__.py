"""Measurements of the job; see the README."""
