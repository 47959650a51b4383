"""Beam's runners, a file each behind one interface (base.py); table.py decides which one runs."""
