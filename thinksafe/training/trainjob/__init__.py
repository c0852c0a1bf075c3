"""A training on several nodes, as a TrainJob of Kubeflow Trainer: its manifest, and the stage that waits for it."""
