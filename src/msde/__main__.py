"""`python -m msde` is the `msde` command."""

from msde.cli.main import main

main()
