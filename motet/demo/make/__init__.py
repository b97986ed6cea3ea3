"""Makes the demo model: a small town, a tiny Llama that talks about it, and eight voices."""
