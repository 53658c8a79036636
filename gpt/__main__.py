"""`python -m gpt`, the same command as `gpt`."""

from gpt.cli import main

if __name__ == "__main__":
    main()
