"""Give tasks the settings of a cluster: images, resources, placement, secrets, volumes, retries.

Everything comes from the configuration's ``cluster`` section; :func:`configure` is called with each task as the
pipeline is wired, and kfp-kubernetes writes what IR YAML itself cannot say into its second document.
"""

from typing import Any

from kfp import kubernetes

from thinksafe.config.cluster import MODEL_CACHE, ClusterSettings
from thinksafe.config.cluster_stages import FIRST_WAIT_S, START_WITHIN, StageSettings
from thinksafe.config.kubernetes import seconds
from thinksafe.config.pods import (
    CERTIFICATES,
    POD_NAME_VARIABLE,
    POD_UID_VARIABLE,
    SIGNING,
    environment,
    pod_labels,
    secret_variables,
    signing_secret,
)
from thinksafe.config.stage_table import STAGES
from thinksafe.run.attempts import NODE_FIELD, NODE_VARIABLE, RETRIES_VARIABLE, Retries

WAITING_LONGER = 1800
"""Seconds that a task waits for its Job beyond the Job's deadline, so that it can report the Job's end."""
EXIT_SECONDS = 3600
"""Seconds that the exit task may work, if its stage has no deadline: nothing else ends one that does not start."""


class ClusterSetting:
    """A cluster as the place where a pipeline runs; see :class:`thinksafe_components.catalog.Setting`."""

    def __init__(self, cluster: ClusterSettings) -> None:
        self._cluster = cluster

    def image(self, stage: str) -> str:
        """Return the image of a stage."""
        return self._cluster.image(stage)

    def configure(self, stage: str, section: str, task: Any) -> None:
        """Give a new task its settings."""
        wide = section in self._cluster.wide
        starts_job = wide or (stage == "train" and self._cluster.train_job.enabled)
        configure(self._cluster, stage, task, starts_job=starts_job)


def configure(cluster: ClusterSettings, stage: str, task: Any, *, starts_job: bool) -> None:
    """Give a task of a stage its settings.

    Args:
        cluster: The settings.
        stage: Name of the stage.
        task: KFP's task.
        starts_job: It starts a Job for the stage's work and waits for it: a small pod of the image ``cpu``, no GPU.
    """
    settings = _waiting(cluster, stage) if starts_job else cluster.stage(stage)
    for name, value in environment(cluster, stage, starts_job=starts_job).items():
        task.set_env_variable(name, value)
    if starts_job:
        task.set_container_image(cluster.image("default"))
        kubernetes.use_field_path_as_env(task, POD_NAME_VARIABLE, "metadata.name")
        kubernetes.use_field_path_as_env(task, POD_UID_VARIABLE, "metadata.uid")
    _secrets(cluster, stage, task)
    _resources(settings, task, exits=STAGES[stage].runs_after_failure)
    _retries(settings, task, inside=not starts_job)
    _placement(settings, task)
    _volumes(cluster, settings, stage, task, models=STAGES[stage].reads_models and not starts_job)
    _pod(cluster, settings, stage, task)


def _waiting(cluster: ClusterSettings, stage: str) -> StageSettings:
    """Return the settings of the task that starts a Job and waits for it: small, on any node, without a GPU."""
    default = cluster.stages.get("default") or StageSettings()
    # an Indexed Job has its deadline itself, which does not count the time in a queue
    limit = f"{seconds(cluster.train_job.deadline) + WAITING_LONGER}s" if stage == "train" else None
    return default.model_copy(
        update={"gpu": None, "shared_memory": None, "deadline": limit, "retries": cluster.stage(stage).retries}
    )


def _secrets(cluster: ClusterSettings, stage: str, task: Any) -> None:
    # the exit task starts without them: it says what is missing, where one that waits would keep the run from ending
    optional = STAGES[stage].runs_after_failure
    for secret, key, variable in secret_variables(cluster, stage):
        kubernetes.use_secret_as_env(
            task, secret_name=secret, secret_key_to_env={key: variable}, optional=optional
        )
    for source in cluster.config_maps:
        kubernetes.use_config_map_as_env(
            task, config_map_name=source.name, config_map_key_to_env=dict(source.keys), optional=optional
        )


def _resources(settings: StageSettings, task: Any, *, exits: bool) -> None:
    for amounts, kind in ((settings.requests, "request"), (settings.limits, "limit")):
        for name in ("cpu", "memory"):
            if amounts is not None and (amount := getattr(amounts, name)) is not None:
                getattr(task, f"set_{name}_{kind}")(amount)
    if settings.gpu is not None and settings.gpu.count:
        task.set_accelerator_type(settings.gpu.type).set_accelerator_limit(settings.gpu.count)
    if settings.deadline is not None:
        kubernetes.set_timeout(task, seconds(settings.deadline))
    elif exits:
        kubernetes.set_timeout(task, seconds(settings.start_within or START_WITHIN) + EXIT_SECONDS)


def _retries(settings: StageSettings, task: Any, *, inside: bool) -> None:
    """Retry a task: Kubeflow replaces a pod that is lost, and inside the pod the stage is started again.

    Where Kubeflow is set to retry failed stages, too, a stage refuses to start in the place of one that gave up.
    """
    retries = settings.retries
    if retries is None or not retries.count:
        return
    within = seconds(retries.within)
    task.set_retry(
        num_retries=retries.count, backoff_duration=f"{FIRST_WAIT_S}s", backoff_factor=2,
        backoff_max_duration=f"{within}s",  # Argo's maxDuration: over all attempts, work included
    )
    if inside:
        task.set_env_variable(RETRIES_VARIABLE, Retries(retries.count, within, FIRST_WAIT_S).text)
        kubernetes.use_field_path_as_env(task, NODE_VARIABLE, NODE_FIELD)


def _placement(settings: StageSettings, task: Any) -> None:
    for key, value in (settings.node_selector or {}).items():
        kubernetes.add_node_selector(task, label_key=key, label_value=value)
    for taint in settings.tolerations or ():
        kubernetes.add_toleration(
            task, key=taint.key or None, operator=taint.operator, value=taint.value or None,
            effect=taint.effect or None, toleration_seconds=taint.seconds,
        )
    for term in settings.affinity or ():
        expressions = [expression.model_dump(mode="json") for expression in term.expressions]
        kubernetes.add_node_affinity(task, match_expressions=expressions, weight=term.weight or None)


def _volumes(cluster: ClusterSettings, settings: StageSettings, stage: str, task: Any, *, models: bool) -> None:
    if settings.shared_memory is not None:
        kubernetes.empty_dir_mount(
            task, volume_name="shared-memory", mount_path="/dev/shm",  # noqa: S108 - that is what libraries use
            medium="Memory", size_limit=settings.shared_memory,
        )
    if cluster.certificates.config_map:
        kubernetes.use_config_map_as_volume(
            task, config_map_name=cluster.certificates.config_map, mount_path=CERTIFICATES,
            optional=STAGES[stage].runs_after_failure,
        )
    if secret := signing_secret(cluster, stage):
        kubernetes.use_secret_as_volume(task, secret_name=secret, mount_path=SIGNING)
    cache = cluster.model_cache
    if not models:
        return
    if cache.kind == "claim":
        kubernetes.mount_pvc(task, pvc_name=cache.claim, mount_path=MODEL_CACHE)
    elif cache.kind == "ephemeral":
        kubernetes.add_ephemeral_volume(
            task, volume_name="model-cache", mount_path=MODEL_CACHE, access_modes=["ReadWriteOnce"], size=cache.size,
            storage_class_name=cache.storage_class or None,
        )


def _pod(cluster: ClusterSettings, settings: StageSettings, stage: str, task: Any) -> None:
    context = cluster.security_context
    kubernetes.set_security_context(
        task, run_as_user=context.run_as_user, run_as_group=context.run_as_group, run_as_non_root=True
    )
    kubernetes.set_image_pull_policy(task, cluster.image_pull_policy)
    if cluster.image_pull_secrets:
        kubernetes.set_image_pull_secrets(task, list(cluster.image_pull_secrets))
    for key, value in pod_labels(cluster, settings, stage).items():
        kubernetes.add_pod_label(task, key, value)
    for key, value in cluster.annotations.items():
        kubernetes.add_pod_annotation(task, key, value)
