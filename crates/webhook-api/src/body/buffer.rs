//! Where a body is put together.

use std::io;

use actix_web::web::{Bytes, BytesMut};
use memmap2::MmapMut;

use crate::problem::Problem;

/// Larger ones are kept outside the heap: glibc, once it was given a block of that size back, keeps as
/// much of each thread's heap for later, many times over what is in use.
const HEAP_BYTES: usize = 64 << 10;

/// A body so far.
#[derive(Debug)]
pub(super) enum Buffer {
    /// On the heap.
    Small(BytesMut),
    /// In pages of its own, which take memory when they are written, and as many of them as there are
    /// bytes.
    Large { pages: MmapMut, length: usize },
}

impl Default for Buffer {
    fn default() -> Self {
        Self::Small(BytesMut::new())
    }
}

impl Buffer {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Small(bytes) => bytes.len(),
            Self::Large { length, .. } => *length,
        }
    }

    /// Adds a part of a body that has at most `most` bytes.
    pub(super) fn append(&mut self, part: &[u8], most: usize) -> Result<(), Problem> {
        let so_far = self.len();
        let end = so_far + part.len();
        if let Self::Small(bytes) = self {
            if end <= HEAP_BYTES {
                bytes.extend_from_slice(part);
                return Ok(());
            }
            let mut pages = MmapMut::map_anon(most.max(end)).map_err(no_memory)?;
            pages[..so_far].copy_from_slice(bytes);
            *self = Self::Large {
                pages,
                length: so_far,
            };
        }
        if let Self::Large { pages, length } = self {
            // An HTTP/1.1 body is never longer than was announced.
            let room = pages.get_mut(so_far..end);
            let room = room.ok_or_else(|| no_memory(io::ErrorKind::FileTooLarge.into()))?;
            room.copy_from_slice(part);
            *length = end;
        }
        Ok(())
    }

    pub(super) fn freeze(self) -> Bytes {
        match self {
            Self::Small(bytes) => bytes.freeze(),
            Self::Large { pages, length } => Bytes::from_owner(pages).slice(..length),
        }
    }
}

fn no_memory(error: io::Error) -> Problem {
    Problem::Internal(format!("no memory for a body: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_what_its_parts_were() {
        for (length, part) in [
            (0, 1),
            (10, 3),
            (HEAP_BYTES, 1_000),
            (HEAP_BYTES + 1, 8_192),
            (1 << 20, 50_000),
        ] {
            let body: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
            let mut buffer = Buffer::default();
            for part in body.chunks(part) {
                buffer.append(part, length).unwrap();
            }
            assert_eq!(buffer.len(), length);
            assert_eq!(buffer.freeze(), body);
        }
    }
}
