"""The report component: stage records to the report page."""

from kfp import dsl

from thinksafe_components.stage import stage_container


def make(image: str):
    """Return the component for an image."""

    @dsl.container_component
    def report(
        status: dsl.PipelineTaskFinalStatus,
        job_id: str,
        report: dsl.Output[dsl.HTML],
        artifacts: str,
        run_id: str,
    ):
        """Build the report of a run from its stage records; it also runs if something failed.

        Args:
            status: How the run ended.
            job_id: KFP's job id, which is the run id if none is given.
            report: The report page.
            artifacts: Store root: a folder or s3://bucket/prefix.
            run_id: Run id; if empty, the job id.
        """
        return stage_container(
            image, "report", task="report", run_id=run_id, artifacts=artifacts, job_id=job_id,
            status=status, report_out=report.path,
        )

    return report
