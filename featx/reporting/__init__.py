"""Reports of finished runs.

Runs come in: their predictions and what they recorded. `report_runs` compares the arms, and fills every table and
figure that `report_contents` lists. Tables (CSV, LaTeX, Markdown), figures (SVG; PDF and PNG on request) and one HTML page go out.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
