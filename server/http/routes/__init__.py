"""One module per group of routes; `server/http/app.py` lists them."""
