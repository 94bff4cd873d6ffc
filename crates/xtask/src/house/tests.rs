use std::fs;

use super::circles_of;

/// The circles of a crate with these files, below its `src/`.
fn circles(files: &[(&str, &str)]) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let mut files = source::files_from(&directory.path().join("lib.rs")).expect("a crate");
    for file in &mut files {
        file.path = file.path.strip_prefix(directory.path()).expect("below it").to_owned();
    }
    circles_of(&files, Some("sample".to_owned())).expect("circles")
}

#[test]
fn two_files_that_use_each_other_are_a_circle_with_the_names_they_use() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B); pub fn f() {}"),
        ("b.rs", "use super::a; pub struct B; fn g() { a::f(); let _: Option<a::A> = None; }"),
    ]);
    assert_eq!(found, ["a circle of 2 files: a.rs, b.rs\n  a.rs -> b.rs: B\n  b.rs -> a.rs: A, f\n"]);
}

#[test]
fn a_re_export_is_followed_to_the_file_that_defines_the_item() {
    let through = [
        ("lib.rs", "mod a; mod b; mod c; pub use b::*; pub use c::C as D;"),
        ("a.rs", "use crate::{B, D}; pub struct A(B, D);"),
        ("b.rs", "pub struct B;"),
        ("c.rs", "pub struct C;"),
    ];
    assert_eq!(circles(&through), [""; 0], "the re-exporting file is no part of it");
    let mut back = through;
    back[2].1 = "pub struct B(crate::a::A);";
    back[3].1 = "pub struct C(crate::a::A);";
    assert_eq!(
        circles(&back),
        [
            "a circle of 3 files: a.rs, b.rs, c.rs\n  a.rs -> b.rs: B\n  a.rs -> c.rs: C\n  b.rs -> a.rs: A\n  c.rs -> a.rs: A\n"
        ]
    );
}

#[test]
fn a_parent_that_calls_its_child_which_takes_an_item_by_super_is_a_circle() {
    let found = circles(&[
        ("lib.rs", "mod x;"),
        ("x.rs", "mod y; pub struct Item; pub fn run() { y::run() }"),
        ("x/y.rs", "use super::Item; pub fn run() { let _ = Item; }"),
    ]);
    assert_eq!(found, ["a circle of 2 files: x.rs, x/y.rs\n  x.rs -> x/y.rs: run\n  x/y.rs -> x.rs: Item\n"]);
}

#[test]
fn what_only_tests_use_makes_no_circle() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "use crate::b::B; pub struct A(B);"),
        (
            "b.rs",
            "pub struct B; #[cfg(test)] mod tests { use crate::a::A; fn f() -> A { todo!() } }\n#[cfg(test)] mod more;",
        ),
        ("b/more.rs", "use crate::a::A; fn f() -> A { todo!() }"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn paths_in_macros_attributes_and_patterns_are_seen() {
    for user in [
        "fn f() { println!(\"{}\", crate::a::NAME); }",
        "use crate::a; fn f(x: u8) -> bool { matches!(x, a::NAME) }",
        "use crate::a::*; fn f(x: u8) { match x { NAME => {} _ => {} } }",
        "#[derive(Clone)] struct S { #[serde(with = \"crate::a::NAME\")] x: u8 }",
        "fn f() { sample::a::NAME; }",
    ] {
        let user = format!("{user} pub struct B;");
        let found = circles(&[
            ("lib.rs", "pub mod a; mod b;"),
            ("a.rs", "pub const NAME: u8 = 1; fn f(b: crate::b::B) {}"),
            ("b.rs", &user),
        ]);
        assert_eq!(
            found,
            ["a circle of 2 files: a.rs, b.rs\n  a.rs -> b.rs: B\n  b.rs -> a.rs: NAME\n"],
            "{user}"
        );
    }
}

#[test]
fn functions_of_a_type_come_from_the_file_of_their_impl() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub struct A; impl A { fn f(&self) { self.g(); Self::h() } }"),
        ("b.rs", "use crate::a::A; impl A { pub fn g(&self) {} pub fn h() {} }"),
    ]);
    assert_eq!(found, ["a circle of 2 files: a.rs, b.rs\n  a.rs -> b.rs: A::g, A::h\n  b.rs -> a.rs: A\n"]);
}

#[test]
fn a_variable_that_is_named_like_an_item_is_no_use_of_it() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "pub use crate::b::open; pub struct A; fn f() { let open = 1; g(open); h!(open); }"),
        ("b.rs", "use crate::a::A; pub fn open(a: A) {}"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_module_that_shares_its_name_with_a_function_is_no_use_of_it() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b; pub fn a(b: b::B) {}"),
        ("a.rs", "pub fn f() {}"),
        ("b.rs", "use crate::a; pub struct B; fn g() { a::f() }"),
    ]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn items_that_a_macro_defines_belong_to_the_file_that_calls_it() {
    let found = circles(&[
        ("lib.rs", "mod a; mod b;"),
        ("a.rs", "name_type! { Name, crate::b::check }"),
        ("b.rs", "use crate::a::Name; pub fn check(name: Name) {}"),
    ]);
    assert_eq!(found, ["a circle of 2 files: a.rs, b.rs\n  a.rs -> b.rs: check\n  b.rs -> a.rs: Name\n"]);
}
