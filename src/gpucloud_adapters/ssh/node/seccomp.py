"""The system calls a slice may make: a list of what is allowed, for native programs only.

Left out are the calls that change the machine (modules, mounts, time, reboot, swap), that make
namespaces, that reach other address spaces through the kernel (bpf, perf, userfaultfd, io_uring,
keyrings), and every call younger than this list. NUMA placement and ptrace are allowed, because
collective libraries and debuggers of GPU programs need them and they stay inside the slice.
"""

from typing import Final

_FILES: Final = """
access chdir chmod chown chroot close close_range copy_file_range creat dup dup2 dup3 execve
execveat faccessat faccessat2 fadvise64 fallocate fchdir fchmod fchmodat fchmodat2 fchown fchownat
fcntl fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstatfs fsync ftruncate
futimesat getcwd getdents getdents64 getxattr inotify_add_watch inotify_init inotify_init1
inotify_rm_watch ioctl lchown lgetxattr link linkat listxattr llistxattr lremovexattr lseek
lsetxattr lstat mkdir mkdirat mknod mknodat name_to_handle_at newfstatat open openat openat2 pipe
pipe2 pread64 preadv preadv2 pwrite64 pwritev pwritev2 read readahead readlink readlinkat readv
removexattr rename renameat renameat2 rmdir sendfile setxattr splice stat statfs statx symlink
symlinkat sync sync_file_range syncfs tee truncate umask unlink unlinkat utime utimensat utimes
vmsplice write writev
"""
_MEMORY: Final = """
brk get_mempolicy madvise mbind membarrier memfd_create mincore mlock mlock2 mlockall mmap
move_pages mprotect mremap msync munlock munlockall munmap pkey_alloc pkey_free pkey_mprotect
process_mrelease remap_file_pages set_mempolicy set_mempolicy_home_node shmat shmctl shmdt shmget
"""
_PROCESSES: Final = """
arch_prctl capget capset exit exit_group fork get_robust_list getcpu getegid geteuid getgid
getgroups getpgid getpgrp getpid getppid getpriority getresgid getresuid getrlimit getrusage getsid
gettid getuid ioprio_get ioprio_set kill landlock_add_rule landlock_create_ruleset
landlock_restrict_self pidfd_open pidfd_send_signal prctl prlimit64 process_vm_readv
process_vm_writev ptrace rseq sched_get_priority_max sched_get_priority_min sched_getaffinity
sched_getattr sched_getparam sched_getscheduler sched_rr_get_interval sched_setaffinity
sched_setattr sched_setparam sched_setscheduler sched_yield seccomp set_robust_list set_tid_address
setfsgid setfsuid setgid setgroups setpgid setpriority setregid setresgid setresuid setreuid
setrlimit setsid setuid sysinfo tgkill times tkill uname vfork wait4 waitid
"""
_WAITING: Final = """
alarm clock_getres clock_gettime clock_nanosleep epoll_create epoll_create1 epoll_ctl epoll_pwait
epoll_pwait2 epoll_wait eventfd eventfd2 futex futex_requeue futex_wait futex_waitv futex_wake
getitimer gettimeofday io_cancel io_destroy io_getevents io_pgetevents io_setup io_submit nanosleep
pause poll ppoll pselect6 restart_syscall rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo
rt_sigreturn rt_sigsuspend rt_sigtimedwait rt_tgsigqueueinfo select setitimer sigaltstack signalfd
signalfd4 time timer_create timer_delete timer_getoverrun timer_gettime timer_settime
timerfd_create timerfd_gettime timerfd_settime
"""
_TALKING: Final = """
accept accept4 bind connect getpeername getrandom getsockname getsockopt listen mq_getsetattr
mq_notify mq_open mq_timedreceive mq_timedsend mq_unlink msgctl msgget msgrcv msgsnd recvfrom
recvmmsg recvmsg semctl semget semop semtimedop sendmmsg sendmsg sendto setsockopt shutdown
socketpair
"""

_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW* flag
_VSOCK: Final = 40  # would reach the hypervisor of a node that is itself a machine in one
_EPERM: Final = 1
_ENOSYS: Final = 38


def profile() -> dict[str, object]:
    """Return the ``linux.seccomp`` member of an OCI configuration."""
    names = f"{_FILES} {_MEMORY} {_PROCESSES} {_WAITING} {_TALKING}".split()
    return {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": _EPERM,
        "syscalls": [
            {"names": names, "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["clone"],
                "action": "SCMP_ACT_ALLOW",
                "args": [
                    {"index": 0, "value": _NAMESPACES, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}
                ],
            },
            # Its flags lie in memory, where no filter can see them: the C library falls back.
            {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS},
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": _VSOCK, "op": "SCMP_CMP_NE"}],
            },
            {
                "names": ["personality"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 0, "value": 0xFFFFFFFF, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
