"""Manifests, tasks, protocols and drawn data sets."""
