"""Method checks: what reviewers ask of a study, answered from its runs."""
