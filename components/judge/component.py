"""The judge component: samples to verdicts."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def judge(
        plan: dsl.Input[dsl.Artifact],
        samples: dsl.Input[dsl.Dataset],
        verdicts: dsl.Output[dsl.Dataset],
        section: str,
        use: str,
        artifacts: str,
        method: str = "",
    ):
        """Let a guard read samples; a verdict is safe, unsafe or unknown.

        Args:
            plan: Plan of the run.
            samples: Manifest of the samples.
            verdicts: Manifest of their verdicts.
            section: Section of the plan.
            use: What the samples are for: pilot, training, base, candidate or champion.
            artifacts: Store root: a folder or s3://bucket/prefix.
            method: Method of a comparison; empty in a run of one method.
        """
        return stage_container(
            image, "judge", task=f"judge-{use}", plan=plan.path, artifacts=artifacts, method=method,
            section=section, samples=samples.path, verdicts_out=verdicts.path,
        )

    return judge
