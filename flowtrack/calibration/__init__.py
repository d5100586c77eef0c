"""Numbers that are chosen from data, after training: thresholds of the tracker, INT8 scales."""
