"""The one-shots on a run's objects: they fire once, and leave the object as it was."""
from __future__ import annotations

import pytest

from lib_mixdiff.host.seams import during_next_sample, during_next_sampling


class Sampler:
    def launch_sampling(self, steps, func):
        return func()


class Job:
    def __init__(self):
        self.sampled = 0

    def sample(self, result="picture"):
        self.sampled += 1
        if isinstance(result, Exception):
            raise result
        return result


@pytest.mark.parametrize("name", ["launch_sampling", "sample"])
def test_what_another_put_there_before_us_stays(name):
    thing = Sampler() if name == "launch_sampling" else Job()
    theirs = lambda *args: "theirs"     # noqa: E731
    setattr(thing, name, theirs)
    during_next_sampling(thing, lambda stack: None) if name == "launch_sampling" else during_next_sample(thing, lambda: None)
    assert getattr(thing, name)(3, lambda: 1) == "theirs" and vars(thing)[name] is theirs


def entering(log, error=None):
    def enter(stack):
        log.append("enter")
        stack.callback(log.append, "leave")
        if error:
            raise error
    return enter


def test_sampling_is_entered_once_and_the_sampler_is_itself_again():
    sampler, log = Sampler(), []
    during_next_sampling(sampler, entering(log))
    assert sampler.launch_sampling(3, lambda: log.append("sample") or 5) == 5
    assert log == ["enter", "sample", "leave"] and vars(sampler) == {}
    assert sampler.launch_sampling(3, lambda: 6) == 6 and len(log) == 3


@pytest.mark.parametrize("inside", [False, True])
def test_an_error_reaches_the_caller_and_all_is_undone(inside):
    sampler, log = Sampler(), []
    during_next_sampling(sampler, entering(log, None if inside else ZeroDivisionError()))
    with pytest.raises(ZeroDivisionError):
        sampler.launch_sampling(3, lambda: 1 / 0)
    assert log == ["enter", "leave"] and vars(sampler) == {}


def test_a_recursion_error_is_not_taken_for_a_bad_schedule():
    sampler = Sampler()
    during_next_sampling(sampler, entering([]))
    with pytest.raises(RuntimeError) as caught:
        sampler.launch_sampling(3, lambda: (_ for _ in ()).throw(RecursionError("deep")))
    assert not isinstance(caught.value, RecursionError) and "deep" in str(caught.value)


def test_it_steps_aside_when_another_extension_saved_and_restored_it():
    sampler, log = Sampler(), []
    during_next_sampling(sampler, entering(log))
    ours = sampler.launch_sampling
    theirs = lambda steps, func: ours(steps, func)      # noqa: E731
    sampler.launch_sampling = theirs
    assert sampler.launch_sampling(3, lambda: 1) == 1 and log == ["enter", "leave"]
    assert vars(sampler) == {"launch_sampling": theirs}, "what another put there is not ours to take away"
    sampler.launch_sampling = ours
    assert sampler.launch_sampling(3, lambda: 2) == 2 and log == ["enter", "leave"]


@pytest.mark.parametrize("own", [False, True])
def test_finish_is_called_after_the_sample_and_the_job_is_itself_again(own):
    job, log = Job(), []
    if own:
        job.sample = lambda result: "a script's"        # as scripts/img2imgalt.py does
    before = dict(vars(job))
    during_next_sample(job, lambda: log.append(dict(vars(job))))
    assert job.sample("x") == ("a script's" if own else "x")
    assert len(log) == 1 and {k: v for k, v in vars(job).items() if k != "sampled"} == {k: v for k, v in before.items() if k != "sampled"}
    job.sample("y")
    assert len(log) == 1


def test_the_first_error_is_the_one_that_is_raised():
    job = Job()

    def finish():
        raise KeyError("second")
    during_next_sample(job, finish)
    with pytest.raises(ZeroDivisionError):
        job.sample(ZeroDivisionError())
    during_next_sample(job, finish)
    with pytest.raises(KeyError):
        job.sample()
    assert "sample" not in vars(job)
