"""The grade component: samples to grades."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def grade(
        plan: dsl.Input[dsl.Artifact],
        samples: dsl.Input[dsl.Dataset],
        grades: dsl.Output[dsl.Dataset],
        use: str,
        artifacts: str,
        method: str = "",
    ):
        """Grade the answers in samples of problems.

        Args:
            plan: Plan of the run.
            samples: Manifest of the samples.
            grades: Manifest of their grades.
            use: What the samples are for: pilot, training, base, candidate or champion.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "grade", task=f"grade-{use}", plan=plan.path, artifacts=artifacts, method=method,
            samples=samples.path, grades_out=grades.path,
        )

    return grade
