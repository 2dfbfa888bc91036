"""Knowledge graphs of any origin: looked up quickly, read and written in the usual formats, laid out stably."""
