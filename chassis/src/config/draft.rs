//! A configuration before it has its type: values, and where each came from.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use serde_path_to_error::{Segment, Track};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// The way from the top to a value; list indexes are digits.
type Keys = Vec<String>;

/// How many mistakes are looked for before the rest has to wait.
const ROUNDS_MAX: usize = 256;

enum Place {
    Line(usize),
    Variable { name: String, text: String },
}

pub(super) struct Draft {
    file: String,
    root: Value,
    places: BTreeMap<Keys, Place>,
    problems: Vec<String>,
}

impl Draft {
    /// # Errors
    /// One line for each place where the text is not TOML.
    pub(super) fn of_toml(file: &str, text: &str) -> Result<Self, Vec<String>> {
        let (table, errors) = DeTable::parse_recoverable(text);
        let line = |at: usize| text.get(..at).map_or(0, |before| before.matches('\n').count()) + 1;
        if !errors.is_empty() {
            let said = |error: &toml::de::Error| {
                let line = line(error.span().map_or(0, |span| span.start));
                format!("{file}:{line}: {}", without_values(error.message()))
            };
            return Err(errors.iter().map(said).collect());
        }
        let mut places = BTreeMap::new();
        let root = table_of(table.get_ref(), &mut Vec::new(), &mut |keys, at| {
            places.insert(keys.clone(), Place::Line(line(at)));
        });
        Ok(Self { file: file.to_owned(), root, places, problems: Vec::new() })
    }

    /// Puts the variables that begin with `prefix` over the file's values.
    pub(super) fn overlay(&mut self, env: impl Iterator<Item = (String, String)>, prefix: &str) {
        let mut ours: Vec<_> = env.filter(|(name, _)| name.starts_with(prefix)).collect();
        ours.sort();
        for (name, text) in ours {
            let keys: Keys =
                name[prefix.len()..].to_ascii_lowercase().split("__").map(str::to_owned).collect();
            if insert(&mut self.root, &keys, guess(&text)) {
                self.places.insert(keys, Place::Variable { name, text });
            } else {
                self.problems.push(format!("{name}: it goes below a key that is not a table"));
            }
        }
    }

    /// Gives the draft its type. After each mistake a stand-in takes the place of the value, so that the next
    /// mistake is found too; what comes out beside problems is therefore not usable.
    pub(super) fn fill<T: DeserializeOwned>(&mut self) -> (Option<T>, Vec<String>) {
        let mut problems = std::mem::take(&mut self.problems);
        let mut stand_ins: BTreeMap<Keys, usize> = BTreeMap::new();
        let mut reported = BTreeSet::new();
        for _ in 0..ROUNDS_MAX {
            let mut track = Track::new();
            let mut unknown = Vec::new();
            let tracked = serde_path_to_error::Deserializer::new(self.root.clone(), &mut track);
            let filled = serde_ignored::deserialize(tracked, |path| unknown.push(keys_of(&path)));
            let mut report = |keys: &Keys, said: &str, draft: &Self| {
                if reported.insert(keys.clone()) {
                    problems.push(draft.describe(keys, said));
                }
            };
            let wrong = match filled {
                Ok(config) => {
                    for keys in &unknown {
                        report(keys, "unknown key", self);
                    }
                    return (Some(config), problems);
                }
                Err(wrong) => wrong,
            };
            let mut keys = steps_of(&track.path());
            let said = wrong.to_string();
            let named = said.split('`').nth(1).unwrap_or_default();
            if said.starts_with("unknown field") {
                report(&keys, "unknown key", self);
                if !remove(&mut self.root, &keys) {
                    break;
                }
                continue;
            }
            if said.starts_with("missing field") {
                keys.push(named.to_owned());
            }
            if let Some(below) = stand_ins.keys().find(|known| keys.starts_with(known)) {
                keys.clone_from(below);
            } else if self.retry_as_text(&keys) {
                continue;
            } else {
                let missing = said.starts_with("missing field");
                report(&keys, &if missing { "missing".to_owned() } else { without_values(&said) }, self);
            }
            if !self.stand_in(&keys, stand_ins.entry(keys.clone()).or_default()) {
                break;
            }
        }
        (None, problems)
    }

    /// A variable's text that looked like a number or a list may have been meant as text.
    fn retry_as_text(&mut self, keys: &Keys) -> bool {
        let Some(Place::Variable { text, .. }) = self.places.get(keys) else { return false };
        let text = Value::String(text.clone());
        find(&mut self.root, keys).is_some_and(|value| {
            let differs = *value != text;
            *value = text;
            differs
        })
    }

    /// Puts the next value of some type where a mistake was.
    fn stand_in(&mut self, keys: &Keys, tried: &mut usize) -> bool {
        let candidates = [
            Value::Null,
            json!(""),
            json!("https://stand-in.invalid"),
            json!("127.0.0.1:0"),
            json!(1),
            json!(false),
            json!([]),
            json!({}),
        ];
        let Some(candidate) = candidates.into_iter().nth(*tried) else { return false };
        *tried += 1;
        if let Some(value) = find(&mut self.root, keys) {
            *value = candidate;
            return true;
        }
        insert(&mut self.root, keys, candidate)
    }

    /// A sentence of [`super::Checked::problems`] with the place of the key that it begins with.
    pub(super) fn located(&self, problem: String) -> String {
        let key = problem.split(':').next().unwrap_or_default();
        let keys: Keys = key.split('.').map(str::to_owned).collect();
        match self.places.get(&keys) {
            Some(Place::Line(line)) => format!("{}:{line}: {problem}", self.file),
            Some(Place::Variable { name, .. }) => format!("{name}: {problem}"),
            None => problem,
        }
    }

    fn describe(&self, keys: &Keys, said: &str) -> String {
        let shown = keys.join(".");
        let above = (1..=keys.len()).rev().find_map(|end| self.places.get(&keys[..end]));
        let below = self.places.iter().find(|(known, _)| known.starts_with(keys)).map(|(_, place)| place);
        match self.places.get(keys).or(below).or(above) {
            Some(Place::Line(line)) => format!("{}:{line}: {shown}: {said}", self.file),
            Some(Place::Variable { name, .. }) => format!("{name}: {shown}: {said}"),
            None if self.file.is_empty() => format!("{shown}: {said}"),
            None => format!("{}: {shown}: {said}", self.file),
        }
    }
}

fn table_of(table: &DeTable<'_>, keys: &mut Keys, note: &mut dyn FnMut(&Keys, usize)) -> Value {
    let mut members = Map::new();
    for (key, value) in table {
        keys.push(key.get_ref().to_string());
        note(keys, key.span().start);
        members.insert(key.get_ref().to_string(), value_of(value, keys, note));
        keys.pop();
    }
    Value::Object(members)
}

fn value_of(value: &Spanned<DeValue<'_>>, keys: &mut Keys, note: &mut dyn FnMut(&Keys, usize)) -> Value {
    match value.get_ref() {
        DeValue::String(text) => json!(text),
        DeValue::Integer(number) => {
            let parsed = i64::from_str_radix(number.as_str(), number.radix());
            parsed.map_or_else(|_| json!(number.to_string()), |number| json!(number))
        }
        DeValue::Float(number) => number.as_str().parse::<f64>().map_or(Value::Null, |number| json!(number)),
        DeValue::Boolean(truth) => json!(truth),
        DeValue::Datetime(moment) => json!(moment.to_string()),
        DeValue::Array(items) => {
            let item = |(index, item): (usize, &Spanned<DeValue<'_>>)| {
                keys.push(index.to_string());
                note(keys, item.span().start);
                let value = value_of(item, keys, note);
                keys.pop();
                value
            };
            items.iter().enumerate().map(item).collect()
        }
        DeValue::Table(table) => table_of(table, keys, note),
    }
}

/// A variable's text as a TOML number, truth value, list or table, else as text.
fn guess(text: &str) -> Value {
    match DeValue::parse(text) {
        Ok(value) if !matches!(value.get_ref(), DeValue::String(_) | DeValue::Datetime(_)) => {
            value_of(&value, &mut Vec::new(), &mut |_, _| ())
        }
        _ => json!(text),
    }
}

fn insert(root: &mut Value, keys: &[String], value: Value) -> bool {
    let Some((last, above)) = keys.split_last() else { return false };
    let mut at = root;
    for key in above {
        at = match at {
            Value::Object(members) => members.entry(key.clone()).or_insert_with(|| json!({})),
            Value::Array(items) => match key.parse().ok().and_then(|index: usize| items.get_mut(index)) {
                Some(item) => item,
                None => return false,
            },
            _ => return false,
        };
    }
    let Value::Object(members) = at else { return false };
    members.insert(last.clone(), value);
    true
}

fn find<'v>(root: &'v mut Value, keys: &[String]) -> Option<&'v mut Value> {
    keys.iter().try_fold(root, |at, key| match at {
        Value::Object(members) => members.get_mut(key),
        Value::Array(items) => key.parse().ok().and_then(|index: usize| items.get_mut(index)),
        _ => None,
    })
}

fn remove(root: &mut Value, keys: &[String]) -> bool {
    let Some((last, above)) = keys.split_last() else { return false };
    find(root, above).and_then(Value::as_object_mut).is_some_and(|members| members.remove(last).is_some())
}

fn keys_of(path: &serde_ignored::Path<'_>) -> Keys {
    use serde_ignored::Path::{Map, NewtypeStruct, NewtypeVariant, Root, Seq, Some};
    let (parent, key) = match path {
        Root => return Vec::new(),
        Seq { parent, index } => (parent, index.to_string()),
        Map { parent, key } => (parent, key.clone()),
        Some { parent } | NewtypeStruct { parent } | NewtypeVariant { parent } => return keys_of(parent),
    };
    let mut keys = keys_of(parent);
    keys.push(key);
    keys
}

fn steps_of(path: &serde_path_to_error::Path) -> Keys {
    path.iter()
        .filter_map(|step| match step {
            Segment::Seq { index } => Some(index.to_string()),
            Segment::Map { key } => Some(key.clone()),
            Segment::Enum { .. } | Segment::Unknown => None,
        })
        .collect()
}

/// What serde or toml said, without the values it quotes.
fn without_values(said: &str) -> String {
    if let Some((_, expected)) = said.split_once(", expected ")
        && (said.starts_with("invalid") || said.starts_with("unknown variant"))
    {
        return format!("expected {expected}");
    }
    let mut kept = String::new();
    let mut quote = None;
    let mut escaped = false;
    for letter in said.chars() {
        match quote {
            Some(_) if escaped => escaped = false,
            Some('"') if letter == '\\' => escaped = true,
            Some(open) if letter == open => quote = None,
            Some(_) => {}
            None if matches!(letter, '"' | '`') => {
                quote = Some(letter);
                kept.push('…');
            }
            None => kept.push(letter),
        }
    }
    kept.trim_end_matches([':', ' ', '…']).to_owned()
}
