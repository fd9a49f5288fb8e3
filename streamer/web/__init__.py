"""The page in the browser: what the dashboard shows, served over HTTP and pushed by server-sent events.

It reads a `Feed` and changes nothing. One task makes the newest state into bytes, a few times a second and only while
somebody looks; every visitor gets the same bytes, and one that is slow misses some. So visitors cost hearing nothing.

`server` owns the thread, `hub` the task, `payload` the JSON, `access` says who may look, and `page/` is what is looked
at: plain HTML, CSS and JavaScript that load nothing from elsewhere. It may import `feed`, `publish` and what is below
them, but no model and no audio.
"""
