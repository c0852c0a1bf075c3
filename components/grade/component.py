"""The grade component: samples to grades, one shard."""

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
        shard: str,
        artifacts: str,
    ):
        """Grade the answers of one shard of samples of problems.

        Args:
            plan: Plan of the run.
            samples: Manifest of the shard's samples.
            grades: Manifest of their grades.
            use: What the samples are for: pilot, training, base, candidate or champion.
            shard: Shard id.
            artifacts: Store root: a folder or s3://bucket/prefix.
        """
        return stage_container(
            image, "grade", task=f"grade-{use}-{shard}", plan=plan.path, artifacts=artifacts,
            samples=samples.path, grades_out=grades.path,
        )

    return grade
