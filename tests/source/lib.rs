//! The Rust files of this workspace as the project's own rules see them: which files make up a crate, which of their lines
//! are product code, and what in them is code, a string or a comment. `cargo xtask house` and the tidy tests share it.

mod file;
mod packages;
mod product;
mod text;

pub use file::{File, Kind, files, files_from};
pub use packages::{Package, packages, root};
pub use product::Product;
pub use text::Text;

use std::io;
use std::path::PathBuf;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}:{}: not Rust", path.display(), source.span().start().line)]
    Parse { path: PathBuf, source: syn::Error },
    #[error("cannot run `cargo metadata`")]
    Cargo(#[source] io::Error),
    #[error("cannot read what `cargo metadata` printed: {printed}")]
    Metadata { printed: String, source: serde_json::Error },
}
