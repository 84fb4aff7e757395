"""The tutorial version of this service, to measure beside it: a `post_save` receiver and a consumer that forwards.

It has no log, no resume and no repair. It is written as the tutorials have it, on Channels' own parts.
"""
