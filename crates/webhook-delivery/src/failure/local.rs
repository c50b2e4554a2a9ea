//! What is this machine's own doing.

use std::{fmt, io};

use nix::errno::Errno;

use crate::LocalFault;

/// The fault of ours behind an error, if it is one.
pub(crate) fn local_fault(error: &io::Error) -> Option<LocalFault> {
    match Errno::from_raw(error.raw_os_error()?) {
        Errno::EMFILE | Errno::ENFILE => Some(LocalFault::Descriptors),
        Errno::EADDRNOTAVAIL => Some(LocalFault::Ports),
        Errno::ENOBUFS | Errno::ENOMEM => Some(LocalFault::Memory),
        _ => None,
    }
}

impl fmt::Display for LocalFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Descriptors => {
                "this machine has no file descriptor left; raise LimitNOFILE= of the service \
                 (ulimit -n)"
            }
            Self::Ports => {
                "this machine has no local port left for this destination; widen \
                 net.ipv4.ip_local_port_range"
            }
            Self::Memory => "this machine has no memory left for a connection",
            Self::Resolver => {
                "the name servers of this machine do not answer; check /etc/resolv.conf and that \
                 this machine reaches them"
            }
            Self::Roots => "this machine has no trusted root certificates",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ours_are_told_from_theirs() {
        let fault = |errno: Errno| local_fault(&io::Error::from_raw_os_error(errno as i32));
        for (errno, expected) in [
            (Errno::EMFILE, Some(LocalFault::Descriptors)),
            (Errno::ENFILE, Some(LocalFault::Descriptors)),
            (Errno::EADDRNOTAVAIL, Some(LocalFault::Ports)),
            (Errno::ENOBUFS, Some(LocalFault::Memory)),
            (Errno::ENOMEM, Some(LocalFault::Memory)),
            (Errno::ECONNREFUSED, None),
            (Errno::ECONNRESET, None),
            (Errno::ENETUNREACH, None),
            (Errno::ETIMEDOUT, None),
        ] {
            assert_eq!(fault(errno), expected, "{errno}");
        }
        // One that a library made up.
        assert_eq!(local_fault(&io::ErrorKind::AddrNotAvailable.into()), None);
    }
}
