"""Keeps the real libraries from warning about each other."""

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from transformers.utils.logging import disable_progress_bar, set_verbosity


@contextmanager
def quiet() -> Iterator[None]:
    disable_progress_bar()  # type: ignore[no-untyped-call]
    set_verbosity(logging.ERROR)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # threads would cost more than they save
    logging.getLogger("peft").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
