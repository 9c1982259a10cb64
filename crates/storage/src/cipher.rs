//! Sealing of secrets before they reach a table, with XChaCha20-Poly1305.

use std::fmt;
use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::sync::Arc;

use chacha20poly1305::aead::{Aead as _, Payload};
use chacha20poly1305::{KeyInit as _, XChaCha20Poly1305, XNonce};
use zeroize::{Zeroize as _, Zeroizing};

use crate::Error;

const KEY_BYTES: usize = 32;
const NONCE_BYTES: usize = 24;

/// Seals with its first key and opens with any of its keys, so that a key can be replaced:
/// put the new one first and keep the old one until everything has been stored again.
#[derive(Clone)]
pub struct Cipher {
    keys: Arc<[Key]>,
}

struct Key {
    /// Follows from the key itself and is stored with what it sealed.
    id: u8,
    cipher: XChaCha20Poly1305,
}

impl Cipher {
    pub fn from_key(key: [u8; KEY_BYTES]) -> Self {
        Self {
            keys: Arc::new([Key::new(key)]),
        }
    }

    /// Reads keys from a text: 64 hexadecimal digits a line, the key in use first.
    ///
    /// # Errors
    /// The text holds no key, or something else.
    pub fn from_text(text: &str) -> Result<Self, Error> {
        let keys: Vec<Key> = text
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| decode_hex(line).map(|key| Key::new(*key)))
            .collect::<Option<_>>()
            .ok_or(Error::Key(
                "expected 64 hexadecimal digits, as `openssl rand -hex 32` prints",
            ))?;
        if keys.is_empty() {
            return Err(Error::Key("there is none"));
        }
        Ok(Self { keys: keys.into() })
    }

    /// Reads a file of keys; makes one with a fresh key, for its owner's eyes only, when it is
    /// missing and `create_if_missing`.
    ///
    /// # Errors
    /// The file cannot be read or made, or holds no key.
    pub fn from_file(path: &Path, create_if_missing: bool) -> Result<Self, Error> {
        let file_error = |cause| Error::File {
            path: path.to_owned(),
            cause: Arc::new(cause),
        };
        match fs::read_to_string(path) {
            Ok(text) => Self::from_text(&Zeroizing::new(text)),
            Err(error) if error.kind() == ErrorKind::NotFound && create_if_missing => {
                let text = fresh_key_text()?;
                match write_private(path, &text) {
                    // Somebody else was faster: theirs is the key.
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                        Self::from_file(path, false)
                    }
                    Err(error) => Err(file_error(error)),
                    Ok(()) => Self::from_text(&text),
                }
            }
            Err(error) => Err(file_error(error)),
        }
    }

    /// Seals `secret`; only with the same `place` can it be opened again, so a sealed text that
    /// is copied to another row is worth nothing there.
    pub(crate) fn seal(&self, secret: &[u8], place: &str) -> Result<Vec<u8>, Error> {
        let key = self.keys.first().ok_or(Error::Key("there is none"))?;
        let mut nonce = [0_u8; NONCE_BYTES];
        getrandom::fill(&mut nonce).map_err(|_cause| Error::Random)?;
        let payload = Payload {
            msg: secret,
            aad: place.as_bytes(),
        };
        let sealed = key
            .cipher
            .encrypt(&XNonce::from(nonce), payload)
            .map_err(|_opaque| Error::Key("it could not seal a secret"))?;
        Ok([&[key.id], nonce.as_slice(), sealed.as_slice()].concat())
    }

    pub(crate) fn open_text(&self, sealed: &[u8], place: &str) -> Result<String, Error> {
        String::from_utf8(self.open(sealed, place)?)
            .map_err(|_cause| Error::corrupt("secret", "it is not text"))
    }

    pub(crate) fn open(&self, sealed: &[u8], place: &str) -> Result<Vec<u8>, Error> {
        let unreadable = |problem: &str| Error::corrupt("secret", problem);
        let (id, rest) = sealed
            .split_first()
            .ok_or_else(|| unreadable("it is empty"))?;
        let (nonce, message) = rest
            .split_first_chunk::<NONCE_BYTES>()
            .ok_or_else(|| unreadable("it is cut off"))?;
        let payload = || Payload {
            msg: message,
            aad: place.as_bytes(),
        };
        self.keys
            .iter()
            .filter(|key| key.id == *id)
            .find_map(|key| key.cipher.decrypt(&XNonce::from(*nonce), payload()).ok())
            .ok_or_else(|| unreadable("none of the encryption keys opens it"))
    }
}

impl Key {
    fn new(mut bytes: [u8; KEY_BYTES]) -> Self {
        let cipher = XChaCha20Poly1305::new(&bytes.into());
        bytes.zeroize();
        // A byte that tells keys apart without telling anything of them. The nonce of zeros is
        // used for this alone.
        let id = cipher
            .encrypt(
                &XNonce::from([0; NONCE_BYTES]),
                Payload {
                    msg: b"",
                    aad: b"key id",
                },
            )
            .ok()
            .and_then(|tag| tag.first().copied())
            .unwrap_or(0);
        Self { id, cipher }
    }
}

impl fmt::Debug for Cipher {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Cipher({} keys)", self.keys.len())
    }
}

fn fresh_key_text() -> Result<Zeroizing<String>, Error> {
    use std::fmt::Write as _;

    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    getrandom::fill(&mut *key).map_err(|_cause| Error::Random)?;
    let mut text = Zeroizing::new(String::with_capacity(2 * KEY_BYTES + 1));
    for byte in key.iter() {
        write!(text, "{byte:02x}").map_err(|_never| Error::Random)?;
    }
    text.push('\n');
    Ok(text)
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(text.as_bytes())?;
    // What was sealed with a key that a power cut took back could never be opened again.
    file.sync_all()
}

fn decode_hex(text: &str) -> Option<Zeroizing<[u8; KEY_BYTES]>> {
    if text.len() != 2 * KEY_BYTES {
        return None;
    }
    let mut key = Zeroizing::new([0_u8; KEY_BYTES]);
    for (byte, digits) in key.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
        let [high, low] = digits else { return None };
        let digit = |symbol: &u8| char::from(*symbol).to_digit(16);
        *byte = u8::try_from(digit(high)? * 16 + digit(low)?).ok()?;
    }
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_opens_at_its_place_only() {
        let cipher = Cipher::from_key([7; 32]);
        let sealed = cipher.seal(b"my secret", "acme/default/welcome").unwrap();
        assert!(!sealed.windows(9).any(|window| window == b"my secret"));
        assert_eq!(
            cipher.open(&sealed, "acme/default/welcome").unwrap(),
            b"my secret"
        );
        assert!(cipher.open(&sealed, "acme/default/other").is_err());
        assert!(
            Cipher::from_key([8; 32])
                .open(&sealed, "acme/default/welcome")
                .is_err()
        );
        assert!(cipher.open(&sealed[..20], "acme/default/welcome").is_err());
    }

    #[test]
    fn an_old_key_still_opens_and_the_first_one_seals() {
        let (old, new) = ("11".repeat(32), "22".repeat(32));
        let sealed = Cipher::from_text(&old)
            .unwrap()
            .seal(b"secret", "place")
            .unwrap();
        let both = Cipher::from_text(&format!("# rotated\n{new}\n{old}\n")).unwrap();
        assert_eq!(both.open(&sealed, "place").unwrap(), b"secret");
        let sealed = both.seal(b"secret", "place").unwrap();
        assert_eq!(
            Cipher::from_text(&new)
                .unwrap()
                .open(&sealed, "place")
                .unwrap(),
            b"secret"
        );
    }

    #[test]
    fn a_text_that_is_no_key_is_refused_without_repeating_it() {
        for text in ["", "# only a comment", "11", &"zz".repeat(32)] {
            let error = Cipher::from_text(text).unwrap_err();
            assert!(matches!(error, Error::Key(_)), "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_is_made_once_and_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert!(matches!(
            Cipher::from_file(&path, false),
            Err(Error::File { .. })
        ));
        let sealed = Cipher::from_file(&path, true)
            .unwrap()
            .seal(b"secret", "place")
            .unwrap();
        let again = Cipher::from_file(&path, true).unwrap();
        assert_eq!(again.open(&sealed, "place").unwrap(), b"secret");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            assert_eq!(
                fs::metadata(&path).unwrap().permissions().mode() & 0o777,
                0o600
            );
        }
    }
}
