"""Decoding, preparation and views of images."""
