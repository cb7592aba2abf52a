//! The signer against a KMS that is as strict as AWS (tests/moto). Nothing is skipped: a host without python3
//! fails with the remedy.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests")]

mod kms;
