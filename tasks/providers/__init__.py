"""Providers of workers: one file each, chosen by the cluster profile's ``provider``.

A public module of this package ends in ``PROVIDER = Provider(...)``; the module is the
registry. Schedulers and workers are started, found and paid for in different ways; what
comes out is always the same: a `Cluster`, an address with what it takes to use it.
"""

from tasks.providers._provider import Cluster, Group, Profile, Provider
from tasks.providers._registry import provider_named, providers, read_profile

__all__ = [
    "Cluster",
    "Group",
    "Profile",
    "Provider",
    "provider_named",
    "providers",
    "read_profile",
]
