"""`make demo`: every method on the embedded host, as a page of pictures with measured scores."""
