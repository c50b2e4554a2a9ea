use serde_json::json;

use super::{built, crates, locked, tree};

#[test]
fn reads_crates_and_their_normal_tree_from_metadata() {
    let metadata = json!({
        "packages": [
            {"id": "a", "name": "webhook-a", "targets": [{"kind": ["bin"], "name": "a"}, {"kind": ["lib"], "name": "webhook_a"}],
             "dependencies": [{"name": "x", "kind": null}, {"name": "y", "kind": "dev"}, {"name": "z", "kind": "build"}]},
            {"id": "x1", "name": "x", "targets": [], "dependencies": []},
            {"id": "y1", "name": "y", "targets": [], "dependencies": []},
        ],
        "workspace_members": ["a"],
        "resolve": {"nodes": [
            {"id": "a", "deps": [
                {"pkg": "x1", "dep_kinds": [{"kind": "dev"}, {"kind": null}]},
                {"pkg": "y1", "dep_kinds": [{"kind": "dev"}]},
            ]},
            {"id": "x1", "deps": []},
        ]},
    });
    let own = crates(&metadata);
    assert_eq!(own.len(), 1);
    assert_eq!(own[0].binaries, ["a"]);
    let kinds: Vec<_> = own[0]
        .dependencies
        .iter()
        .map(|it| (it.name.as_str(), it.dev))
        .collect();
    assert_eq!(kinds, [("x", false), ("y", true), ("z", false)]);
    let tree = tree(&metadata);
    assert_eq!(tree["webhook-a"].iter().collect::<Vec<_>>(), ["x"]);
}

#[test]
fn reads_the_lock_file() {
    let found = locked(
        "version = 4\n\n[[package]]\nname = \"a\"\nversion = \"1.0.0\"\nsource = \"registry+https://example\"\n\
         dependencies = [\n \"b\",\n]\n\n[[package]]\nname = \"b\"\nversion = \"0.1.0\"\n",
    );
    let found: Vec<_> = found
        .iter()
        .map(|it| (it.name.as_str(), it.source.is_some()))
        .collect();
    assert_eq!(found, [("a", true), ("b", false)]);
}

#[test]
fn reads_what_is_built_from_cargo_tree() {
    let built =
        built("a v0.1.0 (/somewhere/a)\nsyn v2.0.1 (proc-macro)\nsyn v3.0.0\n\nsyn v2.0.1 (*)\n");
    assert_eq!(built["syn"].iter().collect::<Vec<_>>(), ["2.0.1", "3.0.0"]);
    assert_eq!(built.len(), 2);
}
