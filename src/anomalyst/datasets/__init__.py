"""Pictures that exist -> samples: the layouts they are kept in, and who is train and who is test.

`anomalyst.datasets.checks` looks a set over; it is not imported here because it needs scikit-learn.
"""

from anomalyst.datasets.reading import LAYOUTS, layout_of, read_dataset
from anomalyst.datasets.splits import folds, k_shot

__all__ = ["LAYOUTS", "folds", "k_shot", "layout_of", "read_dataset"]
