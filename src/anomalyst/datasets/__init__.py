"""Pictures that exist -> samples: the layouts they are kept in, and who is train and who is test.

`anomalyst.data.checks` looks a set over; it is not imported here because it needs scikit-learn.
"""

from anomalyst.data.reading import LAYOUTS, layout_of, read_dataset
from anomalyst.data.splits import folds, k_shot

__all__ = ["LAYOUTS", "folds", "k_shot", "layout_of", "read_dataset"]
