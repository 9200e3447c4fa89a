"""The work on a fold, of one arm or of several that are fused: joined features, member SVMs and their fusion."""
