"""The only part of the library that knows the WebUI."""
