//! Which items of other files each file of a crate uses.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use source::File;
use syn::visit::{self, Visit};
use syn::{Expr, Meta, Visibility};

use super::names::{ItemId, ModuleId, Names, imports, segments};

/// From the number of one file to that of another: the names that the first uses.
pub type Arrows = BTreeMap<(usize, usize), BTreeSet<String>>;

/// The arrows between the files of one crate, numbered as they are given.
pub fn arrows(files: &[File], syntax: &[syn::File], library: Option<String>) -> Arrows {
    let names = Names::of(files, syntax, library);
    let mut arrows = Arrows::new();
    for (file, syntax) in syntax.iter().enumerate() {
        let module = names.module_of_file(file);
        Uses { names: &names, file, module, this: None, locals: BTreeSet::new(), arrows: &mut arrows }
            .visit_file(syntax);
    }
    arrows
}

struct Uses<'a> {
    names: &'a Names,
    file: usize,
    module: ModuleId,
    /// The type whose `impl` this is.
    this: Option<ItemId>,
    /// The variables of the function.
    locals: BTreeSet<String>,
    arrows: &'a mut Arrows,
}

impl Uses<'_> {
    fn arrow(&mut self, to: usize, name: String) {
        if to != self.file {
            self.arrows.entry((self.file, to)).or_default().insert(name);
        }
    }

    fn path(&mut self, path: &[String]) {
        if let [this, function, ..] = path
            && this == "Self"
        {
            return self.function_of_this(function);
        }
        for found in self.names.resolve(self.module, path) {
            let (module, name) = &found.item;
            self.arrow(self.names.file(*module), name.clone());
            if let Some(function) = &found.next {
                self.functions(&found.item, function);
            }
        }
    }

    fn function_of_this(&mut self, function: &str) {
        if let Some(this) = self.this.clone() {
            self.functions(&this, function);
        }
    }

    fn functions(&mut self, item: &ItemId, function: &str) {
        let names = self.names;
        for file in names.functions(item, function) {
            self.arrow(file, format!("{}::{function}", item.1));
        }
    }

    /// A macro's tokens are not parsed: what looks like a path is taken for one, and so are a capitalised name and a call.
    fn tokens(&mut self, tokens: &TokenStream) {
        let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let mark = |at: usize, mark: char| matches!(tokens.get(at), Some(TokenTree::Punct(p)) if p.as_char() == mark);
        let name = |at: usize| match tokens.get(at) {
            Some(TokenTree::Ident(name)) => Some(name.to_string()),
            _ => None,
        };
        let mut at = 0;
        while at < tokens.len() {
            if let Some(TokenTree::Group(group)) = tokens.get(at) {
                self.tokens(&group.stream());
            }
            let Some(first) = name(at) else {
                at += 1;
                continue;
            };
            let field = at > 0 && mark(at - 1, '.');
            let mut path = vec![first];
            at += 1;
            while mark(at, ':')
                && mark(at + 1, ':')
                && let Some(next) = name(at + 2)
            {
                path.push(next);
                at += 3;
            }
            let called = matches!(tokens.get(at), Some(TokenTree::Group(_)));
            let plain = path.iter().all(|name| !name.starts_with(char::is_uppercase));
            if !field && (path.len() > 1 || called || !plain) {
                self.path(&path);
            }
            if path == ["self"] && mark(at, '.') && matches!(tokens.get(at + 2), Some(TokenTree::Group(_))) {
                name(at + 1).iter().for_each(|function| self.function_of_this(function));
            }
        }
    }

    fn function(
        &mut self,
        signature: &syn::Signature,
        body: Option<&syn::Block>,
        visit: impl FnOnce(&mut Self),
    ) {
        let mut locals = Locals(self.locals.clone());
        locals.visit_signature(signature);
        body.iter().for_each(|body| locals.visit_block(body));
        let outer = std::mem::replace(&mut self.locals, locals.0);
        visit(self);
        self.locals = outer;
    }
}

impl<'ast> Visit<'ast> for Uses<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if let (Some((_, items)), Some(inner)) =
            (&item.content, self.names.child(self.module, &item.ident.to_string()))
        {
            let outer = std::mem::replace(&mut self.module, inner);
            items.iter().for_each(|item| self.visit_item(item));
            self.module = outer;
        }
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        // Anything but a private `use` hands the name on: who takes it from here uses the file that defines it.
        if !matches!(item.vis, Visibility::Inherited) {
            return;
        }
        for import in imports(item).iter().filter(|import| !import.glob) {
            // What shares its name with a module may not be meant: where it is, it is used below.
            if !self.names.is_module(self.module, &import.path) {
                self.path(&import.path);
            }
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let this = self.names.type_of(self.module, &item.self_ty);
        let outer = std::mem::replace(&mut self.this, this);
        visit::visit_item_impl(self, item);
        self.this = outer;
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.function(&item.sig, Some(&item.block), |uses| visit::visit_item_fn(uses, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.function(&item.sig, Some(&item.block), |uses| visit::visit_impl_item_fn(uses, item));
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.function(&item.sig, item.default.as_ref(), |uses| visit::visit_trait_item_fn(uses, item));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path(&segments(path));
        visit::visit_path(self, path);
    }

    fn visit_expr_path(&mut self, expression: &'ast syn::ExprPath) {
        let variable =
            expression.path.get_ident().is_some_and(|name| self.locals.contains(&name.to_string()));
        if !variable {
            visit::visit_expr_path(self, expression);
        }
    }

    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        if is_constant(pattern) {
            self.path(&[pattern.ident.to_string()]);
        }
        visit::visit_pat_ident(self, pattern);
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        if matches!(&*call.receiver, Expr::Path(receiver) if receiver.path.is_ident("self")) {
            self.function_of_this(&call.method.to_string());
        }
        visit::visit_expr_method_call(self, call);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(&call.tokens);
        visit::visit_macro(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if let Meta::List(list) = &attribute.meta {
            self.tokens(&list.tokens);
            quoted_paths(&list.tokens).iter().for_each(|path| self.path(&segments(path)));
        }
        visit::visit_attribute(self, attribute);
    }
}

/// A path in a string, as in `#[serde(with = "crate::hex")]`.
fn quoted_paths(tokens: &TokenStream) -> Vec<syn::Path> {
    let strings = tokens.clone().into_iter().filter_map(|token| match token {
        TokenTree::Literal(literal) => syn::parse_str::<syn::LitStr>(&literal.to_string()).ok(),
        _ => None,
    });
    strings.filter_map(|string| string.parse().ok()).collect()
}

/// A name in a pattern that refers to a constant and is not a new variable.
fn is_constant(pattern: &syn::PatIdent) -> bool {
    pattern.ident.to_string().starts_with(char::is_uppercase)
}

struct Locals(BTreeSet<String>);

impl<'ast> Visit<'ast> for Locals {
    fn visit_pat_ident(&mut self, pattern: &'ast syn::PatIdent) {
        if !is_constant(pattern) {
            self.0.insert(pattern.ident.to_string());
        }
        visit::visit_pat_ident(self, pattern);
    }
}
