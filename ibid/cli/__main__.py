"""`python -m ibid.cli`."""

from ibid.cli import main

main()
