"""The Transformer, one part a file; `gpt.py` puts the parts together, and `init.py` says how weights begin."""
