"""From a configuration to an engine that runs: what happens once, before the first step."""
