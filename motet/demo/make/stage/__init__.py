"""Who lives in the town, what there is in it, and what happens on one day."""
