"""What all components share: the options of every stage."""

from typing import Any

from kfp import dsl


def stage_container(image: str, stage: str, *, task: str, **options: Any) -> dsl.ContainerSpec:
    """Return the container of a stage: ``thinksafe <stage>`` with its options.

    Every stage also gets the executor input, so that it can write KFP's executor output itself: ``kfp.local`` drops
    the artifact outputs of container components otherwise.

    Args:
        image: Image that contains the stage CLI.
        stage: Name of the stage, the sub-command.
        task: Name of this use of the stage; may contain placeholders.
        options: Further options by name, underscores for dashes; placeholders or text, a list repeats the option.
    """
    args: list[Any] = []
    for name, value in {"task": task, **options}.items():
        for item in value if isinstance(value, list) else [value]:
            args += [f"--{name.replace('_', '-')}", item]
    return dsl.ContainerSpec(image=image, command=["thinksafe", stage], args=[*args, "--executor-input", "{{$}}"])
