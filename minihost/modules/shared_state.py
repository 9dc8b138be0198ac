"""What the job at hand is doing; `interrupt` and `skip` are wishes that the sampling loop reads."""
from __future__ import annotations

import time

OF_DICT = ("skipped", "interrupted", "stopping_generation", "job", "job_count", "job_timestamp", "job_no", "sampling_step",
           "sampling_steps")


class State:
    def __init__(self) -> None:
        self.sampling_steps = 0
        self.begin("")
        self.job_count, self.job_timestamp, self.server_start = 0, "0", time.time()

    def begin(self, job: str = "(unknown)") -> None:
        self.job, self.job_no, self.job_count = job, 0, -1
        self.time_start, self.job_timestamp = time.time(), time.strftime("%Y%m%d%H%M%S")
        self.skipped = self.interrupted = self.stopping_generation = False
        self.sampling_step = 0
        self.current_latent = self.current_image = self.textinfo = None

    def end(self) -> None:
        self.job, self.job_count = "", 0

    def nextjob(self) -> None:
        self.job_no, self.sampling_step = self.job_no + 1, 0

    def interrupt(self) -> None:
        self.interrupted = True

    def skip(self) -> None:
        self.skipped = True

    def stop_generating(self) -> None:
        self.stopping_generation = True

    def dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in OF_DICT}
