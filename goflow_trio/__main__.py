"""`python -m goflow_trio` is the command line."""

from goflow_trio.cli import main

if __name__ == "__main__":
    main()
