//! People of an identity provider: who they are here, and how they are kept out.

use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::gateway::{PASSWORD, unique};
use crate::support::provider::{Provider, Signer};
use crate::support::{Client, Gateway, Ledger, Podman, Site, Story};

/// The table of a provider whose keys are found by discovery, with more lines.
pub fn issuer(name: &str, provider: &Provider, site: &Site, more: &str) -> String {
    let (iss, ca_file) = (&provider.issuer, provider.ca_file(&site.dir));
    format!("[issuers.{name}]\nissuer = {iss:?}\naudiences = [\"podgate\", \"other\"]\nca_file = {ca_file:?}\n{more}\n")
}

/// One provider, one tenant of its people.
struct Company {
    story: Story,
    provider: Provider,
    signer: Signer,
}

const GROUPS: &str = r#"
tenant_claim = "groups"
role_claim = "groups"
roles = { viewers = "viewer", guests = "viewer", staff = "operator", chiefs = "admin", root = "platform" }
platform = true
"#;

impl Company {
    async fn begin() -> Self {
        Self::at(Site::new(), |slug| {
            format!("{GROUPS}tenants = {{ staff = {slug:?}, chiefs = {slug:?}, viewers = {slug:?}, \"t/*\" = \"*\" }}")
        })
        .await
    }

    async fn at(site: Site, lines: impl Fn(&str) -> String) -> Self {
        let signer = Signer::new("k1", Algorithm::ES256);
        let provider = Provider::start(&[&signer]).await;
        let tenant = site.tenant();
        let lines = format!("algorithms = [\"ES256\"]\n{}", lines(&tenant.slug));
        let table = issuer("corp", &provider, &site, &lines);
        let site = site.with(&table);
        let gateway = site.start().await;
        let client = gateway.client(&site.token(&tenant.login("operator")));
        let story = Story { gateway, client, tenant, podman: Podman::of_the_tests(), site };
        Self { story, provider, signer }
    }

    fn token(&self, changes: Value) -> String {
        self.signer.sign(&self.provider.claims(changes))
    }

    /// Alice with these claims.
    fn alice(&self, changes: Value) -> Client {
        self.story.client.with_token(self.token(changes))
    }

    fn admin(&self) -> Client {
        let login = self.story.tenant.login("boss");
        self.story.site.account(&login, "admin");
        self.story.gateway.client(&self.story.site.token(&login))
    }

    fn now() -> i64 {
        (podgate::app::world().now)().unix_timestamp()
    }
}

#[tokio::test]
async fn claims_say_where_and_what() {
    let company = Company::begin().await;
    let alice = company.alice(json!({"groups": ["unknown", "staff"]}));
    alice.create_sleeping("web").await;
    let me = alice.get("/auth/me").await.ok()["account"].clone();
    let slug = &company.story.tenant.slug;
    assert_eq!((&me["username"], &me["tenant"]), (&json!(format!("{slug}/alice@corp")), &json!(slug)));
    assert_eq!(me["role"], "operator");
    assert_eq!(company.story.client.listed().await.len(), 1, "it is its tenant's");

    // Of several roles the one that may most; as a text or as a list.
    for (groups, role) in [(json!(["viewers", "chiefs", "staff"]), "admin"), (json!("viewers"), "viewer")] {
        let person = company.alice(json!({"sub": format!("a {role}"), "groups": groups}));
        assert_eq!(person.get("/auth/me").await.ok()["account"]["role"], role, "{groups}");
    }
    company
        .alice(json!({"sub": "a viewer", "groups": "viewers"}))
        .try_create("no", json!({}))
        .await
        .refused(403, "PermissionError");
    // The part of a value that is a tenant's name.
    let (other, _) = company.story.another();
    let guest = company.alice(json!({"sub": "guest", "groups": [format!("t/{}", other.slug), "staff"]}));
    guest.get("/containers").await.refused(403, "PermissionError");
    let guest = company.alice(json!({"sub": "guest", "groups": [format!("t/{}", other.slug), "guests"]}));
    assert_eq!(guest.get("/auth/me").await.ok()["account"]["tenant"], json!(other.slug));
    // Nothing, nowhere, several, no list, a tenant that is none.
    for groups in [json!(null), json!([]), json!(["unknown"]), json!({"staff": true}), json!(7), json!([["staff"]])] {
        let refused = company.alice(json!({"groups": groups})).get("/containers").await;
        let message = refused.refused(403, "PermissionError")["message"].clone();
        assert!(message.as_str().unwrap().contains("claim"), "{message}");
    }
    let stray = company.alice(json!({"sub": "stray", "groups": [format!("t/{}", unique()), "chiefs "]}));
    stray.get("/containers").await.refused(403, "PermissionError");
    // The platform's are in no tenant, whatever else they are.
    let root = company.alice(json!({"sub": "r", "preferred_username": "root", "groups": ["staff", "root"]}));
    let me = root.get("/auth/me").await.ok()["account"].clone();
    assert_eq!((&me["username"], &me["tenant"], &me["role"]), (&json!("root@corp"), &Value::Null, &json!("platform")));
    root.get("/tenants").await.ok();
    root.get("/containers").await.refused(403, "PermissionError");
    // Whoever runs the installation has to be somebody whom it does not owe to others.
    company.story.site.account("last", "platform");
    assert_eq!(company.story.site.run(&["account", "disable", "last"], "").code, 1);
}

/// A provider's person has no session of ours, and what is open ends all the same.
#[tokio::test]
async fn what_they_have_open_ends_with_their_account() {
    let company = Company::begin().await;
    let alice = company.alice(json!({"groups": "staff"}));
    alice.create_sleeping("web").await;
    let path = "/containers/web/attach";
    let [ticket, late] = [alice.ticket(path).await, alice.ticket(path).await];
    let with = async |ticket: &str| alice.anonymous().upgrade(&format!("{path}?ticket={ticket}"), &[]).await;
    let mut by_ticket = with(&ticket).await.expect("it opens");
    let mut by_token = alice.websocket(path).await;
    let mut events = alice.events("/events").await;
    alice.post("/auth/logout", json!(null)).await.ok();
    assert_eq!((by_ticket.closed().await.0, by_token.closed().await.0), (1008, 1008));
    assert_eq!(events.reason().await, "revoked");
    with(&late).await.err().expect("it is over").refused(401, "AuthenticationError");
}

#[tokio::test]
async fn claims_lie_deep_or_say_nothing_of_it() {
    let lines = |slug: &str| {
        format!(
            "tenant = {slug:?}\nrole_claim = \"realm_access.roles\"\nroles = {{ dev = \"operator\" }}\nname_claim = \"email\""
        )
    };
    let company = Company::at(Site::new(), lines).await;
    let deep = json!({"realm_access": {"roles": ["dev"]}, "email": "Älice.Ö+x@example.org"});
    let me = company.alice(deep).get("/auth/me").await.ok()["account"].clone();
    assert_eq!(me["username"], company.story.tenant.login("lice.--x@corp"), "{me}");
    company.alice(json!({"realm_access.roles": "dev"})).get("/containers").await.ok();
    for claims in
        [json!({"realm_access": {"roles": {"dev": 1}}}), json!({"realm_access": "dev"}), json!({"roles": "dev"})]
    {
        company.alice(claims).get("/containers").await.refused(403, "PermissionError");
    }
}

#[tokio::test]
async fn accounts_are_made_once_and_take_nobodys_name() {
    let company = Company::begin().await;
    let Company { story, .. } = &company;
    story.site.account(&story.tenant.login("bob@corp"), "viewer");
    let alice = company.alice(json!({"groups": "staff"}));
    let at_once: Vec<_> = (0..10)
        .map(|_| {
            let client = alice.clone();
            tokio::spawn(async move { client.get("/auth/me").await.ok()["account"]["id"].clone() })
        })
        .collect();
    let mut ids = Vec::new();
    for asked in at_once {
        ids.push(asked.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let admin = company.admin();
    let told = admin.get("/audit?verb=createAccount").await.ok();
    let told: Vec<_> = told["entries"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["actor"] == "system" && one["outcome"] == "success")
        .collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!((&told[0]["object"]["id"], &told[0]["object"]["kind"]), (&ids[0], &json!("account")));
    // The same name from two people, a taken one, none, and ones that are no names.
    for (sub, name) in [
        ("2", json!("alice")),
        ("3", json!("bob")),
        ("4", json!(null)),
        ("5", json!("../../x")),
        ("6", json!("@")),
        ("7", json!(["x"])),
    ] {
        company.alice(json!({"sub": sub, "preferred_username": name, "groups": "staff"})).get("/containers").await.ok();
    }
    let listed = admin.get("/accounts").await.ok();
    let people: Vec<_> =
        listed["accounts"].as_array().unwrap().iter().filter(|one| one["issuer"].is_string()).collect();
    assert_eq!(people.len(), 7, "{listed}");
    let named = |start: &str| people.iter().filter(|one| one["name"].as_str().unwrap().starts_with(start)).count();
    assert_eq!(
        (named("alice@corp"), named("alice-"), named("bob-"), named("user-"), named("x@corp")),
        (1, 1, 1, 3, 1),
        "{listed}"
    );
    for person in people {
        assert_eq!(person["issuer"], company.provider.issuer, "{person}");
    }
    let bob = listed["accounts"].as_array().unwrap().iter().find(|one| one["name"] == "bob@corp").unwrap();
    assert_eq!(bob["issuer"], Value::Null);
    // No password is theirs.
    for password in ["", PASSWORD, "x"] {
        story.client.sign_in(&story.tenant.login("alice@corp"), password).await.refused(401, "AuthenticationError");
    }
}

#[tokio::test]
async fn who_is_disabled_here_stays_out() {
    let company = Company::begin().await;
    let admin = company.admin();
    let patch = async |body: Value| admin.call("PATCH", "/accounts/alice@corp", Some(body)).await;
    let early = Company::now() - 100;
    let alice = company.alice(json!({"groups": "staff", "iat": early}));
    alice.get("/containers").await.ok();
    patch(json!({"disabled": true})).await.ok();
    alice.get("/containers").await.refused(401, "AuthenticationError");
    // Not by another token, nor as something else.
    company.alice(json!({"groups": "staff"})).get("/containers").await.refused(401, "AuthenticationError");
    company.alice(json!({"groups": "chiefs"})).get("/containers").await.refused(401, "AuthenticationError");
    patch(json!({"disabled": false})).await.ok();
    // What was issued before is over, as everybody's is.
    alice.get("/containers").await.refused(401, "AuthenticationError");
    let later = Company::now() + 5;
    let alice = company.alice(json!({"groups": "staff", "iat": later}));
    alice.get("/containers").await.ok();
    // What the provider decides is not changed here.
    for body in [json!({"role": "viewer"}), json!({"password": "a perfectly good password"})] {
        patch(body).await.refused(409, "PodmanAPIError");
    }
    let change = json!({"password": "", "new_password": "a perfectly good password"});
    alice.post("/auth/password", change).await.refused(409, "PodmanAPIError");
    alice.post("/api-keys", json!({"name": "k"})).await.refused(403, "PermissionError");
    // The tenant's end is everybody's.
    company.story.site.run(&["tenant", "delete", &company.story.tenant.slug, "--no-wait"], "").succeeded();
    assert!(matches!(alice.get("/containers").await.status, 401 | 403));
}

#[tokio::test]
async fn the_later_token_is_right() {
    let company = Company::begin().await;
    let now = Company::now();
    let issued = |iat: i64, groups: &str| company.alice(json!({"groups": groups, "iat": iat}));
    let role = async |client: &Client| client.get("/auth/me").await.ok()["account"]["role"].clone();
    let chief = issued(now - 100, "chiefs");
    let also = issued(now - 80, "chiefs");
    assert_eq!((role(&chief).await, role(&also).await), (json!("admin"), json!("admin")));
    // She is no chief any more.
    let viewer = issued(now - 90, "viewers");
    assert_eq!(role(&viewer).await, json!("viewer"));
    chief.get("/containers").await.refused(401, "AuthenticationError");
    assert_eq!(role(&also).await, json!("admin"), "said later");
    viewer.get("/containers").await.refused(401, "AuthenticationError");
    // She is nothing any more.
    issued(now - 50, "nobody").get("/containers").await.refused(403, "PermissionError");
    also.get("/containers").await.refused(401, "AuthenticationError");
    // She is in another tenant.
    let staff = issued(now - 40, "staff");
    staff.get("/containers").await.ok();
    let (other, theirs) = company.story.another();
    let moved = company.alice(json!({"groups": [format!("t/{}", other.slug), "guests"], "iat": now - 30}));
    assert_eq!(moved.get("/auth/me").await.ok()["account"]["tenant"], json!(other.slug));
    staff.get("/containers").await.refused(401, "AuthenticationError");
    drop(theirs);
    // She signs out.
    let last = [issued(now - 20, "staff"), issued(now - 10, "staff")];
    last[0].post("/auth/logout", json!(null)).await.ok();
    last[0].get("/containers").await.refused(401, "AuthenticationError");
    last[1].post("/auth/logout?everywhere=true", json!(null)).await.ok();
    for client in [&last[1], &issued(now, "staff")] {
        client.get("/containers").await.refused(401, "AuthenticationError");
    }
    issued(Company::now() + 5, "staff").get("/containers").await.ok();
}

/// On two gateways over one PostgreSQL.
#[tokio::test]
async fn access_goes_everywhere_at_once() {
    let first = Site::on_postgres().await;
    let beside = first.beside();
    let company = Company::at(first, |slug| format!("tenant = {slug:?}\nrole = \"operator\"")).await;
    let lines = format!("algorithms = [\"ES256\"]\ntenant = {:?}\nrole = \"operator\"", company.story.tenant.slug);
    let table = issuer("corp", &company.provider, &beside, &lines);
    let other: Gateway = beside.with(&table).start().await;
    let alice = company.alice(json!({}));
    let there = other.client(alice.token.as_ref().unwrap());
    let mut asked = Vec::new();
    for client in [&alice, &there, &alice, &there] {
        let client = client.clone();
        asked.push(tokio::spawn(async move { client.get("/auth/me").await.ok()["account"]["id"].clone() }));
    }
    let mut ids = Vec::new();
    for one in asked {
        ids.push(one.await.unwrap());
    }
    ids.dedup();
    assert_eq!(ids.len(), 1);
    let login = company.story.tenant.login("alice@corp");
    company.story.site.run(&["account", "disable", &login], "").succeeded();
    for client in [&alice, &there] {
        client.get("/containers").await.refused(401, "AuthenticationError");
    }
}

#[tokio::test]
async fn linked_accounts_are_the_operators() {
    let company = Company::at(Site::new(), |_| "accounts = \"linked\"".into()).await;
    let Company { story, .. } = &company;
    let alice = company.alice(json!({"groups": "chiefs", "role": "platform"}));
    alice.get("/containers").await.refused(403, "PermissionError");
    let login = story.tenant.login("alice");
    let link = |login: &str, role: &str, issuer: &str, subject: &str| {
        story.site.run(&["account", "create", login, "--role", role, "--issuer", issuer, "--subject", subject], "")
    };
    assert_eq!(link(&login, "viewer", "nobody", "248289761001").code, 1);
    assert_eq!(link(&story.tenant.login("operator"), "viewer", "corp", "248289761001").code, 1);
    link(&login, "viewer", "corp", "248289761001").succeeded();
    let again = link(&story.tenant.login("alice2"), "viewer", "corp", "248289761001");
    assert!(again.code == 1 && again.stderr.contains(&login), "{}", again.stderr);
    let told = Ledger::of(&story.site).await.audited(0).await;
    let told: Vec<_> = told.iter().filter(|entry| entry.row.verb.as_deref() == Some("createAccount")).collect();
    let made: Vec<_> = told.iter().map(|entry| (entry.brief()[2], entry.brief()[3])).collect();
    let [operator, second] = [story.tenant.login("operator"), story.tenant.login("alice2")];
    assert_eq!(made, [(&*operator, "success"), (&operator, "failed"), (&login, "success"), (&second, "failed"),]);
    assert_eq!(told[2].row.tenant.as_deref(), Some(&*story.tenant.slug));
    assert_eq!(alice.get("/auth/me").await.ok()["account"]["role"], "viewer");
    let admin = company.admin();
    let patch = async |body: Value| admin.call("PATCH", "/accounts/alice", Some(body)).await;
    patch(json!({"role": "operator"})).await.ok();
    alice.create_sleeping("web").await;
    patch(json!({"role": "viewer"})).await.ok();
    alice.delete("/containers/web?force=true").await.refused(403, "PermissionError");
    admin.delete("/accounts/alice").await.ok();
    alice.get("/containers").await.refused(403, "PermissionError");
    let ledger = Ledger::of(&story.site).await;
    let left: i64 = sqlx::query_scalar("SELECT COUNT(*) FROM accounts WHERE issuer IS NOT NULL")
        .fetch_one(&ledger.0)
        .await
        .unwrap();
    assert_eq!(left, 0);
}

#[tokio::test]
async fn mistakes_about_issuers_are_told_at_once() {
    let check = |toml: &str| {
        let refused = Site::new().with(toml).run(&["check-config"], "");
        assert_eq!(refused.code, 64, "{toml}: {}{}", refused.stdout, refused.stderr);
        refused.stderr
    };
    let told = check(
        "[issuers.a]\nissuer = \"http://login.example.org\"\nalgorithms = [\"RS256\", \"HS256\"]\nleeway_seconds = 60\nca_file = \
         \"/nonexistent\"\ntenant = \"Acme\"\nrole = \"root\"\nsecret = \"x\"\n\
         [issuers.b]\nissuer = \"podgate\"\nkeys_file = \"/nonexistent\"\naudiences = [\"podgate\"]\ntenant = \"acme\"\nrole = \"platform\"\n\
         [issuers.c]\nissuer = \"https://c\"\naudiences = [\"\"]\naccounts = \"linked\"\nrole = \"viewer\"\n\
         [issuers.d]\nissuer = \"https://d\"\naudiences = [\"d\"]\ntenant_claim = \"t\"\nrole_claim = \"r\"\nalgorithms = [\"none\"]\n\
         [issuers.e]\naudiences = 7\n\
         [issuers.f]\nissuer = \"https://c\"\naudiences = [\"f\"]\nrole = \"viewer\"\njwks_uri = \"ftp://c\"\n",
    );
    for key in [
        "issuers.a.issuer",
        "issuers.a.algorithms",
        "issuers.a.leeway_seconds",
        "issuers.a.ca_file",
        "issuers.a.tenant",
        "issuers.a.secret",
        "issuers.a.audiences",
        "issuers.b.keys_file",
        "issuers.b.platform",
        "issuers.c.audiences",
        "issuers.c.accounts",
        "issuers.d.tenant",
        "issuers.d.algorithms",
        "issuers.e.",
        "issuers.f.jwks_uri",
        "issuers.f.tenant",
    ] {
        assert!(told.contains(key), "{key} is not told:\n{told}");
    }
    let whole = |more: &str| format!("audiences = [\"p\"]\ntenant = \"acme\"\nrole = \"viewer\"\n{more}\n");
    let told = check(&format!(
        "[issuers.a]\nissuer = \"https://a\"\n{0}[issuers.b]\nissuer = \"https://a\"\n{0}[issuers.c]\nissuer = \"podgate\"\njwks_uri = \
         \"https://c\"\n{0}",
        whole("")
    ));
    assert!(told.contains("issuers.b.issuer") && told.contains("issuers.c.issuer"), "{told}");
}
