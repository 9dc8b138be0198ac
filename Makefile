# The public commands. Each makes the environment first, in .venv, unless it is there already.
PYTHON ?= $(firstword $(shell command -v python3.11) $(shell command -v python3.10) python3)
PORT ?= 7861
BIN := .venv/bin
# A contended OpenMP pool is tens of times slower: sleep instead of spinning.
export OMP_WAIT_POLICY := PASSIVE
export GOMP_SPINCOUNT := 0

.PHONY: demo serve test bench lint
# One thread: calls of tiles are so small that two wait for each other more than they work.
demo: export OMP_NUM_THREADS := 1
demo: .venv/ready
	$(BIN)/python -m minihost.demo

serve: .venv/ready
	$(BIN)/python -m minihost --port $(PORT)

# Two processes of one thread each: half the time of one with two. A file stays in one, for its tests share a page.
test: export OMP_NUM_THREADS := 1
test: lint
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/ready
	$(BIN)/ruff check .

bench: .venv/ready
	$(BIN)/python -m bench

# torch and sdkit go by themselves: an open torch range downloads gigabytes, and sdkit asks for packages that nothing here uses.
.venv/ready: minihost/requirements.txt minihost/constraints.txt tests/requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c minihost/constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps stable-diffusion-sdkit==2.1.5
	$(BIN)/pip install --quiet --disable-pip-version-check -c minihost/constraints.txt -r minihost/requirements.txt -r tests/requirements.txt
	touch $@
