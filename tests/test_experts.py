"""Which expert a moment has, and the intervals that come with mixdiff."""
from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from lib_mixdiff.experts import CUTS, Pair, at, pairs, preset
from lib_mixdiff.moments import Moment
from lib_mixdiff.plan import Plan

ABAR = np.cumprod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2)


def model(*experts: dict):
    return Plan.from_dict({"model": {"experts": list(experts)}}).model


def test_a_name_is_always_the_same_and_none_is_the_loaded_one():
    now = Moment(500, 1.0, 0.5)
    assert at("a", now) == Pair("a", "a") and at(None, now) == Pair()


def test_each_moment_has_the_expert_whose_interval_holds_it():
    stack = model({"model": "high", "range": {"unit": "timestep", "to": 700}}, {"model": "low", "range": {"unit": "timestep", "from": 300}, "text_encoder": "loaded"})
    found = {t: at(stack, Moment(t, 1.0, 0.0)) for t in (1000, 701, 700, 301, 300, 1)}
    assert found == {1000: Pair("high", "high"), 701: Pair("high", "high"), 700: Pair(), 301: Pair(), 300: Pair("low"), 1: Pair("low")}


def test_a_stack_in_a_stack_is_asked_in_its_turn_and_the_outer_one_says_who_reads():
    inner = {"experts": [{"model": "b", "range": {"unit": "steps", "to": 0.5}}]}
    stack = model({"model": inner, "text_encoder": "loaded", "range": {"unit": "sigma", "to": 1.0}})
    assert at(stack, Moment(900, 5.0, 0.1)) == Pair("b", None) and at(stack, Moment(900, 5.0, 0.6)) == Pair() == at(stack, Moment(9, 0.5, 0.1))
    assert list(pairs(stack)) == [(["experts", 0, "model", "experts", 0, "model"], Pair("b", None))]


@pytest.mark.parametrize("name", CUTS)
def test_the_intervals_that_come_with_mixdiff_leave_no_gap_and_do_not_overlap(name):
    plan = Plan.from_dict(preset(name))         # which checks that none overlaps another
    experts = plan.model.experts
    for sigma, share in zip(np.geomspace(14.6, 0.03, 500), np.linspace(0, 0.999, 500)):
        assert sum(Moment.of_sigma(sigma, ABAR, share).within(each.range) for each in experts) == 1


def test_the_cuts_are_the_papers():
    """Of ln sigma ~ N(-1.2, 1.2) the top 512th, the lowest eighth and the median; by steps where these lie on Karras's schedule (rho 7)
    over 0.002 to 80."""
    (high, low), (half,) = CUTS["Three experts, by sigma"][1], CUTS["Two experts, by sigma"][1]
    for sigma, share in ((high, 511 / 512), (low, 1 / 8), (half, 1 / 2)):
        assert sigma == pytest.approx(np.exp(-1.2 + 1.2 * norm.ppf(share)), rel=0.005)
    first, last = 80 ** (1 / 7), 0.002 ** (1 / 7)
    for sigma, share in zip((high, low), CUTS["Three experts, by steps"][1]):
        assert share == pytest.approx((first - sigma ** (1 / 7)) / (first - last), abs=0.006)
