"""Figures of a report. Results come in, matplotlib figures go out as SVG, PDF and PNG."""
