"""Backbones, their weights and networks up to the feature layer."""
