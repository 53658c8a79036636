"""The pages of a report and their tables, as Markdown and HTML."""
