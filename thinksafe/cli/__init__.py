"""The ``thinksafe`` command: the stages that containers run, and the commands that people use."""
