"""Define the system calls that a container can make: Docker's list, and overlays for each fork.

An ALLOW list; everything else is refused. It contains the calls that Docker's default profiles
permit a container without capabilities, and only those that all of them permit, from engine 20.10
to 29: io_uring and the socket families VSOCK and ALG are excluded, as in newer engines, and so are
the calls that older engines do not know. Two rules are added. Together they let a program mount a
copy-on-write overlay on a folder, in namespaces of its own:

    unshare    with the flags CLONE_NEWUSER|CLONE_NEWNS and no others
    mount      with the flags MS_NOSUID|MS_NODEV and no others:
               no bind, no remount, no move, no change of propagation

Not protected: a program that creates such a namespace has every capability *inside* it. That gives
no access to files, processes or devices outside, and the calls above stay the only ones, but more
of the host's kernel can be reached than before: mounting overlayfs, tmpfs, ramfs and the few other
file systems that the kernel offers to users. Their memory is charged to the container.
`Spec(branching=False)` uses the engine's own profile instead.
"""

import json
from collections.abc import Sequence
from functools import cache
from typing import Any

ALLOWED = """
accept accept4 bind connect getpeername getsockname getsockopt listen recv recvfrom recvmmsg
recvmmsg_time64 recvmsg send sendmmsg sendmsg sendto setsockopt shutdown socketpair

access chdir chmod chown chown32 close close_range copy_file_range creat dup dup2 dup3 faccessat
faccessat2 fadvise64 fadvise64_64 fallocate fanotify_mark fchdir fchmod fchmodat fchown fchown32
fchownat fcntl fcntl64 fdatasync fgetxattr flistxattr flock fremovexattr fsetxattr fstat fstat64
fstatat64 fstatfs fstatfs64 fsync ftruncate ftruncate64 futimesat getcwd getdents getdents64
getxattr inotify_add_watch inotify_init inotify_init1 inotify_rm_watch ioctl lchown lchown32
lgetxattr link linkat listxattr llistxattr _llseek lremovexattr lseek lsetxattr lstat lstat64 mkdir
mkdirat mknod mknodat newfstatat open openat openat2 pipe pipe2 pread64 preadv preadv2 pwrite64
pwritev pwritev2 read readahead readlink readlinkat readv removexattr rename renameat renameat2
rmdir sendfile sendfile64 setxattr splice stat stat64 statfs statfs64 statx symlink symlinkat sync
sync_file_range syncfs tee truncate truncate64 umask unlink unlinkat utime utimensat
utimensat_time64 utimes vmsplice write writev

epoll_create epoll_create1 epoll_ctl epoll_ctl_old epoll_pwait epoll_pwait2 epoll_wait
epoll_wait_old eventfd eventfd2 _newselect poll ppoll ppoll_time64 pselect6 pselect6_time64 select

io_cancel io_destroy io_getevents io_pgetevents io_pgetevents_time64 io_setup io_submit

brk madvise membarrier memfd_create memfd_secret mincore mlock mlock2 mlockall mmap mmap2 mprotect
mremap msync munlock munlockall munmap process_mrelease remap_file_pages

ipc mq_getsetattr mq_notify mq_open mq_timedreceive mq_timedreceive_time64 mq_timedsend
mq_timedsend_time64 mq_unlink msgctl msgget msgrcv msgsnd semctl semget semop semtimedop
semtimedop_time64 shmat shmctl shmdt shmget

capget capset execve execveat exit exit_group fork vfork getcpu getegid getegid32 geteuid geteuid32
getgid getgid32 getgroups getgroups32 getpgid getpgrp getpid getppid getpriority getrandom
getresgid getresgid32 getresuid getresuid32 getrlimit get_robust_list getrusage getsid
get_thread_area gettid getuid getuid32 ioprio_get ioprio_set kill landlock_add_rule
landlock_create_ruleset landlock_restrict_self pause pidfd_open pidfd_send_signal prctl prlimit64
ptrace restart_syscall rseq rt_sigaction rt_sigpending rt_sigprocmask rt_sigqueueinfo rt_sigreturn
rt_sigsuspend rt_sigtimedwait rt_sigtimedwait_time64 rt_tgsigqueueinfo sched_getaffinity
sched_getattr sched_getparam sched_get_priority_max sched_get_priority_min sched_getscheduler
sched_rr_get_interval sched_rr_get_interval_time64 sched_setaffinity sched_setattr sched_setparam
sched_setscheduler sched_yield seccomp setfsgid setfsgid32 setfsuid setfsuid32 setgid setgid32
setgroups setgroups32 setpgid setpriority setregid setregid32 setresgid setresgid32 setresuid
setresuid32 setreuid setreuid32 setrlimit set_robust_list setsid set_thread_area set_tid_address
setuid setuid32 sigaltstack signalfd signalfd4 sigprocmask sigreturn sysinfo tgkill time times
tkill ugetrlimit uname wait4 waitid waitpid

adjtimex alarm clock_adjtime clock_adjtime64 clock_getres clock_getres_time64 clock_gettime
clock_gettime64 clock_nanosleep clock_nanosleep_time64 futex futex_time64 futex_waitv getitimer
gettimeofday nanosleep setitimer timer_create timer_delete timer_getoverrun timer_gettime
timer_gettime64 timer_settime timer_settime64 timerfd_create timerfd_gettime timerfd_gettime64
timerfd_settime timerfd_settime64
""".split()
"""Allowed with any arguments. Without the 32-bit `socketcall`: it hides the socket family."""

ARCHITECTURE_CALLS = {
    "amd64": ["arch_prctl", "modify_ldt"],
    "arm64": [
        "arm_fadvise64_64",
        "arm_sync_file_range",
        "breakpoint",
        "cacheflush",
        "set_tls",
        "sync_file_range2",
    ],
}

AF_ALG, AF_VSOCK = 38, 40
PERSONALITIES = (0x0, 0x8, 0x20000, 0x20008, 0xFFFFFFFF)
"""Linux and its 32-bit variant, each with and without the UNAME26 flag; the last value queries."""
ANY_NAMESPACE = 0x7E020000
CLONE_NEWUSER_NEWNS = 0x10000000 | 0x00020000
MS_NOSUID_NODEV = 0x2 | 0x4
ENOSYS = 38


def allow_rule(names: Sequence[str], *arguments: tuple[int, str, int]) -> dict[str, Any]:
    """Return a rule that allows calls if every (index, comparison, value) holds."""
    conditions = [
        # In a masked comparison, `value` is the mask and `valueTwo` the required result: zero.
        {"index": index, "op": f"SCMP_CMP_{comparison}", "value": value, "valueTwo": 0}
        for index, comparison, value in arguments
    ]
    return {"names": list(names), "action": "SCMP_ACT_ALLOW", "args": conditions}


RULES: tuple[dict[str, Any], ...] = (
    allow_rule(ALLOWED),
    *(
        {**allow_rule(names), "includes": {"arches": [architecture]}}
        for architecture, names in ARCHITECTURE_CALLS.items()
    ),
    allow_rule(["socket"], (0, "LT", AF_ALG)),
    allow_rule(["socket"], (0, "EQ", AF_ALG + 1)),
    allow_rule(["socket"], (0, "GT", AF_VSOCK)),
    *(allow_rule(["personality"], (0, "EQ", value)) for value in PERSONALITIES),
    allow_rule(["clone"], (0, "MASKED_EQ", ANY_NAMESPACE)),
    # its flags are in memory, which filters cannot read: libc falls back to clone on ENOSYS
    {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": ENOSYS},
    allow_rule(["unshare"], (0, "EQ", CLONE_NEWUSER_NEWNS)),
    allow_rule(["mount"], (3, "EQ", MS_NOSUID_NODEV)),
)

ARCHITECTURES = {
    "SCMP_ARCH_X86_64": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"],
    "SCMP_ARCH_AARCH64": ["SCMP_ARCH_ARM"],
}


@cache
def profile() -> str:
    """Return the profile as the engine expects it: `security_opt=[f"seccomp={profile()}"]`."""
    return json.dumps(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "archMap": [
                {"architecture": architecture, "subArchitectures": sub_architectures}
                for architecture, sub_architectures in ARCHITECTURES.items()
            ],
            "syscalls": RULES,
        }
    )
