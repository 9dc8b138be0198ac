"""The core of mixdiff: plans, mathematics and weights; it never imports the host or gradio."""

__version__ = "0.1.0"
