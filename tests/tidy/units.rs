//! What the units allow: the daemon reads root's files and nothing more, and root makes, changes and uses nothing in a directory
//! that another user can write to.

use std::fs;

const REQUIRED: &[&str] = &[
    "User=nightshift",
    "CapabilityBoundingSet=CAP_DAC_READ_SEARCH",
    "AmbientCapabilities=CAP_DAC_READ_SEARCH",
    "NoNewPrivileges=yes",
    "ProtectSystem=strict",
    "RestrictSUIDSGID=yes",
];

/// The lines that are missing, and those that allow more.
fn faults(unit: &str) -> Vec<String> {
    let missing = REQUIRED.iter().filter(|required| !unit.lines().any(|line| line == **required));
    let missing = missing.map(|required| format!("missing: {required}"));
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.to_owned());
    let more = unit.lines().filter(|line| {
        !REQUIRED.contains(line)
            && REQUIRED.iter().any(|required| key(line).is_some() && key(required) == key(line))
    });
    missing.chain(more.map(|line| format!("allows more: {line}"))).collect()
}

#[test]
fn the_daemon_may_read_and_nothing_more() {
    let unit =
        fs::read_to_string(source::root().join("systemd/nightshift.service")).expect("the daemon's unit");
    assert_eq!(faults(&unit), [""; 0]);
    assert_eq!(faults(&unit.replace("NoNewPrivileges=yes\n", "")).len(), 1);
    assert_eq!(faults(&(unit + "AmbientCapabilities=CAP_KILL\n")).len(), 1);
}

/// A file of `systemd/`.
struct File {
    name: String,
    text: String,
}

impl File {
    fn words<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let values =
            self.text.lines().filter_map(move |line| line.trim().strip_prefix(key)?.strip_prefix('='));
        values.flat_map(|value| value.split_whitespace().map(|word| word.trim_start_matches('-')))
    }

    fn is(&self, kind: &str) -> bool {
        self.name.ends_with(kind)
    }

    fn user(&self) -> &str {
        self.words("User").last().unwrap_or("root")
    }
}

/// The user who can write to each directory that is not root's: by the lines of tmpfiles.d(5), and the units' state directories.
struct Owners(Vec<(String, String)>);

impl Owners {
    fn of(files: &[File]) -> Self {
        let mut owners = Vec::new();
        for file in files {
            owners.extend(tmpfiles(file));
            for name in file.words("StateDirectory") {
                owners.push((format!("/var/lib/{name}"), file.user().to_owned()));
            }
        }
        Self(owners)
    }

    /// The owner of a path, or of the nearest directory above it that has one.
    fn of_path(&self, path: &str) -> &str {
        let within = |directory: &str| {
            path == directory || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
        };
        let nearest = self.0.iter().filter(|(directory, _)| within(directory));
        nearest.max_by_key(|(directory, _)| directory.len()).map_or("root", |(_, owner)| owner)
    }

    fn of_parent(&self, path: &str) -> &str {
        self.of_path(path.rsplit_once('/').map_or("/", |(parent, _)| parent))
    }
}

/// Each path of a file for systemd-tmpfiles, with its owner.
fn tmpfiles(file: &File) -> Vec<(String, String)> {
    let lines = file.text.lines().filter(|line| file.is(".tmpfiles") && !line.starts_with('#'));
    let fields = lines.map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter_map(|fields| Some((fields.get(1)?.to_string(), fields.get(3)?.to_string()))).collect()
}

/// What lets another user change what root makes, changes or starts.
fn openings(files: &[File]) -> Vec<String> {
    let owners = Owners::of(files);
    let mut found = Vec::new();
    for file in files {
        let mut refuse = |what: String| found.push(format!("{}: {what}", file.name));
        for socket in file.words("ListenStream") {
            if owners.of_parent(socket) != "root" {
                refuse(format!("root makes {socket} in a directory of {}", owners.of_parent(socket)));
            }
        }
        for mode in file.words("DirectoryMode").filter(|mode| *mode != "0755") {
            refuse(format!("a socket's directory has the mode {mode}"));
        }
        for (path, owner) in tmpfiles(file) {
            let above = owners.of_parent(&path);
            if above != "root" && above != owner {
                refuse(format!("{path} of {owner} is in a directory of {above}"));
            }
        }
        if file.is(".service") {
            service(file, &owners).into_iter().for_each(refuse);
        }
    }
    found
}

fn service(file: &File, owners: &Owners) -> Vec<String> {
    let mut found = Vec::new();
    let read_only = file.words("ReadOnlyPaths").any(|path| path == "/run")
        || file.words("TemporaryFileSystem").any(|path| path == "/run:ro");
    if !file.words("ProtectSystem").any(|how| how == "strict") || !read_only {
        found.push("/run is writable: set ProtectSystem=strict and ReadOnlyPaths=/run".to_owned());
    }
    for path in file.words("ReadWritePaths").chain(file.words("BindPaths")) {
        if owners.of_path(path) != file.user() {
            found.push(format!("{} writes to {path} of {}", file.user(), owners.of_path(path)));
        }
    }
    for path in file.words("StateDirectory").map(|name| format!("/var/lib/{name}")) {
        if owners.of_parent(&path) != "root" {
            found.push(format!("root makes {path} in a directory of {}", owners.of_parent(&path)));
        }
    }
    let starts = file.text.lines().filter(|line| line.starts_with("Exec"));
    for program in starts.filter_map(|line| line.split_once('=')?.1.split_whitespace().next()) {
        if !program.starts_with("/usr/bin/") {
            found.push(format!("starts {program}"));
        }
    }
    found
}

/// The limits that a service lacks: without them, one that a hostile input makes grow takes the host with it.
fn unlimited(files: &[File]) -> Vec<String> {
    let services = files.iter().filter(|file| file.is(".service"));
    let lacks = |file: &File, key: &str| {
        file.words(key)
            .last()
            .is_none_or(|value| value == "infinity")
            .then(|| format!("{}: {key}", file.name))
    };
    services
        .flat_map(|file| ["MemoryMax", "TasksMax"].into_iter().filter_map(|key| lacks(file, key)))
        .collect()
}

#[test]
fn each_service_has_limits_of_memory_and_tasks() {
    assert_eq!(unlimited(&units()), [""; 0]);
    let sample = |text: &str| vec![File { name: "a.service".to_owned(), text: text.to_owned() }];
    assert_eq!(unlimited(&sample("MemoryMax=1G\nTasksMax=infinity\n")), ["a.service: TasksMax"]);
    assert_eq!(unlimited(&sample("TasksMax=64\n")), ["a.service: MemoryMax"]);
}

fn units() -> Vec<File> {
    let entries = fs::read_dir(source::root().join("systemd")).expect("the units").flatten();
    let mut units: Vec<File> = entries
        .map(|entry| File {
            name: entry.file_name().to_string_lossy().into_owned(),
            text: fs::read_to_string(entry.path()).expect("a unit"),
        })
        .collect();
    units.sort_by(|one, other| one.name.cmp(&other.name));
    assert!(units.len() > 8, "the walk went wrong: {} files", units.len());
    units
}

#[test]
fn no_other_user_can_write_where_root_makes_changes_or_starts_something() {
    assert_eq!(openings(&units()), [""; 0]);
    let safe = "ProtectSystem=strict\nReadOnlyPaths=/run\nExecStart=/usr/bin/nightshift daemon\n";
    for (name, sample) in [
        ("a.socket", "ListenStream=/run/nightshift/a.sock\n".to_owned()),
        ("a.socket", "ListenStream=/run/nightshift/deeper/a.sock\n".to_owned()),
        ("a.socket", "ListenStream=/run/a/a.sock\nDirectoryMode=0775\n".to_owned()),
        (
            "a.tmpfiles",
            "d /var/lib/nightshift/scratch/drill 0700 nightshift-drill nightshift-drill\n".to_owned(),
        ),
        ("a.tmpfiles", "f /run/nightshift/lock 0600 root root\n".to_owned()),
        ("a.service", safe.replace("ReadOnlyPaths=/run\n", "")),
        ("a.service", safe.replace("strict", "full")),
        ("a.service", format!("{safe}ReadWritePaths=/var/lib/nightshift\n")),
        ("a.service", format!("{safe}StateDirectory=nightshift/a\n")),
        ("a.service", format!("{safe}User=nightshift\nReadWritePaths=-/etc/kubernetes\n")),
        ("a.service", format!("{safe}ExecStopPost=/var/lib/nightshift/sweep\n")),
    ] {
        let mut with = units();
        with.push(File { name: name.to_owned(), text: sample.clone() });
        assert_eq!(openings(&with).len(), 1, "accepted: {sample}{:?}", openings(&with));
    }
    let mut with = units();
    with.push(File { name: "a.service".to_owned(), text: safe.to_owned() });
    assert_eq!(openings(&with), [""; 0]);
}
