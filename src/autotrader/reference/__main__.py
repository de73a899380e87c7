"""`python -m autotrader.reference`: write the pages, or check them."""

from autotrader import command
from autotrader.reference.pages import pages

if __name__ == "__main__":
    raise SystemExit(command.run(pages, prog="python -m autotrader.reference"))
