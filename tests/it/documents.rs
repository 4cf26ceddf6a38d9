//! What the project says of itself is so: stories that are named exist, links lead somewhere.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every Markdown file that is ours.
fn documents() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for dir in ["", "docs", "docs/decisions"] {
        let dir = Path::new(ROOT).join(dir);
        let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        found.extend(files.filter(|path| path.extension().is_some_and(|extension| extension == "md")));
    }
    assert!(found.len() > 10, "{found:?}");
    found
}

/// `file::test` of every story.
fn stories() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(format!("{ROOT}/tests/it")).unwrap() {
        let path = entry.unwrap().path();
        let story = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let text = read(&path);
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if line == "#[test]" || line.starts_with("#[tokio::test") {
                let function = lines.find(|line| line.contains("fn ")).unwrap();
                let name = function.split("fn ").nth(1).unwrap().split('(').next().unwrap();
                found.insert(format!("{story}::{name}"));
            }
        }
    }
    found
}

#[test]
fn the_stories_behind_each_rule_exist() {
    let stories = stories();
    assert!(stories.len() > 100);
    let text = read(&Path::new(ROOT).join("SECURITY.md"));
    let rules: Vec<&str> = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| rule")).collect();
    assert!(rules.len() > 20, "{rules:?}");
    for rule in rules {
        let named: Vec<&str> = rule.split('`').skip(1).step_by(2).filter(|word| word.contains("::")).collect();
        assert!(!named.is_empty(), "{rule} names no story");
        for story in named {
            assert!(stories.contains(story), "there is no story {story}");
        }
    }
}

#[test]
fn links_lead_somewhere() {
    for document in documents() {
        let text = read(&document);
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#') && !link.contains(' ')) {
            let (path, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = document.parent().unwrap().join(path);
            assert!(target.exists(), "{} leads to {link}, which is not there", document.display());
            if !anchor.is_empty() && target.extension().is_some_and(|extension| extension == "md") {
                let headings = read(&target);
                let slug = |line: &str| {
                    let words = line.trim_start_matches('#').trim().to_lowercase();
                    words
                        .chars()
                        .filter(|c| c.is_alphanumeric() || " -".contains(*c))
                        .collect::<String>()
                        .replace(' ', "-")
                };
                let known = headings.lines().filter(|line| line.starts_with('#')).any(|line| slug(line) == anchor);
                assert!(known, "{} leads to {link}, which has no such heading", document.display());
            }
        }
    }
}

/// Swagger UI's files are those of its package, as they were when somebody compared them.
#[test]
fn what_is_vendored_is_unchanged() {
    use sha2::Digest;
    let dir = Path::new(ROOT).join("src/docs/swagger-ui");
    let sums = read(&dir.join("SHA256SUMS"));
    let mut listed = BTreeSet::new();
    for line in sums.lines() {
        let (sum, file) = line.split_once("  ").unwrap();
        let digest = sha2::Sha256::digest(std::fs::read(dir.join(file)).unwrap());
        let found: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(found, sum, "{file}");
        listed.insert(file.to_owned());
    }
    let ours = ["README.md", "SHA256SUMS"];
    let there = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let there: BTreeSet<String> = there.filter(|name| !ours.contains(&name.as_str())).collect();
    assert_eq!(there, listed);
}
