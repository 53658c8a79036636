"""What a run costs on the machine at hand, measured."""
