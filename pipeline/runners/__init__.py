"""Beam's runners: one file each, one interface (base.py), one table (table.py)."""
