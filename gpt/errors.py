"""Errors that are the user's to fix."""

RENAMED = {
    "blocks": "settings",
    "certify": "check-gradients",
    "ordered": "rank_invariant",
    "--seeds-per-pack": "--seeds-per-process",
}
"""keys and values of files, and words of the command line, that version 0.1 had, and what they are called now"""


class InputError(Exception):
    """Bad input, said in one line: where (file, key or line), what was got, what must hold. Leads to exit code 2."""
