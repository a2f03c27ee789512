"""Sets made from sets: converted, augmented, with defects planted or transplanted."""
