"""The merge component: manifests of all shards to one."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def merge(
        manifests: dsl.Input[list[dsl.Dataset]],  # noqa: ARG001 - the stage reads it from the executor input
        merged: dsl.Output[dsl.Dataset],
        kind: str,
        use: str,
    ):
        """Merge the manifests of all shards into one that is known to be whole.

        Args:
            manifests: Manifests of the shards.
            merged: Manifest of the whole set.
            kind: What the rows are: samples, verdicts or grades.
            use: What the samples are for: pilot, training, base, candidate or champion.
        """
        return stage_container(
            image, "merge", task=f"merge-{kind}-{use}",
            manifests="manifests", manifest_out=merged.path,
        )

    return merge
