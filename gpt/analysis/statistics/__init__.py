"""Statistics of paired seeds, from numbers to numbers: nothing here knows runs or studies."""
