use super::*;

/// A night with an etcd member and `nodes` nodes, of which the first `missing` have no set; their last good sets are of these nights.
fn tolerant(nodes: usize, missing: &[Option<&str>], more: Vec<Step>) -> Judgement {
    let node = |number: usize| format!("n{number}");
    let mut expect = vec![expected("m1", Role::Master, false), expected("e1", Role::Etcd, false)];
    expect.extend((0..nodes).map(|number| Expected {
        last_good: missing.get(number).and_then(|night| night.map(|night| night.parse().unwrap())),
        ..expected(&node(number), Role::Node, false)
    }));
    let mut steps = vec![held("m1", Role::Master), held("e1", Role::Etcd)];
    steps.extend((missing.len()..nodes).map(|number| held(&node(number), Role::Node)));
    steps.extend(more);
    judge(&record(expect, steps, Some(Tolerance { nodes: 10, nights: 3 })))
}

#[test]
fn a_tolerated_node_is_listed_and_its_night_is_complete() {
    let absent = set("n0", Role::Node, Fate::Missing, None, Some("cannot connect"));
    let packing = packed(&["n0 node: cannot connect"]);
    let degraded = ended(Stage::PackArchive, Outcome::Degraded, "n0 node: cannot connect");
    let recent = [Some("2026-11-19")];
    let steps = vec![absent, packing, degraded, shipped()];
    let Judgement { verdict, reasons, tolerated } = tolerant(10, &recent, steps);
    assert_eq!((verdict, &reasons[..]), (Verdict::Complete, &[][..]));
    assert_eq!(tolerated[0].code, ReasonCode::SetTolerated);
    assert_eq!(
        tolerated[0].text,
        "n0 node: missing: cannot connect; tolerated, because its last good set is of 2026-11-19"
    );
    let record = |missing| tolerant(10, missing, vec![]);
    assert_eq!(record(&[Some("2026-11-21")]).closed(Verdict::Complete, &[]).tolerated.len(), 1);
}

#[test]
fn a_node_is_not_tolerated_for_too_long_nor_are_more_of_them_than_the_share() {
    for (nodes, missing) in [
        // One night too old, without any good set, and one of two too old.
        (10, &[Some("2026-11-18")][..]),
        (10, &[None]),
        (20, &[Some("2026-11-21"), Some("2026-11-18")]),
        // 10 % of 9 is none, and of 19 is one.
        (9, &[Some("2026-11-21")]),
        (19, &[Some("2026-11-21"), Some("2026-11-21")]),
    ] {
        let Judgement { verdict, reasons, tolerated } = tolerant(nodes, missing, vec![]);
        assert_eq!((verdict, tolerated.len()), (Verdict::Degraded, 0), "{nodes} {missing:?}");
        assert_eq!(reasons.len(), missing.len(), "{nodes} {missing:?}: {reasons:?}");
    }
}

#[test]
fn masters_etcd_hosts_and_this_hosts_own_sets_are_never_tolerated() {
    let recent = |host: &str, role| Expected {
        last_good: Some("2026-11-21".parse().unwrap()),
        ..expected(host, role, false)
    };
    let nodes = (0..20).map(|number| expected(&format!("n{number}"), Role::Node, false));
    let present: Vec<Step> = (0..20).map(|number| held(&format!("n{number}"), Role::Node)).collect();
    for missing in [
        recent("m2", Role::Master),
        recent("e2", Role::Etcd),
        // It is a node too.
        recent("e1", Role::Node),
        recent("m1", Role::Node),
    ] {
        let expect = all().into_iter().take(2).chain(nodes.clone()).chain([missing.clone()]).collect();
        let steps = everything().into_iter().take(2).chain(present.clone()).collect();
        let Judgement { verdict, tolerated, .. } =
            judge(&record(expect, steps, Some(Tolerance { nodes: 100, nights: 9 })));
        assert!(verdict != Verdict::Complete && tolerated.is_empty(), "{missing:?}");
    }
}

#[test]
fn a_tolerated_node_counts_as_missing_in_the_metrics() {
    let absent =
        Expected { last_good: Some("2026-11-21".parse().unwrap()), ..expected("n1", Role::Node, false) };
    let tolerate = Some(Tolerance { nodes: 100, nights: 3 });
    let record = record(vec![absent], vec![], tolerate);
    assert_eq!(judge(&record).tolerated.len(), 1);
    assert_eq!(missing_sets(&record, &BTreeSet::new()), [(Role::Node, 1)].into());
}

#[test]
fn a_node_whose_set_or_host_key_is_refused_is_a_fault_beside_a_tolerated_one() {
    let absent = set("n1", Role::Node, Fate::Missing, None, Some("cannot connect"));
    for (fate, reason) in [
        (Fate::Refused, "the signature of its manifest is not by n0"),
        (
            Fate::Missing,
            "n0 (10.0.0.1:22): its host key has CHANGED to ssh-ed25519 SHA256:x (pinned: SHA256:y)",
        ),
        (Fate::Missing, "n0 (10.0.0.1:22): its host certificate is invalid: expired"),
    ] {
        let steps = vec![set("n0", Role::Node, fate, None, Some(reason)), absent.clone()];
        let Judgement { verdict, reasons, tolerated } =
            tolerant(20, &[Some("2026-11-21"), Some("2026-11-21")], steps);
        let texts = |reasons: Vec<Reason>| -> Vec<String> { reasons.into_iter().map(|it| it.text).collect() };
        assert_eq!(verdict, Verdict::Degraded, "{reason}");
        assert_eq!(texts(reasons), [format!("n0 node: missing: {reason}")]);
        assert_eq!(
            texts(tolerated),
            ["n1 node: missing: cannot connect; tolerated, because its last good set is of 2026-11-21"]
        );
    }
}
