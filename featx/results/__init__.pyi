from .adding import AddedResults, add_results
from .result_rows import COLUMNS, read_results
from .results_page import write_results_page

__all__ = ["COLUMNS", "AddedResults", "add_results", "read_results", "write_results_page"]
