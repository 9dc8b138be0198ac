"""The influence of a plan's regions as a picture."""
from __future__ import annotations

import io
from types import SimpleNamespace
from typing import cast

from PIL import Image

from lib_mixdiff.host.estimate import canvases_of
from lib_mixdiff.host.images import opened
from lib_mixdiff.host.job import refuse
from lib_mixdiff.host.protocols import Job
from lib_mixdiff.influence import colored, influence
from lib_mixdiff.plan import Plan


def preview(plan: Plan, job: SimpleNamespace) -> bytes:
    """A PNG with one pixel for each latent cell of the first pass; PlanError where the job cannot have the plan."""
    if not plan.is_neutral:
        refuse(plan, cast(Job, job))
    data = io.BytesIO()
    Image.fromarray(colored(influence(plan, canvases_of(job)[0], opened))).save(data, "PNG")
    return data.getvalue()
