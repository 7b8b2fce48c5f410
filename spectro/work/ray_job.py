"""The Ray job that this process is the driver of, such as KubeRay submits."""

from __future__ import annotations

import json
import logging
import os
import signal
import time

JOB_CONFIG = "RAY_JOB_CONFIG_JSON_ENV_VAR"
"""Variable by which Ray says to an entrypoint which job it is."""
END_SECONDS = 60.0
logger = logging.getLogger(__name__)


def own_submission() -> str | None:
    """Id of the job that this process was submitted as; None if it was not."""
    try:
        metadata = json.loads(os.environ.get(JOB_CONFIG, "{}")).get("metadata", {})
    except json.JSONDecodeError:
        return None
    found = metadata.get("job_submission_id")
    return None if found is None else str(found)


def stop_own_job(why: str) -> None:
    """Have Ray end this process's job as `STOPPED`, which KubeRay does not retry (ADR 095).

    Where Ray refuses, the job fails as it would have, and is retried.
    """
    submission = own_submission()
    if submission is None:
        return
    from ray.job_submission import JobSubmissionClient  # heavy: only where a job ends

    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        JobSubmissionClient().stop_job(submission)  # at RAY_ADDRESS, which Ray has set
    except (ConnectionError, RuntimeError, ValueError) as error:
        logger.warning("the Ray job %s could not be stopped (%s): %s", submission, why, error)
        return
    time.sleep(END_SECONDS)  # Ray sends SIGTERM
