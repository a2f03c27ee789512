"""Products taught by several senses: what each sense finds, and one verdict of all."""
