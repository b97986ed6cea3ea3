"""State larger than the device: what registering, loading, returning and unloading take."""
