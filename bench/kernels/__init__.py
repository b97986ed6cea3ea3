"""Each kernel alone: its time beside the least that memory and processor allow."""
