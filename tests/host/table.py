"""Jobs, tests and hosts as the table of docs/webui.md: `python -m tests.host.table EMBEDDED.xml WEBUI.xml,WEBUI.xml`.

The files are what `pytest tests/host --junitxml=FILE` wrote about each host; a later one adds to the earlier. A cell says how many tests of that job passed, or the
sentence with which the host refuses it.
"""
from __future__ import annotations

import re
import sys
from collections import defaultdict
from xml.etree import ElementTree

LAWS = {"test_one_region_over_all_is_the_plain_job": "neutral", "test_regions_change_the_job": "acts",
        "test_a_batch_of_four_is_four_pictures": "batch"}        # of every job, or many
Results = dict[tuple[str, str], str]       # (file, test) to "", or why it was skipped


def results(files: list[str]) -> Results:
    """SystemExit with the tests that failed."""
    found: Results = {}
    for file in files:
        for case in ElementTree.parse(file).iter("testcase"):
            name = case.get("classname", "").split(".")[-1], case.get("name", "")
            if case.find("failure") is not None or case.find("error") is not None:
                sys.exit(f"{file}: {'::'.join(name)} failed: no table of that")
            skipped = case.find("skipped")
            found[name] = "" if skipped is None else skipped.get("message", "")
    return found


def job_of(test: str) -> str:
    """One row: the job in the test's brackets where it has one, else the test's own words."""
    name, _, job = test.partition("[")
    if name in LAWS:
        return job.removesuffix("]")
    return re.sub(r"^test_|_", " ", name).strip()


def cell(found: Results, tests: list[tuple[str, str]]) -> str:
    ran = [found[test] for test in tests if test in found]
    if not ran:
        sys.exit(f"{tests[0]} has not run")
    passed, refused = ran.count(""), sorted({why.strip() for why in ran if why})
    return "; ".join([f"{passed} green"] * bool(passed) + [f"*{why}*" for why in refused])


def main() -> None:
    hosts = [results(files.split(",")) for files in sys.argv[1:]]
    rows = defaultdict(list)
    for file, test in hosts[1]:
        if file == "test_jobs":
            rows[job_of(test)].append((file, test))
    print("; ".join(f"*{short}* is `{name}`" for name, short in LAWS.items()), "in `tests/host/test_jobs.py`.\n")
    print("| job | tests | embedded host | WebUI |\n|---|---|---|---|")
    for job, tests in rows.items():
        names = sorted({test.partition("[")[0] for _, test in tests})
        print(f"| {job} | {', '.join(LAWS.get(name, f'`{name}`') for name in names)} | {' | '.join(cell(found, tests) for found in hosts)} |")


if __name__ == "__main__":
    main()
