"""Draws a figure's spec, as a PNG and on the interactive page; knows marks and axes, and no figure."""
