"""What `from gpt import ...` offers to a Python program; docs/api.md shows it at work."""
