"""Where every page is, whose it is and who goes next: pure accounting, no tensors."""
