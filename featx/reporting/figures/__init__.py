"""Figures of a report. Results come in, matplotlib figures go out as SVG, PNG and PDF."""
