"""One module per group of routes; `server/app.py` lists them."""
