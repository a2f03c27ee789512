"""`python -m anomalyst`."""

from anomalyst.cli.main import main

if __name__ == "__main__":
    main()
