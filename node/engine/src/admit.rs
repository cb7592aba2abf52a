//! Admission to the book: an order that is valid in itself is inserted if its maker's state on chain allows
//! it.

use std::ops::ControlFlow;

use alloy_primitives::{Address, B256};
use sublet_chain::ChainError;
use sublet_market::{Ignored, Maker, OrderMessage};

use super::Core;

/// Why an order does not count here and now.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// The book does not take it.
    #[error(transparent)]
    Ignored(#[from] Ignored),
    /// Its maker's account could not be read.
    #[error("the chain did not answer: {0}")]
    Chain(#[from] ChainError),
}

impl NotAdmitted {
    /// A stable name, for verdicts and metrics.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Ignored(reason) => reason.as_str(),
            Self::Chain(_) => "chain",
        }
    }
}

/// [`admit_checked`] where the chain need not be asked: its maker is known here, and so is who signs for it.
/// Otherwise the order comes back.
pub fn admit_at_once(
    core: &Core,
    message: OrderMessage,
    digest: B256,
    signer: Address,
) -> ControlFlow<Result<(), NotAdmitted>, OrderMessage> {
    let (maker, now) = (message.maker(), core.now());
    let mut book = core.market.book();
    let sure = |account: &Maker| signer == maker || account.free == 0 || book.is_operator(maker, signer);
    if !book.maker(&maker).is_some_and(sure) {
        return ControlFlow::Continue(message);
    }
    ControlFlow::Break(book.insert_checked(message, digest, signer, now).map(drop).map_err(NotAdmitted::from))
}

/// Puts an order whose signature recovers to `signer` into the book, or says why not.
pub async fn admit(core: &Core, message: OrderMessage, signer: Address) -> Result<(), NotAdmitted> {
    message.check().map_err(Ignored::from)?;
    let digest = message.digest(&core.chain.domain());
    admit_checked(core, message, digest, signer).await
}

/// [`admit`] for an order whose structure was checked and whose digest is known: what the network hands in.
pub async fn admit_checked(
    core: &Core,
    message: OrderMessage,
    digest: B256,
    signer: Address,
) -> Result<(), NotAdmitted> {
    let maker = message.maker();
    let known = core.market.book().maker(&maker).copied();
    let account = match known {
        Some(account) => account,
        None => core.refresh_maker(maker).await?,
    };
    // A stranger may name anybody its maker, for free: nothing more is asked about makers that have nothing.
    let unsure = signer != maker && account.free > 0 && !core.market.book().is_operator(maker, signer);
    if unsure && core.chain.is_operator(maker, signer).await? {
        core.market.book().set_operator(maker, signer, true);
    }
    // While the chain was asked about the signer, the maker may have been forgotten for want of an order here.
    let forgotten = core.market.book().maker(&maker).is_none();
    if forgotten {
        core.refresh_maker(maker).await?;
    }
    let now = core.now();
    core.market.book().insert_checked(message, digest, signer, now)?;
    Ok(())
}
