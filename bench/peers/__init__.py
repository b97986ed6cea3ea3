"""motet and its peers side by side: one workload, one machine, one engine at a time."""
