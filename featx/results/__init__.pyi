from .adding import AddedResults, add_results
from .result_rows import COLUMNS, FILTERS, read_results

__all__ = ["COLUMNS", "FILTERS", "AddedResults", "add_results", "read_results"]
