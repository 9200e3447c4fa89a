"""The feature store and the extraction pipeline."""
