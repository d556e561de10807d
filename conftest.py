"""What every test may use: pytest's own `pytester`, which runs pytest in a directory of its own."""

pytest_plugins = ["pytester"]
