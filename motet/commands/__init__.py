"""What commands show and ask; `motet/cli.py` declares them."""
