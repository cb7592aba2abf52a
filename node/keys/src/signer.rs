//! The key that a running node signs with, wherever it is.

use alloy::{
    consensus::SignableTransaction,
    network::TxSigner,
    primitives::Signature,
    signers::{Signer as _, local::PrivateKeySigner},
};
use alloy_primitives::{Address, B256};
use async_trait::async_trait;
use sublet_market::{Domain, Order, OrderSignature, SignatureError, Signed};
#[cfg(feature = "kms")]
use sublet_signer_kms::{KmsError, KmsKey};

/// What can keep the wallet from signing.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // Each variant is the error of the part it names.
pub enum SignError {
    #[error(transparent)]
    Local(#[from] alloy::signers::Error),
    #[cfg(feature = "kms")]
    #[error(transparent)]
    Kms(#[from] KmsError),
    #[error(transparent)]
    Form(#[from] SignatureError),
}

/// Signs orders and transactions. Clones use the same key; `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct WalletSigner(Key);

#[derive(Debug, Clone)]
enum Key {
    Local(PrivateKeySigner),
    #[cfg(feature = "kms")]
    Kms(KmsKey),
}

impl WalletSigner {
    /// The address of the key.
    #[must_use]
    pub fn address(&self) -> Address {
        match &self.0 {
            Key::Local(key) => key.address(),
            #[cfg(feature = "kms")]
            Key::Kms(key) => key.address(),
        }
    }

    /// Signs 32 bytes that are a hash already.
    ///
    /// # Errors
    /// A key that is here always signs; one in KMS needs KMS.
    pub async fn sign_digest(&self, digest: B256) -> Result<OrderSignature, SignError> {
        let bytes = match &self.0 {
            Key::Local(key) => key.sign_hash(&digest).await?.as_bytes(),
            #[cfg(feature = "kms")]
            Key::Kms(key) => key.sign(digest).await?,
        };
        Ok(OrderSignature::from_bytes(bytes)?)
    }

    /// Signs an order for a domain.
    ///
    /// # Errors
    /// As [`WalletSigner::sign_digest`].
    pub async fn sign_order<T: Order>(&self, order: T, domain: &Domain) -> Result<Signed<T>, SignError> {
        let signature = self.sign_digest(order.digest(domain)).await?;
        Ok(Signed::by(self.address(), order, signature))
    }
}

impl From<PrivateKeySigner> for WalletSigner {
    fn from(key: PrivateKeySigner) -> Self {
        Self(Key::Local(key))
    }
}

#[cfg(feature = "kms")]
impl From<KmsKey> for WalletSigner {
    fn from(key: KmsKey) -> Self {
        Self(Key::Kms(key))
    }
}

#[async_trait]
impl TxSigner<Signature> for WalletSigner {
    fn address(&self) -> Address {
        Self::address(self)
    }

    async fn sign_transaction(
        &self,
        tx: &mut dyn SignableTransaction<Signature>,
    ) -> alloy::signers::Result<Signature> {
        let signed = self.sign_digest(tx.signature_hash()).await.map_err(alloy::signers::Error::other)?;
        Signature::from_raw_array(signed.as_bytes()).map_err(Into::into)
    }
}

#[cfg(test)]
mod tests {
    use sublet_market::{Accept, OrderKey};

    use super::*;

    fn accept() -> Accept {
        Accept {
            bid: B256::repeat_byte(1),
            offer: B256::repeat_byte(2),
            provider: Address::repeat_byte(3),
            node: B256::repeat_byte(4),
            rate: 1_000,
            bond_seconds: 600,
            activate_within: 300,
            max_duration: 86_400,
            burn: false,
            settle_by: 1_000_100,
        }
    }

    #[tokio::test]
    async fn orders_are_signed_as_the_market_crate_signs_them() {
        let secret = [9; 32];
        let wallet = WalletSigner::from(PrivateKeySigner::from_slice(&secret).unwrap());
        let key = OrderKey::from_bytes(&secret).unwrap();
        assert_eq!(wallet.address(), key.address());
        let domain = Domain { chain_id: 31_337, market: Address::repeat_byte(9), salt: B256::repeat_byte(8) };
        // Both are deterministic by RFC 6979.
        let signed = wallet.sign_order(accept(), &domain).await.unwrap();
        assert_eq!(signed, key.sign(accept(), &domain));
        assert_eq!(signed.signer(&domain).unwrap(), wallet.address());
    }

    #[test]
    fn nothing_prints_the_secret() {
        let secret = [0xa7; 32];
        let wallet = WalletSigner::from(PrivateKeySigner::from_slice(&secret).unwrap());
        let shown = format!("{wallet:?}").to_lowercase();
        assert!(shown.contains(&hex::encode(wallet.address())), "{shown}");
        assert!(!shown.contains("a7a7a7") && !shown.contains("167, 167"), "{shown}");
    }
}
