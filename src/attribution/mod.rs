//! Attribution: which tokens a student's answer rests on, by several methods, how far that is to be believed, and at which
//! layer the answer can be read.

pub mod agreement;
mod attention;
mod attributor;
pub mod compare;
pub mod example;
pub mod export;
pub mod faithfulness;
mod gradients;
pub mod lens;
pub mod method;
pub mod quadrature;
pub mod query;
pub mod ranking;
pub mod room;
pub mod start;
pub mod units;
pub mod variants;
pub mod what_if;

pub use attributor::{Attributor, TOGETHER};
pub use example::{Asked, AttributionError, ExampleAttribution, Over, ScoredToken, Target};
pub use method::{Means, Method};
pub use query::Query;
pub use room::Room;
