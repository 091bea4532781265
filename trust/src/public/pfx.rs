//! PFX files (PKCS #12, RFC 7292): a key with its chain under one password, as Windows and appliances hand them out.

use super::form::Found;
use super::key::pkcs8;
use crate::certificate::{KeyedCertificate, TrustError, chain};
use p12_keystore::error::Error;
use p12_keystore::{Certificate, EncryptionAlgorithm, KeyStore, MacAlgorithm, PrivateKeyChain};

/// Rounds of key derivation in what we write. A password of words holds well; opening takes a tenth of a second.
const ITERATIONS: u64 = 100_000;

/// How an exported file is encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strength {
    /// AES-256 with HMAC-SHA-256: Windows Server 2019, OpenSSL 1.1 and later.
    #[default]
    Modern,
    /// Triple DES with SHA-1: what older Windows reads.
    Legacy,
}

/// Reads a PFX file: AES (PBES2), Triple DES or RC2, with or without a MAC by SHA-1 or SHA-256.
pub fn read(bytes: &[u8], password: &str) -> Result<Found, TrustError> {
    let store = KeyStore::from_pkcs12(bytes, password).map_err(said)?;
    let (_, chain) = store.private_key_chain().ok_or_else(|| {
        TrustError::Malformed("the PFX file holds no private key with its certificate".into())
    })?;
    Ok(Found {
        certificates: chain.chain().iter().map(|c| c.as_der().to_vec()).collect(),
        key: Some(chain.key().to_vec()),
    })
}

fn said(e: Error) -> TrustError {
    TrustError::Malformed(match e {
        // Without a MAC, a wrong password shows when the padding comes out wrong.
        Error::MacError(_) | Error::UnpadError | Error::Pkcs5Error(_) => {
            "the password of the PFX file is wrong, or the file is damaged".into()
        }
        Error::UnsupportedEncryptionScheme | Error::UnsupportedMacAlgorithm => {
            "the PFX file is protected in a way that is not known here; export it again with AES-256 and SHA-256".into()
        }
        other => format!("not a PFX file: {other}"),
    })
}

/// Makes a PFX file of a chain and its key.
pub fn write(
    certificate: &KeyedCertificate,
    name: &str,
    password: &str,
    strength: Strength,
) -> Result<Vec<u8>, TrustError> {
    let key = pkcs8(&certificate.key_pem)?;
    let certificates: Vec<Certificate> = chain(&certificate.chain_pem)?
        .iter()
        .map(|der| Certificate::from_der(der))
        .collect::<Result<_, _>>()
        .map_err(said)?;
    let thumbprint = crate::certificate::Facts::of_pem(&certificate.chain_pem)?.thumbprint;
    let mut store = KeyStore::new();
    let entry = PrivateKeyChain::new(key, thumbprint.as_bytes(), certificates);
    store.add_entry(name, p12_keystore::KeyStoreEntry::PrivateKeyChain(entry));
    let (encryption, mac, rounds) = match strength {
        Strength::Modern => {
            (EncryptionAlgorithm::PbeWithHmacSha256AndAes256, MacAlgorithm::HmacSha256, ITERATIONS)
        }
        Strength::Legacy => {
            (EncryptionAlgorithm::PbeWithShaAnd3KeyTripleDesCbc, MacAlgorithm::HmacSha1, 2_048)
        }
    };
    let writer = store.writer(password).encryption_algorithm(encryption).encryption_iterations(rounds);
    writer.mac_algorithm(mac).mac_iterations(rounds.min(10_000)).write().map_err(said)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::certificate::self_signed;
    use waypost_base::Timestamp;

    #[test]
    fn out_and_in_again() {
        let made = self_signed(&["mail.contoso.test"], 90, Timestamp(1_772_525_720_000)).unwrap();
        // Thousands of rounds are slow without optimisation: the legacy form shows the same.
        let bytes = write(&made, "mail", "geheim ü", Strength::Legacy).unwrap();
        let found = read(&bytes, "geheim ü").unwrap();
        assert_eq!(found.certificates, chain(&made.chain_pem).unwrap());
        assert_eq!(found.key.unwrap(), pkcs8(&made.key_pem).unwrap());
        let wrong = read(&bytes, "other").map(drop).unwrap_err().to_string();
        assert!(wrong.contains("password"), "{wrong}");
        assert!(read(b"nothing", "").is_err());
    }
}
