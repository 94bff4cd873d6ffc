//! Which names each module of a crate has, and which file defines what a path leads to.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{TokenStream, TokenTree};
use source::File;
use syn::visit::Visit;
use syn::{ImplItem, Item, ItemUse, Type, UseTree};

/// The number of a module in `Names`.
pub type ModuleId = usize;

/// The module that defines an item, and the item's name there.
pub type ItemId = (ModuleId, String);

#[derive(Default)]
struct Module {
    file: usize,
    parent: Option<ModuleId>,
    children: BTreeMap<String, ModuleId>,
    items: BTreeSet<String>,
    /// Names in the calls of macros that stand where items do: some are the names of items.
    made_by_macros: BTreeSet<String>,
    imports: Vec<Import>,
}

pub struct Import {
    /// The name it has here: none for a trait that is imported as `_`.
    pub name: Option<String>,
    pub path: Vec<String>,
    pub glob: bool,
}

pub struct Names {
    modules: Vec<Module>,
    library: Option<(String, ModuleId)>,
    /// The files with an `impl` of the type that has a function of this name.
    functions: BTreeMap<(ItemId, String), BTreeSet<usize>>,
}

/// What a path leads to: an item, and the name after it, as in `Type::function`.
pub struct Found {
    pub item: ItemId,
    pub next: Option<String>,
}

impl Names {
    /// `files` are those of one crate in the order of their `mod`s; `library` is its name where its program uses its library.
    pub fn of(files: &[File], syntax: &[syn::File], library: Option<String>) -> Self {
        let mut names = Self { modules: Vec::new(), library: None, functions: BTreeMap::new() };
        let mut root = 0;
        for (number, (file, syntax)) in files.iter().zip(syntax).enumerate() {
            let module = match file.module.split_last() {
                None => {
                    root = names.add(number, None);
                    if file.path.ends_with("lib.rs") {
                        names.library = library.clone().map(|name| (name, root));
                    }
                    root
                }
                Some((name, above)) => {
                    let parent =
                        above.iter().fold(root, |module, name| names.child(module, name).unwrap_or(module));
                    names.add_child(number, parent, name)
                }
            };
            names.enter(module, &syntax.items);
        }
        for (number, syntax) in syntax.iter().enumerate() {
            let module = names.module_of_file(number);
            names.enter_functions(module, &syntax.items);
        }
        names
    }

    fn add(&mut self, file: usize, parent: Option<ModuleId>) -> ModuleId {
        self.modules.push(Module { file, parent, ..Module::default() });
        self.modules.len() - 1
    }

    fn add_child(&mut self, file: usize, parent: ModuleId, name: &str) -> ModuleId {
        let module = self.add(file, Some(parent));
        self.modules[parent].children.insert(name.to_owned(), module);
        module
    }

    pub fn child(&self, module: ModuleId, name: &str) -> Option<ModuleId> {
        self.modules[module].children.get(name).copied()
    }

    pub fn file(&self, module: ModuleId) -> usize {
        self.modules[module].file
    }

    /// The module that is the whole file: the first one that was made of it.
    pub fn module_of_file(&self, file: usize) -> ModuleId {
        self.modules.iter().position(|module| module.file == file).unwrap_or_default()
    }

    /// The files that define the function of a type.
    pub fn functions(&self, item: &ItemId, function: &str) -> impl Iterator<Item = usize> {
        self.functions.get(&(item.clone(), function.to_owned())).into_iter().flatten().copied()
    }

    fn enter(&mut self, module: ModuleId, items: &[Item]) {
        for item in items {
            let name = match item {
                Item::Const(item) => &item.ident,
                Item::Enum(item) => &item.ident,
                Item::Fn(item) => &item.sig.ident,
                Item::Static(item) => &item.ident,
                Item::Struct(item) => &item.ident,
                Item::Trait(item) => &item.ident,
                Item::TraitAlias(item) => &item.ident,
                Item::Type(item) => &item.ident,
                Item::Union(item) => &item.ident,
                Item::Macro(item) => match &item.ident {
                    Some(name) => name,
                    None => {
                        capitalised(&item.mac.tokens, &mut self.modules[module].made_by_macros);
                        continue;
                    }
                },
                Item::Mod(item) => {
                    if let Some((_, items)) = &item.content {
                        let inner = self.add_child(self.file(module), module, &item.ident.to_string());
                        self.enter(inner, items);
                    }
                    continue;
                }
                _ => continue,
            };
            self.modules[module].items.insert(name.to_string());
        }
        let mut uses = Uses(Vec::new());
        items.iter().filter(|item| !matches!(item, Item::Mod(_))).for_each(|item| uses.visit_item(item));
        self.modules[module].imports = uses.0;
    }

    fn enter_functions(&mut self, module: ModuleId, items: &[Item]) {
        for item in items {
            match item {
                Item::Mod(item) => {
                    let inner = self.child(module, &item.ident.to_string());
                    if let (Some(inner), Some((_, items))) = (inner, &item.content) {
                        self.enter_functions(inner, items);
                    }
                }
                Item::Impl(block) if block.trait_.is_none() => {
                    let Some(this) = self.type_of(module, &block.self_ty) else { continue };
                    let file = self.file(module);
                    for item in &block.items {
                        let name = match item {
                            ImplItem::Fn(item) => &item.sig.ident,
                            ImplItem::Const(item) => &item.ident,
                            _ => continue,
                        };
                        self.functions.entry((this.clone(), name.to_string())).or_default().insert(file);
                    }
                }
                _ => {}
            }
        }
    }

    /// The type of this crate that an `impl` is for.
    pub fn type_of(&self, module: ModuleId, this: &Type) -> Option<ItemId> {
        let Type::Path(this) = this else { return None };
        self.resolve(module, &segments(&this.path)).into_iter().next().map(|found| found.item)
    }

    /// The items of this crate that the path leads to from this module.
    pub fn resolve(&self, module: ModuleId, path: &[String]) -> Vec<Found> {
        self.follow(module, path, &mut BTreeSet::new()).1
    }

    pub fn is_module(&self, module: ModuleId, path: &[String]) -> bool {
        !self.follow(module, path, &mut BTreeSet::new()).0.is_empty()
    }

    /// The modules and the items that a path leads to. `seen` ends the search where imports lead back to themselves.
    fn follow(&self, from: ModuleId, path: &[String], seen: &mut Seen) -> (Vec<ModuleId>, Vec<Found>) {
        let Some((head, mut rest)) = path.split_first() else { return (vec![from], Vec::new()) };
        let mut items = Vec::new();
        let mut modules = match head.as_str() {
            "crate" => vec![self.root(from)],
            "self" => vec![from],
            "super" => self.modules[from].parent.into_iter().collect(),
            name => {
                let modules = self.step(from, name, rest.first(), seen, &mut items);
                let library =
                    self.library.as_ref().filter(|(library, _)| library == name && modules.is_empty());
                library.map(|(_, root)| vec![*root]).unwrap_or(modules)
            }
        };
        while let Some((name, after)) = rest.split_first() {
            let mut inner = Vec::new();
            for module in modules {
                if name == "super" {
                    inner.extend(self.modules[module].parent);
                } else {
                    inner.extend(self.step(module, name, after.first(), seen, &mut items));
                }
            }
            (modules, rest) = (inner, after);
        }
        (modules, items)
    }

    /// One name of a path: the modules that it means, and the items where the path ends or goes into a type.
    fn step(
        &self,
        module: ModuleId,
        name: &str,
        next: Option<&String>,
        seen: &mut Seen,
        items: &mut Vec<Found>,
    ) -> Vec<ModuleId> {
        let (modules, found) = self.look_up(module, name, seen);
        // A module and a function may share a name: only the module has something inside.
        if next.is_none() || modules.is_empty() {
            items.extend(found.into_iter().map(|item| Found { item, next: next.cloned() }));
        }
        modules
    }

    fn root(&self, module: ModuleId) -> ModuleId {
        self.modules[module].parent.map_or(module, |parent| self.root(parent))
    }

    /// What a single name means in a module: as a module, and as items.
    fn look_up(&self, at: ModuleId, name: &str, seen: &mut Seen) -> (Vec<ModuleId>, Vec<ItemId>) {
        if !seen.insert((at, name.to_owned())) {
            return (Vec::new(), Vec::new());
        }
        let module = &self.modules[at];
        let mut modules: Vec<ModuleId> = module.children.get(name).copied().into_iter().collect();
        let mut items = Vec::new();
        if module.items.contains(name) {
            items.push((at, name.to_owned()));
        }
        for import in module.imports.iter().filter(|import| import.name.as_deref() == Some(name)) {
            let (below, found) = self.follow(at, &import.path, seen);
            modules.extend(below);
            items.extend(found.into_iter().map(|found| found.item));
        }
        if modules.is_empty() && items.is_empty() && module.made_by_macros.contains(name) {
            items.push((at, name.to_owned()));
        }
        if modules.is_empty() && items.is_empty() {
            for import in module.imports.iter().filter(|import| import.glob) {
                for below in self.follow(at, &import.path, seen).0 {
                    let (below, found) = self.look_up(below, name, seen);
                    modules.extend(below);
                    items.extend(found);
                }
            }
        }
        (modules, items)
    }
}

type Seen = BTreeSet<(ModuleId, String)>;

struct Uses(Vec<Import>);

impl<'ast> Visit<'ast> for Uses {
    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.0.extend(imports(item));
    }
}

/// Each name that a `use` brings in. `::name` is another crate.
pub fn imports(item: &ItemUse) -> Vec<Import> {
    let mut found = Vec::new();
    if item.leading_colon.is_none() {
        leaves(&item.tree, &[], &mut found);
    }
    found
}

fn leaves(tree: &UseTree, above: &[String], found: &mut Vec<Import>) {
    let (name, last) = match tree {
        UseTree::Path(tree) => return leaves(&tree.tree, &with(above, &tree.ident.to_string()), found),
        UseTree::Group(tree) => return tree.items.iter().for_each(|tree| leaves(tree, above, found)),
        UseTree::Glob(_) => return found.push(Import { name: None, path: above.to_owned(), glob: true }),
        UseTree::Name(tree) => (tree.ident.to_string(), tree.ident.to_string()),
        UseTree::Rename(tree) => (tree.rename.to_string(), tree.ident.to_string()),
    };
    // `a::{self}` is `a`.
    let path = if last == "self" && !above.is_empty() { above.to_owned() } else { with(above, &last) };
    let name = if name == "self" { path.last().cloned() } else { Some(name) };
    found.push(Import { name: name.filter(|name| name != "_"), path, glob: false });
}

fn with(above: &[String], name: &str) -> Vec<String> {
    above.iter().cloned().chain([name.to_owned()]).collect()
}

/// The names in a path; none for one that begins with `::`, which leads to another crate.
pub fn segments(path: &syn::Path) -> Vec<String> {
    if path.leading_colon.is_some() {
        return Vec::new();
    }
    path.segments.iter().map(|segment| segment.ident.to_string()).collect()
}

fn capitalised(tokens: &TokenStream, found: &mut BTreeSet<String>) {
    for token in tokens.clone() {
        match token {
            TokenTree::Group(group) => capitalised(&group.stream(), found),
            TokenTree::Ident(name) if name.to_string().starts_with(char::is_uppercase) => {
                found.insert(name.to_string());
            }
            _ => {}
        }
    }
}
