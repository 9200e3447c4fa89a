"""Exports of networks to OpenVINO: made in a process of their own, and how much memory a batch takes."""
