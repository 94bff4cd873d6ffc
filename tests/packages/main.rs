//! What the packages contain, and whether a fresh host runs what it installed. `cargo xtask package` runs these.

mod fresh_host;

use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::lab::cmd::Cmd;
use tempfile::TempDir;

const CONFIG: &str = "/etc/nightshift/nightshift.toml";

fn deb() -> PathBuf {
    given("NIGHTSHIFT_DEB")
}

fn rpm() -> PathBuf {
    given("NIGHTSHIFT_RPM")
}

fn given(variable: &str) -> PathBuf {
    env::var_os(variable)
        .unwrap_or_else(|| panic!("{variable} must name a package: run cargo xtask package"))
        .into()
}

fn query(format: &str) -> String {
    query_of(&rpm(), format)
}

fn query_of(rpm: &Path, format: &str) -> String {
    let query = Cmd::new("rpm").args(["--query", "--package", "--queryformat", format]).arg(rpm);
    String::from_utf8(query.run().unwrap().stdout).unwrap()
}

/// Mode, owner and path of each file; directories are the host's own.
fn files_of_the_deb() -> BTreeSet<String> {
    let listing = Cmd::new("dpkg-deb").arg("--contents").arg(deb()).run().unwrap().text();
    let files = listing.lines().filter(|line| line.starts_with('-'));
    let file = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let path = words[5].trim_start_matches('.');
        format!("{} {} {path}", words[0], words[1])
    };
    files.map(file).collect()
}

fn files_of_the_rpm() -> BTreeSet<String> {
    let files = query("[%{FILEMODES:perms} %{FILEUSERNAME}/%{FILEGROUPNAME} %{FILENAMES}\n]");
    files.lines().map(str::to_owned).collect()
}

#[test]
fn both_packages_contain_the_same_files_each_at_the_places_of_its_distributions() {
    let (deb, rpm) = (files_of_the_deb(), files_of_the_rpm());
    let only = |one: &BTreeSet<String>, other: &BTreeSet<String>| -> Vec<String> {
        one.difference(other).map(|file| file.split_whitespace().last().unwrap().to_owned()).collect()
    };
    assert_eq!(
        only(&deb, &rpm),
        [
            "/usr/share/doc/nightshift/LICENSE-APACHE",
            "/usr/share/doc/nightshift/LICENSE-MIT",
            "/usr/share/doc/nightshift/copyright",
            "/usr/share/zsh/vendor-completions/_nightshift",
        ]
    );
    assert_eq!(
        only(&rpm, &deb),
        [
            "/usr/share/licenses/nightshift/LICENSE-APACHE",
            "/usr/share/licenses/nightshift/LICENSE-MIT",
            "/usr/share/zsh/site-functions/_nightshift",
        ]
    );
    for file in deb.union(&rpm) {
        let program = file.ends_with(" /usr/bin/nightshift");
        let expected = if program { "-rwxr-xr-x root/root " } else { "-rw-r--r-- root/root " };
        assert!(file.starts_with(expected), "{file}");
    }
    for file in ["/lib/systemd/system/nightshift.service", "/share/man/man5/nightshift.toml.5"] {
        assert!(deb.iter().any(|found| found.ends_with(file)), "{file} is missing in {deb:#?}");
    }
}

#[test]
fn an_upgrade_keeps_an_edited_config() {
    let conffiles = Cmd::new("dpkg-deb").arg("--info").arg(deb()).arg("conffiles").run().unwrap();
    assert_eq!(conffiles.text(), CONFIG);
    // 0x10 is RPMFILE_NOREPLACE, 0x1 is RPMFILE_CONFIG.
    let flags = query("[%{FILEFLAGS:hex} %{FILENAMES}\n]");
    let config: Vec<&str> = flags.lines().filter(|line| line.starts_with("11 ")).collect();
    assert_eq!(config, [format!("11 {CONFIG}")], "{flags}");
}

#[test]
fn each_package_runs_the_scripts_of_the_source_tree() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("packaging");
    let text = |file: &str| fs::read_to_string(source.join(file)).unwrap();
    for script in ["postinst", "prerm", "postrm"] {
        let packed = Cmd::new("dpkg-deb").arg("--info").arg(deb()).arg(script).run().unwrap();
        assert_eq!(String::from_utf8_lossy(&packed.stdout), text(&format!("deb/{script}")), "{script}");
    }
    for (tag, file) in [("POSTIN", "post.sh"), ("PREUN", "preun.sh"), ("POSTUN", "postun.sh")] {
        assert_eq!(
            query(&format!("%{{{tag}}}")).trim_end(),
            text(&format!("rpm/{file}")).trim_end(),
            "{file}"
        );
        assert_eq!(query(&format!("%{{{tag}PROG}}")), "/bin/sh", "{file}");
    }
}

#[test]
fn both_packages_require_what_the_program_and_its_units_need() {
    let depends = Cmd::new("dpkg-deb").arg("--field").arg(deb()).arg("Depends").run().unwrap().text();
    let requires = query("[%{REQUIRES} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]");
    let glibc = depends.split("libc6 (>= ").nth(1).and_then(|rest| rest.split(')').next()).unwrap();
    assert!(glibc.starts_with("2."), "{depends}");
    for needed in [&format!("libc.so.6(GLIBC_{glibc})(64bit)"), "openssh-server", "systemd >= 247", "tzdata"]
    {
        assert!(requires.lines().any(|line| line.trim_end() == needed), "{needed} in {requires}");
    }
    for needed in ["openssh-server", "systemd (>= 247)", "tzdata"] {
        assert!(depends.split(", ").any(|depend| depend == needed), "{needed} in {depends}");
    }
}

#[test]
fn the_program_runs_on_el7s_c_library_and_names_the_crates_that_it_is_built_of() {
    let root = tempfile::tempdir().unwrap();
    Cmd::new("dpkg-deb").arg("--extract").args([deb(), root.path().to_owned()]).run().unwrap();
    let program = root.path().join("usr/bin/nightshift");
    let symbols = Cmd::new("objdump").arg("--dynamic-syms").arg(&program).run().unwrap().text();
    let minor = |word: &str| -> Option<u32> {
        word.trim_matches(['(', ')']).strip_prefix("GLIBC_2.")?.split('.').next()?.parse().ok()
    };
    let newest = symbols.split_whitespace().filter_map(minor).max();
    assert_eq!(newest, Some(17), "{symbols}");

    let listed = deb().with_file_name("nightshift.cdx.json");
    let listed = fs::read_to_string(&listed).unwrap();
    let components: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let names: BTreeSet<&str> =
        components["components"].as_array().unwrap().iter().filter_map(|it| it["name"].as_str()).collect();
    for name in ["age", "russh", "tokio", "nightshift-core"] {
        assert!(names.contains(name), "{name} is missing in {names:?}");
    }
}

/// Debian's rpm has no database of what is installed here, so dependencies are not checked; its scripts would change the
/// users of this machine.
#[test]
fn the_rpm_unpacks_into_an_empty_root_and_its_program_starts() {
    let root = unpacked(&rpm());
    for file in files_of_the_rpm() {
        let path = file.split_whitespace().last().unwrap().trim_start_matches('/').to_owned();
        assert!(root.path().join(&path).is_file(), "/{path} was not installed");
    }
    let version = Cmd::new(root.path().join("usr/bin/nightshift")).arg("--version").run().unwrap();
    assert_eq!(version.text(), concat!("nightshift ", env!("CARGO_PKG_VERSION")));
}

fn unpacked(rpm: &Path) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    let install = Cmd::new("rpm").args(["--install", "--nodeps", "--noscripts", "--root"]);
    install.args([root.path(), rpm]).timeout(Duration::from_secs(60)).run().unwrap();
    root
}

#[test]
fn the_rpm_for_enterprise_linux_7_has_its_units_and_no_socket_of_metrics() {
    let el7 = given("NIGHTSHIFT_EL7_RPM");
    assert_eq!(query_of(&el7, "%{RELEASE}"), "1.el7");
    let requires = query_of(&el7, "[%{REQUIRES} %{REQUIREFLAGS:depflags} %{REQUIREVERSION}\n]");
    assert!(requires.lines().any(|line| line.trim_end() == "systemd >= 219"), "{requires}");
    let names = |rpm: &Path| -> BTreeSet<String> {
        query_of(rpm, "[%{FILENAMES}\n]").lines().map(str::to_owned).collect()
    };
    let (of_both, own) = (names(&rpm()), names(&el7));
    let left_out: Vec<&String> = of_both.difference(&own).collect();
    let units = ["nightshift-metrics.socket", "nightshift-metrics@.service"];
    assert_eq!(
        left_out,
        units.map(|unit| format!("/usr/lib/systemd/system/{unit}")).iter().collect::<Vec<_>>()
    );
    let root = unpacked(&el7);
    let unit = fs::read_to_string(root.path().join("usr/lib/systemd/system/nightshift.service")).unwrap();
    assert!(unit.contains("\nExecStart=/usr/bin/nightshift daemon --user nightshift\n"), "{unit}");
    for script in ["POSTIN", "PREUN", "POSTUN"] {
        let text = query_of(&el7, &format!("%{{{script}}}"));
        assert!(text.contains("nightshift") && !text.contains("nightshift-metrics"), "{text}");
    }
}
