"""The trainer of experts, a program of its own: `python -m lib_mixdiff.train config.yaml`; docs/training.md."""
