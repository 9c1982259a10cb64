//! Bodies of messages, packed on their way through the broker.
//!
//! A batch is a hundred times nearly the same, and what a broker costs grows with the bytes it
//! writes and copies; LZ4 takes out what is the same.

use std::borrow::Cow;

use bytes::Bytes;

/// The name in the AMQP property `content-encoding`.
pub(crate) const LZ4: &str = "lz4";

/// A shorter body repeats itself too little to be worth it.
const PACKED_FROM_BYTES: usize = 2 * 1024;

/// What claims to be longer when unpacked was not written by us.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A body as it travels, and how it is packed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Packed {
    pub(crate) body: Bytes,
    /// As `content-encoding` says; `None` when it is as it was.
    pub(crate) encoding: Option<Cow<'static, str>>,
}

impl Packed {
    /// Packs what gains by it.
    pub(crate) fn of(body: Bytes) -> Self {
        if body.len() >= PACKED_FROM_BYTES {
            let packed = lz4_flex::compress_prepend_size(&body);
            if packed.len() < body.len() / 4 * 3 {
                return Self {
                    body: packed.into(),
                    encoding: Some(Cow::Borrowed(LZ4)),
                };
            }
        }
        Self {
            body,
            encoding: None,
        }
    }

    /// The body as it was. What cannot be unpacked is given as it is: whoever reads it finds that
    /// it is no envelope, and it is set aside with everything that is known of it.
    pub(crate) fn unpack(&self) -> Bytes {
        match self.encoding.as_deref() {
            Some(LZ4) => unpack(&self.body).map_or_else(|| self.body.clone(), Bytes::from),
            Some(_) | None => self.body.clone(),
        }
    }
}

fn unpack(body: &[u8]) -> Option<Vec<u8>> {
    let (claimed, packed) = body.split_first_chunk()?;
    let claimed = usize::try_from(u32::from_le_bytes(*claimed)).ok()?;
    if claimed > UNPACKED_BYTES_MAX {
        return None;
    }
    let unpacked = lz4_flex::decompress(packed, claimed);
    unpacked.ok().filter(|unpacked| unpacked.len() == claimed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_repeats_itself_is_packed_and_comes_back_as_it_was() {
        let body = Bytes::from("the same line again\n".repeat(1_000));
        let packed = Packed::of(body.clone());
        assert_eq!(packed.encoding.as_deref(), Some(LZ4));
        assert!(packed.body.len() * 10 < body.len(), "{}", packed.body.len());
        assert_eq!(packed.unpack(), body);
    }

    #[test]
    fn what_is_short_or_gains_nothing_travels_as_it_is() {
        let short = Bytes::from_static(b"short");
        assert_eq!(Packed::of(short.clone()).body, short);
        let mut noise = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            noise.to_be_bytes()[0]
        })
        .take(10_000)
        .collect();
        let packed = Packed::of(noise.clone().into());
        assert_eq!((packed.encoding, &*packed.body), (None, noise.as_slice()));
    }

    #[test]
    fn what_cannot_be_unpacked_is_given_as_it_is() {
        for body in [&b""[..], b"\xff\xff\xff\xff", b"\x10\0\0\0garbage"] {
            let packed = Packed {
                body: Bytes::copy_from_slice(body),
                encoding: Some(Cow::Borrowed(LZ4)),
            };
            assert_eq!(packed.unpack(), body);
        }
    }
}
