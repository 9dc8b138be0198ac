"""Jobs from the API and from the page run one at a time."""
import threading

queue_lock = threading.Lock()
