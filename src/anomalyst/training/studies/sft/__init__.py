"""A base model against the same after supervised fine-tuning on one, four and six data sets."""
