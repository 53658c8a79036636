"""`gpt launch`: accelerate's launcher supervised to its end, signals handed on, exit codes."""
