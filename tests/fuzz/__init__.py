"""Fuzzing of every parser: whatever the bytes, a value or a `FeatxError`, never anything else, a hang or 500 MB."""
