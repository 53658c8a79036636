"""A study file, read and checked; the runs that it plans; the folder that keeps both."""
