"""The part of this process among several, read before MXNet is imported.

`import mxnet` turns a process whose DMLC_ROLE is server or scheduler into one at once, with a server that unpickles what it
is sent. So the role is taken out of the environment first, and mxnet_ref.processes.join serves instead.
"""

import os

SCHEDULER, SERVER, WORKER = ROLES = ("scheduler", "server", "worker")
ROLE = os.environ.pop("DMLC_ROLE", "")
