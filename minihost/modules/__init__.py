"""The subset of the WebUI's `modules` that an always-on script uses: same names and signatures, our own code."""
