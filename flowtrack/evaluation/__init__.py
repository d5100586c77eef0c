"""How good the results are: poses and tracks against ground truth, as the field counts."""
