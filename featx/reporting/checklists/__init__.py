"""Checklists for reporting: the items of guidelines in a table, and what the runs answer of them."""
