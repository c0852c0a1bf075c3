"""The size of the scenarios: full for the table, small for CI. The code is the same."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Sizes and repeats; every random choice is drawn from ``seed``."""

    seed: int = 20
    prompts: int = 1600
    """Prompts of the run that is killed, half of them harmful."""
    chunk_size: int = 4
    """Prompts per chunk: 400 chunks, so that 20 kills cost 2.5 % on average and at most 5 %."""
    fault_chunks: int = 40
    """Chunks of the runs against a failing S3 server."""
    epochs: int = 1
    """Epochs of training: about 90 steps."""
    kills: tuple[int, int, int] = (20, 20, 20)
    """Kills of sample, judge and train."""
    worker_kills: int = 5
    """Moments at which workers of sample are killed."""
    checkpoint_steps: int = 10
    share: float = 0.05
    """Largest share of the tokens that may be generated again."""
    fault_repeats: int = 2
    outage: float = 60.0
    """Seconds that the S3 server is gone."""
    busy: float = 20.0
    """Seconds for which it answers 503."""
    cuts: int = 3
    """Number of requests of register at which MLflow stops, and as many of promote."""
    promoters: int = 8
    hold: float = 25.0
    """Seconds for which the ledger's creates are delayed: longer than it takes to start all promoters."""
    generations: tuple[int, int] = (3, 2)
    """Generations of the race on Ceph and on moto's server."""
    names: frozenset[str] = frozenset()
    """Scenarios of the groups S3, MLflow and disk to run; all if empty."""

    def wants(self, name: str) -> bool:
        """Return whether to run a scenario."""
        return not self.names or name in self.names


FULL = Settings()
QUICK = Settings(
    prompts=120, fault_chunks=12, kills=(1, 1, 1), worker_kills=2, checkpoint_steps=2, share=0.1, fault_repeats=1,
    busy=4.0, cuts=1, promoters=4, hold=10.0, generations=(1, 0), names=frozenset(
        {
            "503 for a while", "upload in parts cut", "writes land later", "gone for good",
            "down at register and at promote", "the ledger's write is lost or late", "local store full", "TMPDIR full",
        }
    ),
)
