"""Run by the WebUI when it installs the extension. mixdiff needs nothing but what the WebUI 1.10 itself installs."""
print("mixdiff: nothing to install")
