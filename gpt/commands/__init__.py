"""What each `gpt` command does; heavy packages are imported by the command that uses them."""
