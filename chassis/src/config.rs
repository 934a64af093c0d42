//! Configuration from a TOML file and the environment, checked as a whole.
//!
//! Unknown keys are refused. Everything that is wrong is reported at once, with the line or the variable, and never
//! with the value: it may be a secret.

use std::fmt;
use std::path::Path;

use secrecy::SecretString;
use serde::de::DeserializeOwned;

mod draft;

use draft::Draft;

/// What a configuration finds wrong with itself beyond its types.
pub trait Checked {
    /// Every problem, each beginning with the key it is about, as in `code_ttl_s: 1 to 600`.
    fn problems(&self) -> Vec<String>;
}

/// Everything that is wrong with a configuration, one line each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigProblems(pub Vec<String>);

impl fmt::Display for ConfigProblems {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("the configuration is not usable:")?;
        self.0.iter().try_for_each(|problem| write!(out, "\n  {problem}"))
    }
}

impl std::error::Error for ConfigProblems {}

/// Reads a configuration: the file, if any, then every variable that begins with `prefix`. After the prefix two
/// underscores go one table deeper: `COUNTERSIGN__HTTP__PORT=1` is `port = 1` in `[http]`. A variable's value is
/// TOML (a number, a list, …) where that fits, otherwise text.
///
/// # Errors
/// [`ConfigProblems`] with all of: what is not TOML, unknown and missing keys, values of the wrong type, and what
/// [`Checked::problems`] says of the rest.
pub fn load<T: DeserializeOwned + Checked>(
    file: Option<&Path>,
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
) -> Result<T, ConfigProblems> {
    let (name, text) = match file {
        None => (String::new(), String::new()),
        Some(path) => {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path)
                .map_err(|failed| ConfigProblems(vec![format!("{name}: cannot be read: {failed}")]))?;
            (name, text)
        }
    };
    parse(&name, &text, env, prefix)
}

fn parse<T: DeserializeOwned + Checked>(
    name: &str,
    text: &str,
    env: impl Iterator<Item = (String, String)>,
    prefix: &str,
) -> Result<T, ConfigProblems> {
    let mut draft = Draft::of_toml(name, text).map_err(ConfigProblems)?;
    draft.overlay(env, prefix);
    let (config, mut problems) = draft.fill::<T>();
    if let (Some(config), true) = (config, problems.is_empty()) {
        problems = config.problems().into_iter().map(|problem| draft.located(problem)).collect();
        if problems.is_empty() {
            return Ok(config);
        }
    }
    Err(ConfigProblems(problems))
}

/// Reads a secret from a file, without the line break at its end.
///
/// # Errors
/// A sentence for [`Checked::problems`]-like lists when the file cannot be read, is empty, or may be read by
/// everybody on the machine.
pub fn read_secret_file(path: &Path) -> Result<SecretString, String> {
    use std::os::unix::fs::PermissionsExt;
    let shown = path.display();
    let failed = |error: std::io::Error| format!("{shown}: cannot be read: {error}");
    let mode = std::fs::metadata(path).map_err(failed)?.permissions().mode();
    if mode & 0o007 != 0 {
        return Err(format!("{shown}: others than owner and group may open it; run chmod 600"));
    }
    let text = std::fs::read_to_string(path).map_err(failed)?;
    let secret = text.trim_end_matches(['\r', '\n']);
    if secret.is_empty() { Err(format!("{shown}: is empty")) } else { Ok(SecretString::from(secret)) }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use secrecy::ExposeSecret;
    use serde::Deserialize;
    use url::Url;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Config {
        issuer: Url,
        database_url: SecretString,
        #[serde(default)]
        code_ttl_s: u32,
        #[serde(default)]
        http: Http,
        #[serde(default)]
        listen: Vec<SocketAddr>,
        note: Option<String>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Http {
        body_bytes_max: Option<u64>,
        service: Option<String>,
    }

    impl Checked for Config {
        fn problems(&self) -> Vec<String> {
            let ttl = (self.code_ttl_s > 600).then(|| "code_ttl_s: 1 to 600".to_owned());
            let query = self.issuer.query().map(|_| "issuer: no query".to_owned());
            ttl.into_iter().chain(query).collect()
        }
    }

    const PREFIX: &str = "COUNTERSIGN__";

    fn read(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigProblems> {
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        parse("c.toml", text, env, PREFIX)
    }

    const GOOD: &str = "issuer = \"https://id.example.com\"\ndatabase_url = \"postgres://u:hunter2@h/d\"\n";

    #[test]
    fn the_environment_goes_over_the_file() {
        let text = format!("{GOOD}code_ttl_s = 60\n[http]\nbody_bytes_max = 5\n");
        let env = [
            ("COUNTERSIGN__CODE_TTL_S", "61"),
            ("COUNTERSIGN__HTTP__SERVICE", "7"),
            ("COUNTERSIGN__LISTEN", "[\"127.0.0.1:80\"]"),
            ("COUNTERSIGN__NOTE", "a = b"),
            ("COUNTERSIGN_TEST_POSTGRES_URL", "not ours"),
            ("HOME", "/"),
        ];
        let config = read(&text, &env).unwrap();
        assert_eq!((config.code_ttl_s, config.http.body_bytes_max), (61, Some(5)));
        assert_eq!(config.http.service.as_deref(), Some("7"));
        assert_eq!(config.listen, ["127.0.0.1:80".parse().unwrap()]);
        assert_eq!(config.note.as_deref(), Some("a = b"));
    }

    #[test]
    fn all_problems_are_reported_at_once_with_their_places() {
        let text = "isuer = 1\ncode_ttl_s = \"hunter2\"\nlisten = [\"127.0.0.1:1\", \"hunter2\"]\n\n[http]\nbody = 3\n";
        let ConfigProblems(problems) =
            read(text, &[("COUNTERSIGN__HTTP__BODY_BYTES_MAX", "hunter2"), ("COUNTERSIGN__X__Y", "1")])
                .unwrap_err();
        for expected in [
            "c.toml:1: isuer: unknown key",
            "c.toml:2: code_ttl_s: expected u32",
            "c.toml:3: listen.1: invalid socket address syntax",
            "c.toml:6: http.body: unknown key",
            "COUNTERSIGN__HTTP__BODY_BYTES_MAX: http.body_bytes_max: expected u64",
            "COUNTERSIGN__X__Y: x: unknown key",
            "c.toml: issuer: missing",
            "c.toml: database_url: missing",
        ] {
            assert!(problems.iter().any(|problem| problem == expected), "{expected} in {problems:#?}");
        }
        assert_eq!(problems.len(), 8, "{problems:#?}");
        assert!(!problems.concat().contains("hunter2"), "{problems:#?}");
    }

    #[test]
    fn what_is_not_toml_is_reported_with_its_line() {
        let ConfigProblems(problems) = read("issuer = \"x\"\nnote = = 1\nnote = hunter2\n", &[]).unwrap_err();
        assert!(problems.iter().any(|problem| problem.starts_with("c.toml:2: ")), "{problems:?}");
        assert!(!problems.concat().contains("hunter2"), "{problems:?}");
        let ConfigProblems(problems) = read("note = \"a\"\nnote = \"b\"\n", &[]).unwrap_err();
        assert!(problems[0].starts_with("c.toml:2: "), "{problems:?}");
    }

    #[test]
    fn rules_between_values_are_reported_with_the_line_of_their_key() {
        let text = "issuer = \"https://a/?b\"\ndatabase_url = \"x\"\ncode_ttl_s = 601\n";
        let ConfigProblems(problems) = read(text, &[]).unwrap_err();
        assert_eq!(problems, ["c.toml:3: code_ttl_s: 1 to 600", "c.toml:1: issuer: no query"]);
    }

    #[test]
    fn a_url_that_does_not_parse_is_not_quoted() {
        let text = "issuer = \"hunter2\"\ndatabase_url = \"x\"\n";
        let ConfigProblems(problems) = read(text, &[]).unwrap_err();
        assert_eq!(problems.len(), 1);
        assert!(
            problems[0].starts_with("c.toml:1: issuer: ") && !problems[0].contains("hunter2"),
            "{problems:?}"
        );
    }

    #[test]
    fn a_type_that_refuses_unknown_fields_itself_gives_the_same_report() {
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only what is wrong with it matters")]
        struct Strict {
            name: String,
            http: StrictHttp,
        }
        #[derive(Debug, Deserialize)]
        #[serde(deny_unknown_fields)]
        #[allow(dead_code, reason = "only what is wrong with it matters")]
        struct StrictHttp {
            port: u16,
        }
        impl Checked for Strict {
            fn problems(&self) -> Vec<String> {
                Vec::new()
            }
        }
        let text = "nmae = 1\n[http]\nprot = 1\nport = 70000\n";
        let ConfigProblems(mut problems) =
            parse::<Strict>("c.toml", text, std::iter::empty(), PREFIX).unwrap_err();
        problems.sort();
        assert_eq!(
            problems,
            [
                "c.toml: name: missing",
                "c.toml:1: nmae: unknown key",
                "c.toml:3: http.prot: unknown key",
                "c.toml:4: http.port: expected u16",
            ]
        );
    }

    #[test]
    fn debug_hides_secrets() {
        let config = read(GOOD, &[]).unwrap();
        assert!(config.database_url.expose_secret().contains("hunter2"));
        assert!(!format!("{config:?}").contains("hunter2"));
    }

    #[test]
    fn a_file_that_is_not_there_is_a_problem() {
        let missing = Path::new("/nonexistent/c.toml");
        let ConfigProblems(problems) = load::<Config>(Some(missing), std::iter::empty(), PREFIX).unwrap_err();
        assert!(problems[0].starts_with("/nonexistent/c.toml: cannot be read"));
    }

    #[test]
    fn a_secret_file_open_to_everybody_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        std::fs::write(&path, "hunter2\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(read_secret_file(&path).unwrap_err().contains("chmod 600"));
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        assert_eq!(read_secret_file(&path).unwrap().expose_secret(), "hunter2");
        std::fs::write(&path, "\n").unwrap();
        assert!(read_secret_file(&path).unwrap_err().contains("empty"));
        assert!(read_secret_file(&folder.path().join("none")).unwrap_err().contains("cannot be read"));
    }
}
