"""`python -m forethought` is the command `forethought`."""

from forethought.cli.app import main

if __name__ == "__main__":
    main()
