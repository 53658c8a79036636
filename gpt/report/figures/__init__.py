"""Every figure, one subject a file: a function from findings to a spec, under an `Entry`."""
