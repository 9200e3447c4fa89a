"""Sections of a report: what each needs, how it is filled, and how to read it. Results come in, tables go out."""
