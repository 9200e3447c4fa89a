"""Statistics that clinical journals ask for: net benefit, and differences between subgroups."""
