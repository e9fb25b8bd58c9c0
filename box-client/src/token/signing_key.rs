use aws_lc_rs::{
    rand::SystemRandom,
    signature::{KeyPair, RsaEncoding, RsaKeyPair},
};
use pkcs8::{EncryptedPrivateKeyInfoRef, SecretDocument, pkcs5};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use secrecy::{ExposeSecret, SecretString};

use crate::error::{Error, ErrorKind, Result};

/// OpenSSL takes 2048 of its own accord, and careful people 600,000. A key that asks for more than
/// this would stop the program.
const MOST_ITERATIONS: u32 = 10_000_000;

/// What scrypt may take of memory (128 * r * N bytes).
const MOST_MEMORY: u64 = 256 << 20;

/// The RSA key of an application, and Box's name for it.
pub struct SigningKey {
    pub(super) id: String,
    key: RsaKeyPair,
}

impl SigningKey {
    /// The key's id in the Developer Console, and the key as PEM: PKCS#8 encrypted with
    /// `passphrase` (PBES2, with AES or triple DES), or not encrypted (PKCS#8 or PKCS#1), where
    /// the passphrase is not looked at.
    ///
    /// Decrypting takes some milliseconds of work: do it once.
    pub fn from_pem(
        id: impl Into<String>,
        private_key: &SecretString,
        passphrase: Option<&SecretString>,
    ) -> Result<Self> {
        // Configuration files have been seen with line ends as the two characters `\n`.
        let pem = SecretString::from(private_key.expose_secret().replace("\\n", "\n"));
        let pem = pem.expose_secret().trim_start();
        let key = if pem.contains("BEGIN ENCRYPTED PRIVATE KEY") {
            let passphrase = passphrase.ok_or_else(|| {
                bad("the private key is encrypted and there is no passphrase for it")
            })?;
            let der = decrypt(pem, passphrase)?;
            RsaKeyPair::from_pkcs8(der.as_bytes())
        } else if pem.contains("Proc-Type:") {
            return Err(bad(
                "the private key is encrypted the traditional way; bring it to PKCS#8 with: \
                 openssl pkcs8 -topk8 -v2 aes256 -in KEY -out NEW",
            ));
        } else {
            let key = PrivateKeyDer::from_pem_slice(pem.as_bytes())
                .map_err(|_| bad("the private key is no PEM of PKCS#8 or PKCS#1"))?;
            match &key {
                PrivateKeyDer::Pkcs8(der) => RsaKeyPair::from_pkcs8(der.secret_pkcs8_der()),
                PrivateKeyDer::Pkcs1(der) => RsaKeyPair::from_der(der.secret_pkcs1_der()),
                _ => return Err(bad("the private key is not an RSA key")),
            }
        };
        let key = key.map_err(|_| bad("the private key is not an RSA key of 2048 bits or more"))?;
        Ok(Self { id: id.into(), key })
    }

    /// The public half (PKCS#1 DER), as Box has it.
    pub fn public_key(&self) -> &[u8] {
        self.key.public_key().as_ref()
    }

    pub(super) fn sign(&self, algorithm: &'static dyn RsaEncoding, text: &[u8]) -> Result<Vec<u8>> {
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key
            .sign(algorithm, &SystemRandom::new(), text, &mut signature)
            .map_err(|_| bad("the private key does not sign"))?;
        Ok(signature)
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SigningKey")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

fn decrypt(pem: &str, passphrase: &SecretString) -> Result<SecretDocument> {
    let unreadable = || {
        bad(
            "the encrypted private key is no PEM of PKCS#8 with PBES2; bring it to that with: \
             openssl pkcs8 -topk8 -v2 aes256 -in KEY -out NEW",
        )
    };
    let (_, der) = SecretDocument::from_pem(pem).map_err(|_| unreadable())?;
    let info: EncryptedPrivateKeyInfoRef<'_> = der.decode_msg().map_err(|_| unreadable())?;
    let parameters = info.encryption_algorithm.pbes2().ok_or_else(unreadable)?;
    if !is_bearable(&parameters.kdf) {
        return Err(bad("the private key's passphrase takes too long to check"));
    }
    info.decrypt(passphrase.expose_secret()).map_err(|_| {
        bad("the private key cannot be decrypted: the passphrase is wrong, or the cipher unusual")
    })
}

fn is_bearable(kdf: &pkcs5::pbes2::Kdf) -> bool {
    match (kdf.pbkdf2(), kdf.scrypt()) {
        (Some(pbkdf2), _) => pbkdf2.iteration_count <= MOST_ITERATIONS,
        (_, Some(scrypt)) => {
            let memory = 128_u64
                .checked_mul(scrypt.cost_parameter)
                .and_then(|memory| memory.checked_mul(u64::from(scrypt.block_size)));
            memory.is_some_and(|memory| memory <= MOST_MEMORY) && scrypt.parallelization <= 16
        }
        _ => false,
    }
}

/// No cause goes with it: what a parser says of a key might quote from it.
pub(super) fn bad(detail: &'static str) -> Error {
    Error::new(ErrorKind::Config, "token").detail(detail)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use pkcs5::pbes2::{Kdf, Pbkdf2Params, ScryptParams};

    use super::*;

    #[test]
    fn a_key_that_would_stop_the_program_is_not_tried() {
        for (iterations, bearable) in [(2048, true), (600_000, true), (MOST_ITERATIONS + 1, false)]
        {
            let kdf = Pbkdf2Params::hmac_sha256(iterations, b"saltsalt").unwrap();
            assert_eq!(is_bearable(&Kdf::from(kdf)), bearable, "{iterations}");
        }
        for (log_n, bearable) in [(14, true), (24, false)] {
            let params = scrypt_params(log_n);
            assert_eq!(is_bearable(&Kdf::from(params)), bearable, "2^{log_n}");
        }
    }

    fn scrypt_params(log_n: u8) -> ScryptParams {
        let params = pkcs5::scrypt::Params::new(log_n, 8, 1).unwrap();
        ScryptParams::from_params_and_salt(params, b"saltsalt").unwrap()
    }
}
