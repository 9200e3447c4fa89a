"""The results table: AUC of arms on published data sets, with what decides each row.

Finished runs come in, and become rows after checks. Out go the rows that are shipped with the package and those of a
user's own file, filtered, as a table.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
