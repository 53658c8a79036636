"""The files of a run: their names, how they are written, read and checked; `catalogue.py` declares what they hold."""
