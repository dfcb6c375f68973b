"""``python -m intervox``: the command line, for launchers that start a module in several processes."""

from intervox.cli.app import main

if __name__ == "__main__":
    main()
