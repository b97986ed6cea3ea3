"""Settings of the whole test run."""

import os

import torch

torch.set_num_threads(1)  # tensors are tiny here: more threads would only wait for each other

# Without a GPU, Triton kernels run interpreted. That is decided when Triton is first imported.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"
