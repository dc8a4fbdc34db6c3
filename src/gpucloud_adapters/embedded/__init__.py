"""PostgreSQL, Valkey and the processes of a whole cloud on one machine, for ``gpucloud up``."""
