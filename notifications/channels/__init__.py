"""Channels: other ways to a user than an open page, each a reader of the log with a cursor of its own.

`intake` finds the streams that have something new, `cursors` says which of them are due and keeps how far each was
delivered, `run` walks them. `mail` is the first channel; another is a subclass of `channel.Channel`. Nothing here is a
queue: what a channel still has to deliver is the difference between its cursor and the log.
"""
