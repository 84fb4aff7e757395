"""How this service is served: gunicorn's worker, its HTTP and WebSocket protocols, and the way of a request to Django.

A connection is let in (`admission`), its head read (`http_protocol`) or its frames (`socket_protocol`), its body taken
in (`bodies`); a thread runs Django on it (`bridge`, `web_threads`, `thread_pool`), and the event loop sends the answer
(`answers`). Each of these has its bounds, so that no client stops the others; docs/operations.md lists them.
"""
