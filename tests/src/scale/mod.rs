//! What one peer needs at 1,000, 10,000 and 100,000 peers: a model ([`model`]), the measurements that it stands on
//! ([`measure`]), and the page that shows both ([`page`], `docs/scale.md`).

pub mod measure;
pub mod model;
pub mod page;
