"""Show running episodes in a browser: a process that reads their journals and serves pages.

    with WatchServer() as watching:
        print(watching.url)
        watching.add(episode.folder)

The pages contain no script and load nothing; a page of a running episode is a response that grows.
"""

from kernel_env.watch.process import WatchServer

__all__ = ["WatchServer"]
