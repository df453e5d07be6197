"""Where an attempt runs, if not here: threads of its own, processes, a cluster, any `concurrent.futures.Executor`.

`base` says what an executor is; `thread`, `process`, `futures` and `dask` hold one each (`dask_once` runs inside a Dask
scheduler). `parcel` is how a call travels to another process and comes back with its outcome and its output. Drivers
are imported by the first attempt that needs them.
"""

from goflow_trio.executors.base import Executor
from goflow_trio.executors.dask import Dask
from goflow_trio.executors.futures import Futures
from goflow_trio.executors.process import Process
from goflow_trio.executors.thread import Thread

__all__ = ["Dask", "Executor", "Futures", "Process", "Thread"]
