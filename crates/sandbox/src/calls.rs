//! Which system calls a confined program may make: those that a program needs which reads and writes files with many threads. All
//! others fail; those that only an attacker makes end it.

use std::collections::BTreeMap;

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

type Rules = BTreeMap<i64, Vec<SeccompRule>>;

/// Files, memory, threads, time.
const PLAIN: &[i64] = &[
    // Files that are open, and opening some: which ones is not decided here.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_preadv,
    libc::SYS_preadv2,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_pwritev,
    libc::SYS_pwritev2,
    libc::SYS_close,
    libc::SYS_close_range,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_fstatfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_pipe2,
    libc::SYS_eventfd2,
    libc::SYS_flock,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_fadvise64,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_sync_file_range,
    libc::SYS_readahead,
    libc::SYS_copy_file_range,
    libc::SYS_sendfile,
    libc::SYS_umask,
    libc::SYS_ppoll,
    libc::SYS_pselect6,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_pwait,
    // Memory.
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_msync,
    libc::SYS_mincore,
    libc::SYS_mlock,
    libc::SYS_munlock,
    libc::SYS_membarrier,
    libc::SYS_get_mempolicy,
    libc::SYS_set_mempolicy,
    libc::SYS_mbind,
    // Threads and signals to itself.
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_getparam,
    libc::SYS_sched_getscheduler,
    libc::SYS_sched_get_priority_max,
    libc::SYS_sched_get_priority_min,
    libc::SYS_getpriority,
    libc::SYS_getcpu,
    libc::SYS_gettid,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigtimedwait,
    libc::SYS_rt_sigsuspend,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
    // Time, chance, and who it is.
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_times,
    libc::SYS_getrusage,
    libc::SYS_getrandom,
    libc::SYS_uname,
    libc::SYS_sysinfo,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpgid,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getgroups,
    libc::SYS_capget,
    // The helper becomes the program. What that starts is confined as it is, and there is only one process.
    libc::SYS_execve,
];

/// The older forms of some of them.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_getdents,
    libc::SYS_dup2,
    libc::SYS_pipe,
    libc::SYS_poll,
    libc::SYS_select,
    libc::SYS_epoll_create,
    libc::SYS_epoll_wait,
    libc::SYS_eventfd,
    libc::SYS_arch_prctl,
    libc::SYS_time,
    libc::SYS_getrlimit,
    libc::SYS_getpgrp,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// What no program that works on media does.
const DEADLY: &[i64] = &[
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_kcmp,
    libc::SYS_pidfd_getfd,
    libc::SYS_bpf,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_reboot,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_keyctl,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_open_by_handle_at,
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
];

/// What libraries ask of files that may be a terminal.
#[allow(clippy::unnecessary_cast, reason = "these are of another type with other C libraries")]
const TERMINAL: [u64; 4] =
    [libc::TCGETS as u64, libc::TIOCGWINSZ as u64, libc::FIONREAD as u64, libc::FIOCLEX as u64];

/// What may be asked of descriptors: flags, copies, locks.
const DESCRIPTORS: [libc::c_int; 9] = [
    libc::F_DUPFD,
    libc::F_DUPFD_CLOEXEC,
    libc::F_GETFD,
    libc::F_SETFD,
    libc::F_GETFL,
    libc::F_SETFL,
    libc::F_GETLK,
    libc::F_SETLK,
    libc::F_SETLKW,
];

/// Applies both filters to this thread, and so to the program that it becomes.
///
/// # Errors
/// When the kernel has no such filters.
pub(crate) fn restrict(hardware: bool) -> Result<(), String> {
    let architecture = std::env::consts::ARCH
        .try_into()
        .map_err(|_| format!("there is no list for processors of the kind {}", std::env::consts::ARCH))?;
    let deadly: Rules = DEADLY.iter().map(|call| (*call, Vec::new())).collect();
    // What a library tries and can do without fails as if the kernel did not have it, so that it takes the older way.
    let missing = SeccompAction::Errno(libc::ENOSYS as u32);
    let refused = SeccompAction::Errno(libc::EPERM as u32);
    let told = |error: &dyn std::fmt::Display| error.to_string();
    // Their arguments cannot be looked at, or they are memory that no limit counts.
    let mut unknown: Rules =
        [libc::SYS_clone3, libc::SYS_openat2].into_iter().map(|call| (call, Vec::new())).collect();
    if !hardware {
        unknown.insert(libc::SYS_memfd_create, Vec::new());
    }
    let mut allowed = allowed(hardware).map_err(|e| told(&e))?;
    allowed.extend(unknown.clone());
    allowed.insert(libc::SYS_memfd_create, Vec::new());
    for (rules, otherwise, then) in [
        (deadly, SeccompAction::Allow, SeccompAction::KillProcess),
        (unknown, SeccompAction::Allow, missing),
        (allowed, refused, SeccompAction::Allow),
    ] {
        let filter = SeccompFilter::new(rules, otherwise, then, architecture).map_err(|e| told(&e))?;
        let program: BpfProgram = filter.try_into().map_err(|e: seccompiler::BackendError| told(&e))?;
        seccompiler::apply_filter(&program).map_err(|e| told(&e))?;
    }
    Ok(())
}

fn allowed(hardware: bool) -> Result<Rules, seccompiler::BackendError> {
    let mut rules: Rules = PLAIN.iter().chain(OLDER).map(|call| (*call, Vec::new())).collect();
    let equal =
        |argument, value| SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, value);
    let masked = |argument, mask, value| {
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, SeccompCmpOp::MaskedEq(mask), value)
    };
    // Threads, and no processes; in no namespace of their own.
    let thread = libc::CLONE_THREAD as u64;
    let namespaces = libc::CLONE_NEWNS
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    let of_thread = masked(0, thread | namespaces as u64, thread)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![of_thread])?]);
    // Signals to itself: abort() sends one.
    let own = u64::from(std::process::id());
    rules.insert(libc::SYS_tgkill, vec![SeccompRule::new(vec![equal(0, own)?])?]);
    // On which processors it runs itself.
    rules.insert(libc::SYS_sched_setaffinity, vec![SeccompRule::new(vec![equal(0, 0)?])?]);
    // Opening a file to read it could cut it off, which the first versions of Landlock let through.
    rules.insert(libc::SYS_openat, opening(2)?);
    #[cfg(target_arch = "x86_64")]
    rules.insert(libc::SYS_open, opening(1)?);
    // No signals to others when something can be read.
    let asks: Result<Vec<_>, _> =
        DESCRIPTORS.iter().map(|what| SeccompRule::new(vec![equal(1, *what as u64)?])).collect();
    rules.insert(libc::SYS_fcntl, asks?);
    // Limits are read, not set: that would have a third argument.
    let reads = SeccompCondition::new(2, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, 0)?;
    rules.insert(libc::SYS_prlimit64, vec![SeccompRule::new(vec![reads])?]);
    // The names of threads and of memory.
    let names = [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA, libc::PR_CAPBSET_READ];
    let named: Result<Vec<_>, _> =
        names.iter().map(|name| SeccompRule::new(vec![equal(0, *name as u64)?])).collect();
    rules.insert(libc::SYS_prctl, named?);
    let asked: Result<Vec<_>, _> =
        TERMINAL.iter().map(|request| SeccompRule::new(vec![equal(1, *request)?])).collect();
    // Hardware coders are driven by requests of their own.
    rules.insert(libc::SYS_ioctl, if hardware { Vec::new() } else { asked? });
    Ok(rules)
}

/// Whoever cuts a file off has to open it for writing: the flags are in this argument.
fn opening(argument: u8) -> Result<Vec<SeccompRule>, seccompiler::BackendError> {
    let masked = |mask: libc::c_int, value: libc::c_int| {
        let operator = SeccompCmpOp::MaskedEq(mask as u64);
        SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value as u64)
    };
    [
        masked(libc::O_TRUNC, 0)?,
        masked(libc::O_ACCMODE, libc::O_WRONLY)?,
        masked(libc::O_ACCMODE, libc::O_RDWR)?,
    ]
    .into_iter()
    .map(|condition| SeccompRule::new(vec![condition]))
    .collect()
}

/// Closes, for the program that this process becomes, what it was given besides the three usual streams.
///
/// # Errors
/// When the kernel cannot.
pub(crate) fn close_inherited() -> Result<(), String> {
    #[expect(
        unsafe_code,
        reason = "there is no safe wrapper; the call marks descriptors and touches no memory"
    )]
    // SAFETY: three plain numbers; no descriptor is closed before exec.
    let done = unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, libc::CLOSE_RANGE_CLOEXEC) };
    if done == 0 { Ok(()) } else { Err(std::io::Error::last_os_error().to_string()) }
}
