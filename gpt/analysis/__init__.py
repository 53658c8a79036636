"""From the records of a study's runs to its findings: collected, compared, summed up in one typed document."""
