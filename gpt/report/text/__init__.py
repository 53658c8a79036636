"""Sentences about findings: verdicts, observations, limitations, takeaways."""
