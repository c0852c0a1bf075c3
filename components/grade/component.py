"""The grade component: samples to grades, one shard."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def grade(
        samples: dsl.Input[dsl.Dataset],
        grades: dsl.Output[dsl.Dataset],
        section: str,
        use: str,
        shard: str,
        artifacts: str,
        run_id: str,
    ):
        """Grade the answers of one shard of samples of problems.

        Args:
            samples: Manifest of the shard's samples.
            grades: Manifest of their grades.
            section: Configuration section of grade, as JSON.
            use: What the samples are for: pilot, training, base, candidate or champion.
            shard: Shard id.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "grade", task=f"grade-{use}-{shard}", run_id=run_id, artifacts=artifacts,
            section=section, samples=samples.path, grades_out=grades.path,
        )

    return grade
