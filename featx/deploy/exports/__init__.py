"""Exported models and model cards: a run as one file for other software, and as a page for its readers."""
