"""Errors that are the user's to mend."""


class InputError(Exception):
    """Bad input, said in one line: where (file, key or line), what was got, what must hold. Leads to exit code 2."""
