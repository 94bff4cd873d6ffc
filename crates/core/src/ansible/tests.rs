#![allow(clippy::unwrap_used, clippy::panic)]

use proptest::prelude::*;

use super::*;

fn hosts(text: &str) -> Vec<String> {
    let read = parse(text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    read.hosts().map(str::to_owned).collect()
}

fn error(text: &str) -> String {
    parse(text).unwrap_err().to_string()
}

fn var(inventory: &Inventory, host: &str, name: &str) -> Option<String> {
    inventory.vars(host).get(name).and_then(Value::text).map(str::to_owned)
}

#[test]
fn each_format_is_recognised_by_its_content() {
    for text in [
        "[masters]\nm[1:2].example.com\n",
        "# a comment\nm1.example.com:2222\nm2.example.com\n",
        "m1.example.com\n; m9\n  \nm2.example.com ansible_host=\"10.0.0.1\"  # the second\n",
        "all:\n  children:\n    masters:\n      hosts:\n        m[1:2].example.com:\n",
        "---\n# groups\nmasters:\n  hosts:\n    m1.example.com: {ansible_host: 10.0.0.1}\n    m2.example.com:\n",
        "{\"masters\": [\"m1.example.com\", \"m2.example.com\"]}",
        "\u{feff}{\"_meta\": {\"hostvars\": {\"m1.example.com\": {\"x\": {\"y\": [1]}}}}, \"g\": {\"hosts\": [\"m1.example.com\", \"m2.example.com\"]}}",
    ] {
        assert_eq!(hosts(text), ["m1.example.com", "m2.example.com"], "{text}");
    }
}

#[test]
fn what_is_not_an_inventory_is_named_with_its_line_and_the_remedy() {
    for (text, problem) in [
        ("", "lists no hosts"),
        ("[masters]\n", "lists no hosts"),
        ("#!/usr/bin/python\nprint(1)\n", "ansible-inventory -i FILE --list"),
        ("$ANSIBLE_VAULT;1.1;AES256\n3137\n", "line 1: the file is encrypted; run `ansible-vault view FILE`"),
        ("{\"kind\": \"List\"}", "--from-nodes"),
        ("{\"g\": {\"hosts\": [\"a\"", "line 1: the JSON ends too early"),
        ("{\"g\":\n nonsense}", "line 2: invalid JSON"),
        ("[masters]\nm1\n[x:kids]\n", "line 3: unknown kind of section"),
        ("[masters ]\nm1\n", "line 1: invalid name of a group"),
        ("[masters]\nm1 'x\n", "line 2: a quote is not closed"),
        ("[masters]\nm1 secret\n", "line 2: expected NAME=VALUE after the host's name"),
        ("[masters]\nm1\n[masters:vars]\nsecret\n", "line 4: expected NAME=VALUE in a section of variables"),
        (
            "[masters]\nm1\n[lb]\nansible_ssh_pass=secret\n",
            "line 4: expected a host's name before NAME=VALUE",
        ),
        ("[masters]\nansible_become_pass=secret[\n", "in the section `[masters:vars]`"),
        ("[masters]\nm[3:1]\n", "line 2: the range `[3:1]` is backwards"),
        ("[masters]\nm1:99999\n", "line 2: invalid port"),
        ("[a]\nm1\n[OSEv3:children]\na\nb\n", "line 5: the group `b` is listed among children"),
        ("[a]\nm1\n[b:vars]\nx=1\n", "line 3: the group `b` has variables"),
        ("[a]\nm1\n[b:children]\na b\n", "line 4: expected the name of a group"),
        ("all:\n  hosts:\n    m[3:1]:\n", "line 3: the range `[3:1]` is backwards"),
        ("all:\n  hosts:\n    - m1\n", "line 2: this is not an inventory in YAML"),
        ("all:\n  hosts: [\n", "this is not an inventory in YAML"),
    ] {
        let error = error(text);
        assert!(error.contains(problem), "{error}\n{text}");
        assert!(!error.contains("secret"), "{error}");
    }
}

#[test]
fn groups_that_contain_each_other_are_refused_by_name() {
    let loops =
        "[a:children]\nb\n[b:children]\nc\n[c:children]\na\n[d:children]\nc\n[c]\nm1\n[e:children]\na\n";
    assert_eq!(
        error(loops),
        "the groups `b`, `c`, `a` contain each other; remove one from the children of another"
    );
    assert!(error("[a:children]\na\n[a]\nm1\n").contains("the group `a` contains itself"));
    let yaml = "a:\n  hosts: {m1: }\n  children:\n    b:\n      children: {a: }\n";
    assert!(error(yaml).contains("contain each other"), "{}", error(yaml));
    let json = "{\"a\": {\"children\": [\"b\"]}, \"b\": {\"children\": [\"a\"], \"hosts\": [\"m1\"]}}";
    assert!(error(json).contains("contain each other"));
}

#[test]
fn the_variables_of_the_inner_group_and_of_the_host_win() {
    let text = "[all:vars]\nansible_user=one\nansible_port = 22\nip=10.9.9.9\n\
                [outer:children]\ninner\n[outer:vars]\nansible_user=three\naccess_ip='10.1.1.1'\n\
                [inner]\nm1 ip=10.0.0.1\nm2 ansible_host=\"{{ ip }}\" openshift_ip=\"10.0 0.1\" password=x\n\
                [inner:vars]\nansible_user=two\n[other]\nm3:2222\nm2 ansible_become=true # yes\n";
    let inventory = parse(text).unwrap();
    let of = |host: &str| -> Vec<String> {
        let shown = |(name, value): (&str, &Value)| format!("{name}={}", value.text().unwrap_or("?"));
        inventory.vars(host).iter().map(shown).collect()
    };
    assert_eq!(of("m1"), ["access_ip=10.1.1.1", "ansible_port=22", "ansible_user=two", "ip=10.0.0.1"]);
    assert_eq!(
        of("m2"),
        [
            "access_ip=10.1.1.1",
            "ansible_become=true",
            "ansible_host=?",
            "ansible_port=22",
            "ansible_user=two",
            "ip=10.9.9.9",
            "openshift_ip=10.0 0.1"
        ]
    );
    assert_eq!(of("m3"), ["ansible_port=2222", "ansible_user=one", "ip=10.9.9.9"]);
    assert_eq!(inventory.hosts_of("outer").len(), 2);
}

#[test]
fn of_two_groups_of_one_depth_the_one_with_the_higher_priority_wins() {
    let groups = "[x]\nm1\n[y]\nm1\n[x:vars]\nansible_host=10.0.0.1\n";
    let with = |x: &str| parse(&format!("{groups}{x}[y:vars]\nansible_host=10.0.0.2\n")).unwrap();
    assert_eq!(var(&with(""), "m1", "ansible_host").as_deref(), Some("10.0.0.2"));
    let first = with("ansible_group_priority=10\n");
    assert_eq!(var(&first, "m1", "ansible_host").as_deref(), Some("10.0.0.1"));
}

#[test]
fn yaml_may_have_anchors_encrypted_values_and_keys_of_other_kinds() {
    let text = "all:\n  vars: &common\n    ansible_user: !vault |\n      $ANSIBLE_VAULT;1.1;AES256\n      3137\n    1: 2\n    x: {y: [1, {z: 1.5}]}\n  hosts:\n    m1:\n      <<: *common\n      ansible_port: 2222\n      ansible_host: !unsafe 10.0.0.1\n    m2: {}\n  children:\n    masters:\n      hosts: m1\n    nodes:\n      children: masters\n    odd: null\n";
    let inventory = parse(text).unwrap();
    assert_eq!(inventory.vars("m1").get("ansible_user"), Some(&Value::Unknown));
    assert_eq!(var(&inventory, "m1", "ansible_port").as_deref(), Some("2222"));
    assert_eq!(var(&inventory, "m1", "ansible_host").as_deref(), Some("10.0.0.1"));
    assert_eq!(inventory.hosts_of("nodes").into_iter().collect::<Vec<_>>(), ["m1"]);
    // The variables of all hosts.
    let many: String = (0..2_000).map(|number| format!("    n{number}: *d\n")).collect();
    let text = format!("all:\n  vars:\n    d: &d {{ansible_user: root}}\n  hosts:\n{many}");
    assert_eq!(var(&parse(&text).unwrap(), "n1999", "ansible_user").as_deref(), Some("root"));
}

#[test]
fn an_inventory_that_would_fill_the_memory_is_refused() {
    let many = "n[1:10000].example.com\n".repeat(60);
    assert!(error(&many).contains("line 41: its groups list more than 400000 members"), "{}", error(&many));
    assert!(error("a[1:9999]\nb[1:9999]\nc[1:9999]\n").contains("line 3: it has more than 20000 hosts"));
    let groups: String = (0..3000).map(|number| format!("[g{number}]\n")).collect();
    assert!(error(&groups).contains("line 2001: it has more than 2000 groups"), "{}", error(&groups));
    let deep: String = (0..200)
        .map(|depth| {
            format!("{}g{depth}:\n{}children:\n", "  ".repeat(2 * depth), "  ".repeat(2 * depth + 1))
        })
        .collect();
    assert!(error(&deep).contains("it is too large"), "{}", error(&deep));
    let mut laughs = "all:\n  vars:\n    a0: &a0 {x: y}\n".to_owned();
    for level in 1..10 {
        let again = format!("*a{}, ", level - 1).repeat(10);
        laughs.push_str(&format!("    a{level}: &a{level} [{again}]\n"));
    }
    assert!(error(&laughs).contains("its aliases repeat too much"), "{}", error(&laughs));
    let bomb = format!("{}{}", "{\"a\":".repeat(200_000), "}".repeat(200_000));
    assert!(error(&bomb).contains("JSON"), "{}", error(&bomb));
    let vars: String =
        (0..1_000).map(|n| format!("[g{n}:children]\ng{}\n[g{n}:vars]\nip=1\n", n + 1)).collect();
    let wide = format!("{vars}[g1000]\nx[0:9999]\n");
    assert!(
        error(&wide).contains("groups with variables have more than 4000000 members"),
        "{}",
        error(&wide)
    );
    let chain: String = (0..1_999).map(|n| format!("[g{n}:children]\ng{}\n", n + 1)).collect();
    assert_eq!(hosts(&format!("{chain}[g1999]\nm1\n")), ["m1"]);
}

/// An inventory of tests/data/inventories with what the real `ansible-inventory` reads in it, and its listing if that is stored.
macro_rules! samples {
    ($($name:literal $(with $list:literal)?),*) => {[$((
        $name,
        include_str!(concat!("../../../../tests/data/inventories/", $name)),
        include_str!(concat!("../../../../tests/data/inventories/", $name, ".expected.json")),
        None::<&str>$(.or(Some(include_str!(concat!("../../../../tests/data/inventories/", $list)))))?,
    )),*]};
}

#[test]
fn hosts_groups_and_variables_are_those_that_ansible_inventory_reads() {
    for (name, text, expected, list) in samples!(
        "groups.ini" with "groups.ini.list.json",
        "kubespray.ini" with "kubespray.ini.list.json",
        "kubespray.yaml" with "kubespray.yaml.list.json",
        "kubespray-2.9.ini",
        "order.yaml",
        "openshift-3.ini",
        "openshift-3-single.ini"
    ) {
        let expected: serde_json::Value = serde_json::from_str(expected).unwrap();
        for text in [text].into_iter().chain(list) {
            let read = parse(text).unwrap_or_else(|error| panic!("{name}: {error}"));
            let vars = |host: &str| {
                let shown = |(name, value): (&str, &Value)| {
                    (name.to_owned(), value.text().map_or(serde_json::Value::Null, Into::into))
                };
                serde_json::Value::Object(read.vars(host).iter().map(shown).collect())
            };
            let hosts: serde_json::Map<_, _> =
                read.hosts().map(|host| (host.to_owned(), vars(host))).collect();
            let mut of_ansible = expected["hosts"].clone();
            let values = of_ansible.as_object_mut().unwrap().values_mut();
            for value in values.flat_map(|vars| vars.as_object_mut().unwrap().values_mut()) {
                if value.as_str().unwrap().contains("{{") {
                    *value = serde_json::Value::Null;
                }
            }
            assert_eq!(serde_json::Value::Object(hosts), of_ansible, "{name}");
            for (group, hosts) in expected["groups"].as_object().unwrap() {
                let of_group: Vec<_> = read.hosts_of(group).into_iter().collect();
                assert_eq!(serde_json::json!(of_group), *hosts, "{name}: {group}");
            }
        }
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(
        text in "([\\[\\]:=#'\"{},a-c1-3 \\\\\né-]|children|vars|hosts|all:|\n  |masters|ansible_host|\\{\\{){0,80}"
    ) {
        let _read = parse(&text).map(|inventory| crate::draft::of_inventory(&inventory));
    }
}
