//! The files of a crate, found as the compiler finds them: from the root by `mod`.

use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item, ItemMod};

use crate::product::{Product, is_for_tests};
use crate::{Error, Package, root};

#[derive(Clone, Debug)]
pub struct File {
    /// Below the root of the workspace.
    pub path: PathBuf,
    /// Its module in the crate: empty for a root.
    pub module: Vec<String>,
    pub kind: Kind,
    /// Its text without the items that only tests compile.
    pub product: Product,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Product,
    /// Every `mod` that leads to it is compiled in tests only.
    Test,
    /// Its first line says `@generated`, as the generators of Rust code have agreed on.
    Generated,
}

impl File {
    /// The product code in it as the parser sees it.
    pub fn syntax(&self) -> Result<syn::File, Error> {
        syn::parse_file(&self.product.text).map_err(|source| Error::Parse { path: self.path.clone(), source })
    }
}

/// Every file of the package's library and programs. A module with a `#[path]` is left out.
pub fn files(package: &Package) -> Result<Vec<File>, Error> {
    let mut found = Vec::new();
    for first in package.root_files() {
        found.extend(files_from(first)?);
    }
    for file in &mut found {
        file.path = file.path.strip_prefix(root()).unwrap_or(&file.path).to_owned();
    }
    Ok(found)
}

/// Every file that the `mod`s of this one lead to, itself first.
pub fn files_from(first: &Path) -> Result<Vec<File>, Error> {
    let mut walk = Walk::default();
    walk.file(first, first.parent().unwrap_or(first), &[], false)?;
    Ok(walk.found)
}

#[derive(Default)]
struct Walk {
    found: Vec<File>,
}

impl Walk {
    /// `children` is the directory where the files of its child modules are.
    fn file(&mut self, path: &Path, children: &Path, module: &[String], tests: bool) -> Result<(), Error> {
        let text =
            fs::read_to_string(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
        let syntax =
            syn::parse_file(&text).map_err(|source| Error::Parse { path: path.to_owned(), source })?;
        let kind = if tests || is_for_tests(&syntax.attrs) {
            Kind::Test
        } else if text.lines().next().is_some_and(|line| line.contains("@generated")) {
            Kind::Generated
        } else {
            Kind::Product
        };
        let product = Product::of(&text, &syntax);
        self.found.push(File { path: path.to_owned(), module: module.to_owned(), kind, product });
        self.items(&syntax.items, children, module, kind == Kind::Test)
    }

    fn items(
        &mut self,
        items: &[Item],
        children: &Path,
        module: &[String],
        tests: bool,
    ) -> Result<(), Error> {
        let modules = items.iter().filter_map(|item| match item {
            Item::Mod(module) if !has_path(&module.attrs) => Some(module),
            _ => None,
        });
        for ItemMod { ident, attrs, content, .. } in modules {
            let tests = tests || is_for_tests(attrs);
            let name = ident.to_string();
            let below = children.join(&name);
            let module = [module, std::slice::from_ref(&name)].concat();
            if let Some((_, items)) = content {
                self.items(items, &below, &module, tests)?;
                continue;
            }
            let beside = children.join(format!("{name}.rs"));
            let path = if beside.is_file() { beside } else { below.join("mod.rs") };
            self.file(&path, &below, &module, tests)?;
        }
        Ok(())
    }
}

fn has_path(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| attribute.path().is_ident("path"))
}
