"""A process of its own that follows the records and sends them to Weights & Biases."""
