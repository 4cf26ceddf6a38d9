//! The table in `src/lib.rs` says which module may import which; this holds the code against it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const SOURCES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src");

/// What a module may import: paths below the crate, or everything.
type Table = BTreeMap<String, Option<BTreeSet<String>>>;

fn table() -> Table {
    let text = std::fs::read_to_string(format!("{SOURCES}/lib.rs")).unwrap();
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | `"));
    let words = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
    rows.map(|row| {
        let cells: Vec<&str> = row.trim_end().trim_end_matches('|').split('|').collect();
        let [module, _, imports] = cells[..] else { panic!("a row of three cells: {row}") };
        let imports = (imports.trim() != "everything").then(|| words(imports));
        (module.trim().trim_end_matches('`').to_owned(), imports)
    })
    .flat_map(|(modules, imports)| {
        // One row may be about several modules.
        let names: Vec<String> =
            modules.split(['`', ',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned).collect();
        names.into_iter().map(move |name| (name, imports.clone()))
    })
    .collect()
}

fn sources(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Every path that begins with `crate::`, in `use` lines and elsewhere, with one level of braces taken apart.
fn imports(text: &str) -> Vec<String> {
    let code: String = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join(" ");
    let mut found = Vec::new();
    for rest in code.split("crate::").skip(1) {
        let path = |text: &str| {
            let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
            text.trim().chars().take_while(|c| is_part(*c)).collect::<String>().trim_end_matches(':').to_owned()
        };
        match rest.strip_prefix('{') {
            Some(group) => found.extend(top_level(group).iter().map(|item| path(item))),
            None => {
                let head = path(rest);
                match rest[head.len()..].strip_prefix("::{") {
                    Some(group) => found.extend(top_level(group).iter().map(|item| format!("{head}::{}", path(item)))),
                    None => found.push(head),
                }
            }
        }
    }
    found
}

/// The items of a group in braces, whose opening one is gone.
fn top_level(group: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for c in group.chars() {
        match c {
            '}' if depth == 0 => break,
            ',' if depth == 0 => items.push(String::new()),
            _ => {
                depth += i32::from(c == '{') - i32::from(c == '}');
                items.last_mut().unwrap().push(c);
            }
        }
    }
    items.retain(|item| !item.trim().is_empty());
    items
}

/// No handler helps itself to what the program may.
#[test]
fn the_programs_own_grant_is_made_where_the_program_acts() {
    let mut files = Vec::new();
    sources(Path::new(SOURCES), &mut files);
    let makes = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains("SystemGrant::for_upkeep()");
    let made: BTreeSet<_> =
        files.iter().filter(|file| makes(file)).map(|file| file.strip_prefix(SOURCES).unwrap()).collect();
    let may = ["app.rs", "cli/doctor/podman.rs", "cli/strays.rs", "lifecycle/run.rs"];
    assert_eq!(made, may.iter().map(Path::new).collect());
}

#[test]
fn imports_are_those_of_the_table() {
    let table = table();
    assert!(table.len() > 10, "the table was found: {:?}", table.keys());
    let declared: BTreeSet<String> = std::fs::read_to_string(format!("{SOURCES}/lib.rs"))
        .unwrap()
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';').map(str::to_owned))
        .collect();
    assert_eq!(table.keys().cloned().collect::<BTreeSet<_>>(), declared, "the table and the modules");

    let mut files = Vec::new();
    sources(Path::new(SOURCES), &mut files);
    let (mut held, mut wrong) = (0, Vec::new());
    for file in files {
        let within = file.strip_prefix(SOURCES).unwrap();
        let module =
            within.components().next().unwrap().as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned();
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        let Some(allowed) = &table[&module] else { continue };
        for import in imports(&std::fs::read_to_string(&file).unwrap()) {
            held += 1;
            let is = |path: &str| import == path || import.starts_with(&format!("{path}::"));
            if !is(&module) && !allowed.iter().any(|path| is(path)) {
                wrong.push(format!("{} imports {import}", within.display()));
            }
        }
    }
    assert!(held > 100, "{held} imports were held against the table");
    assert_eq!(wrong, Vec::<String>::new());
}

#[test]
fn imports_are_found_in_every_form() {
    let text = "use crate::domain::{Error, Kind};\nuse crate::{docs, jobs::now, a::{b, c}};\n// crate::comment\n\
                pub use crate::policy::grant::ContainerGrant;\nlet x = crate::auth::key();";
    let found = imports(text);
    let expected =
        ["domain::Error", "domain::Kind", "docs", "jobs::now", "a", "policy::grant::ContainerGrant", "auth::key"];
    assert_eq!(found, expected);
}
