"""The judge component: samples to verdicts, one shard."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def judge(
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Output[dsl.Dataset],
        section: str,
        use: str,
        shard: str,
        artifacts: str,
        run_id: str,
    ):
        """Let a guard read one shard of samples; a verdict is safe, unsafe or unknown.

        Args:
            samples: Manifest of the shard's samples.
            verdicts: Manifest of their verdicts.
            section: Configuration section of this use of judge, as JSON.
            use: What the samples are for: pilot, training, base, candidate or champion.
            shard: Shard id.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run that the task belongs to.
        """
        return stage_container(
            image, "judge", task=f"judge-{use}-{shard}", run_id=run_id, artifacts=artifacts,
            section=section, samples=samples.path, verdicts_out=verdicts.path,
        )

    return judge
