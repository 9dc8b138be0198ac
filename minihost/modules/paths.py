"""Where things lie. `script_path` is minihost's own folder, which stands where the WebUI's folder would."""
import os

script_path = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
data_path = script_path
models_path = script_path         # set by minihost.boot
