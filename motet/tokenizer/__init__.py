"""Tokenizers as the kinds of files have them; `motet/pretrained.py` chooses among them."""
