"""``python -m licensing_harness`` is ``licensing-harness``."""

from licensing_harness.cli import main

if __name__ == "__main__":
    main()
