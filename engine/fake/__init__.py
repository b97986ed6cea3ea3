"""An engine without a model, on a clock that runs as fast as one can count.

`token_hash` says which tokens are right, `link` how long copies take and what goes wrong with
them, `executor` does what plans say, and `virtual` lets time pass.
"""
