"""Processes that train, started here or by a launcher: in groups that share a batch, each watched by the others."""
