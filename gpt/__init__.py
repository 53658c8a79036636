"""A decoder-only Transformer from first principles, and the instrument around it for controlled multi-seed studies."""

__version__ = "0.2.0"
