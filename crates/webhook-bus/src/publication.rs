//! What goes onto a bus.

use bytes::Bytes;
use sha2::{Digest, Sha256};
use webhook_model::{EventId, Topic};

/// One message for the bus.
#[derive(Debug, Clone)]
pub struct Publication {
    /// Where it goes.
    pub topic: Topic,
    /// What arrived, unchanged; at most [`webhook_model::MAX_EVENT_BYTES`].
    pub bytes: Bytes,
    /// From [`dedup_key`], when publishing it again must not append it again.
    pub dedup: Option<[u8; 16]>,
}

/// The key under which a bus recognises a publication that it already has: the same id with
/// another topic or body is another publication.
pub fn dedup_key(id: &EventId, topic: &Topic, body: &[u8]) -> [u8; 16] {
    let mut hash = Sha256::new();
    // Neither ids nor topics contain a NUL, so no two triples hash the same text.
    for part in [
        id.as_str().as_bytes(),
        b"\0",
        topic.as_str().as_bytes(),
        b"\0",
        body,
    ] {
        hash.update(part);
    }
    let digest = hash.finalize();
    let mut key = [0; 16];
    key.copy_from_slice(&digest[..16]);
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_counts() {
        let key = |id: &str, topic: &str, body: &[u8]| {
            dedup_key(
                &EventId::parse(id).unwrap(),
                &Topic::parse(topic).unwrap(),
                body,
            )
        };
        let first = key("a", "b.c", b"{}");
        assert_eq!(first, key("a", "b.c", b"{}"));
        assert_ne!(first, key("ab", ".c".trim_start_matches('.'), b"{}"));
        assert_ne!(first, key("a", "b.d", b"{}"));
        assert_ne!(first, key("a", "b.c", b"{ }"));
    }
}
