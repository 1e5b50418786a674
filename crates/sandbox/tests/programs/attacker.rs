//! What stands in a decoder's place when a stranger's file has taken it over: each run tries to get out in one way and says whether it
//! did.
#![allow(missing_docs)]

#[cfg(target_os = "linux")]
fn main() {
    let mut words = std::env::args().skip(1);
    let attack = words.next().unwrap_or_default();
    let target = words.next().unwrap_or_default();
    match linux::attack(&attack, &target) {
        Ok(what) => println!("ESCAPED {attack}: {what}"),
        Err(error) => println!("denied {attack}: {error}"),
    }
}

#[cfg(not(target_os = "linux"))]
fn main() {}

#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
mod linux {
    use std::io::{Error, Read as _, Result, Write as _};
    use std::net::{TcpListener, TcpStream, UdpSocket};
    use std::os::unix::net::{UnixDatagram, UnixStream};

    pub fn attack(name: &str, target: &str) -> Result<String> {
        match name {
            "read" => std::fs::read(target).map(|bytes| format!("{} bytes", bytes.len())),
            "list" => std::fs::read_dir(target).map(|entries| format!("{} entries", entries.count())),
            "write" => std::fs::write(target, "was here").map(|()| target.to_owned()),
            "append" => std::fs::OpenOptions::new()
                .append(true)
                .open(target)
                .and_then(|mut file| file.write_all(b"was here"))
                .map(|()| target.to_owned()),
            "remove" => std::fs::remove_file(target).map(|()| target.to_owned()),
            "rename" => std::fs::rename(target, format!("{target}.moved")).map(|()| target.to_owned()),
            "link" => std::os::unix::fs::symlink("/etc/passwd", target).map(|()| target.to_owned()),
            "hardlink" => std::fs::hard_link("/etc/passwd", target).map(|()| target.to_owned()),
            "mkdir" => std::fs::create_dir(target).map(|()| target.to_owned()),
            "chmod" => {
                use std::os::unix::fs::PermissionsExt as _;
                std::fs::set_permissions(target, std::fs::Permissions::from_mode(0o777))
                    .map(|()| target.to_owned())
            }
            "tcp" => TcpStream::connect(target).map(|_| target.to_owned()),
            "listen" => TcpListener::bind("127.0.0.1:0").map(|_| "listening".to_owned()),
            "udp" => {
                let socket = UdpSocket::bind("127.0.0.1:0")?;
                socket.send_to(b"secret", target).map(|_| target.to_owned())
            }
            "unix" => UnixStream::connect(target).map(|_| target.to_owned()),
            "datagram" => UnixDatagram::unbound().map(|_| "a socket".to_owned()),
            "pair" => UnixStream::pair().map(|_| "two sockets".to_owned()),
            "netlink" => socket(libc::AF_NETLINK, libc::SOCK_RAW, libc::NETLINK_ROUTE),
            "packet" => socket(libc::AF_PACKET, libc::SOCK_RAW, 0),
            "vsock" => socket(libc::AF_VSOCK, libc::SOCK_STREAM, 0),
            "fork" => fork(),
            "shell" => std::process::Command::new("/bin/sh")
                .args(["-c", "cat /etc/passwd"])
                .output()
                .map(|output| String::from_utf8_lossy(&output.stdout).into_owned()),
            "environment" => match std::env::var(target) {
                Ok(value) => Ok(value),
                Err(error) => Err(Error::other(error)),
            },
            "memory" => memory(target.parse().unwrap_or(u64::MAX)),
            "spin" => loop {
                std::hint::spin_loop();
            },
            // Opened to be read, and cut off.
            "cut" => {
                let path = std::ffi::CString::new(target).map_err(Error::other)?;
                let flags = libc::O_RDONLY | libc::O_TRUNC;
                call(unsafe { libc::syscall(libc::SYS_openat, libc::AT_FDCWD, path.as_ptr(), flags) })
            }
            "inherited" => {
                let mut bytes = [0_u8; 16];
                let descriptor: libc::c_long = target.parse().unwrap_or(7);
                call(unsafe { libc::syscall(libc::SYS_read, descriptor, bytes.as_mut_ptr(), bytes.len()) })
            }
            // Memory that belongs to a file without a name.
            "hidden" => call(unsafe { libc::syscall(libc::SYS_memfd_create, c"m".as_ptr(), 0) }),
            "owner" => call(unsafe { libc::syscall(libc::SYS_fcntl, 0, libc::F_SETOWN, 1) }),
            "fill" => fill(target),
            "files" => {
                let opened: Result<Vec<_>> = (0..4096).map(|_| std::fs::File::open("/dev/null")).collect();
                opened.map(|opened| format!("{} files", opened.len()))
            }
            "setsid" => call(unsafe { libc::syscall(libc::SYS_setsid) }),
            "setpgid" => call(unsafe { libc::syscall(libc::SYS_setpgid, 0, 0) }),
            "kill" => {
                let pid: libc::c_long = target.parse().unwrap_or(1);
                call(unsafe { libc::syscall(libc::SYS_kill, pid, libc::SIGKILL) })
            }
            "tgkill" => {
                let pid: libc::c_long = target.parse().unwrap_or(1);
                call(unsafe { libc::syscall(libc::SYS_tgkill, pid, pid, libc::SIGKILL) })
            }
            "limits" => {
                let unlimited = [u64::MAX; 2];
                call(unsafe { libc::syscall(libc::SYS_prlimit64, 0, libc::RLIMIT_AS, &unlimited, 0) })
            }
            "ring" => call(unsafe { libc::syscall(libc::SYS_io_uring_setup, 8, [0_u8; 256].as_mut_ptr()) }),
            "namespace" => {
                let flags = libc::CLONE_NEWUSER | libc::SIGCHLD;
                call(unsafe { libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0) })
            }
            "terminal" => call(unsafe { libc::syscall(libc::SYS_ioctl, 0, libc::TIOCSTI, b"x".as_ptr()) }),
            // These do not come back.
            "ptrace" => {
                let pid: libc::c_long = target.parse().unwrap_or(1);
                call(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0) })
            }
            "mount" => {
                let name = c"none";
                call(unsafe {
                    libc::syscall(libc::SYS_mount, name.as_ptr(), c"/mnt".as_ptr(), c"tmpfs".as_ptr(), 0, 0)
                })
            }
            "unshare" => call(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) }),
            "bpf" => call(unsafe { libc::syscall(libc::SYS_bpf, 0, 0, 0) }),
            "setuid" => call(unsafe { libc::syscall(libc::SYS_setuid, 0) }),
            "peek" => call(unsafe { libc::syscall(libc::SYS_process_vm_readv, 1, 0, 0, 0, 0, 0) }),
            // What a program may do: to see that the attacks are denied one by one and not all by accident.
            "nothing" => Ok(String::new()),
            "stdin" => {
                let mut read = String::new();
                std::io::stdin().read_to_string(&mut read).map(|_| read)
            }
            "threads" => {
                let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(|| 1)).collect();
                Ok(threads.into_iter().flat_map(std::thread::JoinHandle::join).sum::<i32>().to_string())
            }
            "bomb" => bomb(target.parse().unwrap_or(usize::MAX)),
            _ => Err(Error::other("unknown attack")),
        }
    }

    fn call(returned: libc::c_long) -> Result<String> {
        if returned < 0 { Err(Error::last_os_error()) } else { Ok(returned.to_string()) }
    }

    fn socket(family: libc::c_int, kind: libc::c_int, protocol: libc::c_int) -> Result<String> {
        call(unsafe { libc::syscall(libc::SYS_socket, family, kind, protocol) })
    }

    fn fork() -> Result<String> {
        for _ in 0..64 {
            match unsafe { libc::fork() } {
                0 => loop {
                    std::thread::sleep(std::time::Duration::from_secs(60));
                },
                pid if pid < 0 => return Err(Error::last_os_error()),
                _ => {}
            }
        }
        Ok("64 children".to_owned())
    }

    /// Threads with as little as they can have, all at once.
    fn bomb(most: usize) -> Result<String> {
        let wait = std::sync::Arc::new(std::sync::Barrier::new(usize::MAX));
        for _ in 0..most {
            let wait = std::sync::Arc::clone(&wait);
            std::thread::Builder::new().stack_size(16 << 10).spawn(move || wait.wait())?;
        }
        Ok(format!("{most} threads"))
    }

    /// Takes memory and writes to it.
    fn memory(most: u64) -> Result<String> {
        let mut taken: Vec<Vec<u8>> = Vec::new();
        let piece = 64 << 20;
        while (taken.len() as u64) * (piece as u64) < most {
            let mut next: Vec<u8> = Vec::new();
            next.try_reserve_exact(piece).map_err(Error::other)?;
            next.resize(piece, 1);
            taken.push(next);
        }
        Ok(format!("{} MiB", taken.len() * 64))
    }

    fn fill(path: &str) -> Result<String> {
        let mut file = std::fs::OpenOptions::new().write(true).open(path)?;
        let piece = vec![0; 1 << 20];
        for _ in 0..64 {
            file.write_all(&piece)?;
        }
        Ok("64 MiB".to_owned())
    }
}
