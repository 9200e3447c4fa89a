"""Whole studies: jobs, their order, the demo."""
