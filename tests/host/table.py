"""Jobs, tests and hosts as the table of docs/webui.md: `python -m tests.host.table EMBEDDED.xml WEBUI.xml [more XML of a WebUI]`.

The files are what `pytest tests/host --junitxml=FILE` wrote about each host. A cell says how many tests of that job passed, or the
sentence with which the host refuses it.
"""
from __future__ import annotations

import re
import sys
from collections import defaultdict
from xml.etree import ElementTree

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
    if name in ("test_one_region_over_all_is_the_plain_job", "test_regions_change_the_job", "test_a_batch_of_four_is_four_pictures"):
        return job.rstrip("]")
    return re.sub(r"^test_|_", " ", name).strip()


def cell(found: Results, tests: list[tuple[str, str]]) -> str:
    ran = [found[test] for test in tests if test in found]
    if not ran:
        sys.exit(f"{tests[0]} has not run")
    passed, refused = ran.count(""), sorted({why.strip() for why in ran if why})
    return "; ".join([f"{passed} green"] * bool(passed) + [f"*{why}*" for why in refused])


def main() -> None:
    hosts = [results(sys.argv[1:2]), results(sys.argv[2:])]
    rows = defaultdict(list)
    for file, test in hosts[1]:
        if file == "test_jobs":
            rows[job_of(test)].append((file, test))
    print("| job | tests in `tests/host/test_jobs.py` | embedded host | WebUI |\n|---|---|---|---|")
    for job, tests in rows.items():
        names = sorted({test.partition("[")[0] for _, test in tests})
        print(f"| {job} | {', '.join(f'`{name}`' for name in names)} | {' | '.join(cell(found, tests) for found in hosts)} |")


if __name__ == "__main__":
    main()
