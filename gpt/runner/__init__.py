"""From planned runs to processes that train them: what runs together, what may resume, what is written of each."""
