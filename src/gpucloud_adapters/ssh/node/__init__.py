"""``gpucloud-node``: the program on a Linux node that makes slices out of runc containers.

It is packed into one file (``gpucloud_adapters.ssh.node_program``) and needs Python 3.11, runc,
OpenSSH, iproute2, nftables and e2fsprogs on the node, nothing else. It speaks exactly the
exchanges of ``gpucloud_core.nodes.wire``, which travels inside the file, so that the platform and
the node cannot disagree. It keeps one small record per claim and derives every name (container,
network namespace, interface, folders) from the claim, so that each verb can find what an
interrupted one has left.
"""
