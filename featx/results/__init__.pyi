from .adding import add_results
from .result_rows import read_results
from .results_page import write_results_page

__all__ = ["add_results", "read_results", "write_results_page"]
