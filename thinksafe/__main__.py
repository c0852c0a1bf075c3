"""``python -m thinksafe``: the same commands as ``thinksafe``."""

from thinksafe.cli.main import main

if __name__ == "__main__":
    main()
