//! The words of mails: a text and an HTML file for each letter, built in, and replaced by files of the operator's.
//!
//! A template is text with placeholders, `{{link}}`; there is nothing to compute in a mail, and what is this simple can be
//! checked whole when the configuration is read: a placeholder that a letter does not have is an error with its place, and so is
//! a letter that lacks what it is for. (Templates compiled into the binary could not be replaced, and a second engine for
//! those that replace them would be one more thing to differ.) In HTML what is put in is escaped.

use std::{collections::BTreeMap, fmt, fs, path::Path};

use super::letter::Letter;

/// What may be put in, and its value.
pub(crate) type Values = BTreeMap<String, String>;

/// Every letter's words, checked.
#[derive(Clone, PartialEq, Eq)]
pub struct Templates(BTreeMap<&'static str, Template>);

#[derive(Clone, PartialEq, Eq)]
struct Template {
    subject: String,
    text: String,
    html: String,
}

/// A mail's words.
pub(crate) struct Words {
    pub(crate) subject: String,
    pub(crate) text: String,
    pub(crate) html: String,
}

/// Why a template cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateFault {
    file: String,
    line: usize,
    message: String,
}

const SUBJECT: &str = "Subject: ";

// === impl Templates ===

impl Templates {
    /// Those that are built in.
    ///
    /// # Panics
    /// Never: a test reads them all.
    #[must_use]
    pub fn built_in() -> Self {
        Self::read(|_| None).unwrap_or_else(|faults| panic!("a template that is built in cannot be used: {faults:?}"))
    }

    /// Those of a folder, and the ones built in for what it does not have. A file that is no template's is an error: its name is
    /// misspelt, and the words that it replaces would be sent instead.
    pub fn load(folder: &Path) -> Result<Self, Vec<TemplateFault>> {
        let fault = |file: String, message: String| TemplateFault { file, line: 0, message };
        let unreadable = |error: std::io::Error| vec![fault(called(folder), error.to_string())];
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let path = entry.map_err(unreadable)?.path();
            let name = called(&path);
            let text = fs::read_to_string(&path).map_err(|error| vec![fault(name.clone(), error.to_string())])?;
            files.insert(name, text);
        }
        let known = |name: &String| Letter::ALL.iter().any(|letter| letter.files().contains(name));
        let unknown: Vec<_> = files
            .keys()
            .filter(|name| !known(name))
            .map(|name| fault(name.clone(), "is the name of no template".to_owned()))
            .collect();
        if unknown.is_empty() { Self::read(|name| files.get(name).cloned()) } else { Err(unknown) }
    }

    fn read(own: impl Fn(&str) -> Option<String>) -> Result<Self, Vec<TemplateFault>> {
        let (mut templates, mut faults) = (BTreeMap::new(), Vec::new());
        for letter in Letter::ALL {
            let [text_file, html_file] = letter.files();
            let [text, html] = letter.built_in();
            let text = own(&text_file).unwrap_or_else(|| text.to_owned());
            let html = own(&html_file).unwrap_or_else(|| html.to_owned());
            faults.extend(check(letter, &text_file, &text));
            faults.extend(check(letter, &html_file, &html));
            let (subject, text) = text.split_once('\n').unwrap_or((&text, ""));
            match subject.strip_prefix(SUBJECT).map(str::trim).filter(|subject| !subject.is_empty()) {
                Some(subject) => {
                    let text = text.trim_start_matches(['\r', '\n']).to_owned();
                    templates.insert(letter.word(), Template { subject: subject.to_owned(), text, html });
                }
                None => faults.push(TemplateFault {
                    file: text_file,
                    line: 1,
                    message: format!("must begin with a line \"{SUBJECT}…\""),
                }),
            }
        }
        if faults.is_empty() { Ok(Self(templates)) } else { Err(faults) }
    }

    /// The words of a letter with these values.
    pub(crate) fn write(&self, letter: Letter, values: &Values) -> Option<Words> {
        let template = self.0.get(letter.word())?;
        // A subject is one line, whatever is put in.
        let subject = fill(&template.subject, values, |value| value.replace(char::is_control, " "));
        let (text, html) = (fill(&template.text, values, str::to_owned), fill(&template.html, values, escape));
        Some(Words { subject, text, html })
    }
}

// === impl TemplateFault ===

impl fmt::Display for TemplateFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.message),
            line => write!(f, "{}:{line}: {}", self.file, self.message),
        }
    }
}

fn called(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Every placeholder of a text, with its line; or the line where one does not end.
fn placeholders(text: &str) -> impl Iterator<Item = (usize, Option<&str>)> {
    text.lines().enumerate().flat_map(|(index, line)| {
        line.split("{{").skip(1).map(move |rest| (index + 1, rest.split_once("}}").map(|(name, _)| name.trim())))
    })
}

fn check(letter: Letter, file: &str, text: &str) -> Vec<TemplateFault> {
    let fault = |line, message: String| TemplateFault { file: file.to_owned(), line, message };
    let known = letter.placeholders();
    let mut faults: Vec<_> = placeholders(text)
        .filter_map(|(line, name)| match name {
            None => Some(fault(line, "{{ is never closed by }}".to_owned())),
            Some(name) if !known.contains(&name) => {
                Some(fault(line, format!("there is no {{{{{name}}}}} here; there are {}", known.join(", "))))
            }
            Some(_) => None,
        })
        .collect();
    let says = |wanted: &str| placeholders(text).any(|(_, name)| name == Some(wanted));
    if known.contains(&"token") && !says("token") && !says("link") {
        faults.push(fault(0, "must hold {{link}} or {{token}}: it is what the mail is for".to_owned()));
    }
    faults
}

/// Puts the values in; what is put in is not looked at again.
fn fill(text: &str, values: &Values, written: impl Fn(&str) -> String) -> String {
    let mut parts = text.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or((part, ""));
        filled.push_str(&values.get(name.trim()).map(|value| written(value)).unwrap_or_default());
        filled.push_str(rest);
    }
    filled
}

/// For text and attributes in double quotes.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
mod tests {
    use super::*;

    fn values(pairs: &[(&str, &str)]) -> Values {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn faults(files: &[(&str, &str)]) -> Vec<String> {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(folder.path().join(name), text).unwrap();
        }
        Templates::load(folder.path()).err().unwrap_or_default().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_letter_has_words_and_says_all_that_it_is_given() {
        let all = Templates::built_in();
        for letter in Letter::ALL {
            let given = letter.placeholders().iter().map(|name| ((*name).to_owned(), format!("<{name}>"))).collect();
            let words = all.write(letter, &given).unwrap();
            assert!(words.subject.contains("<product>") && !words.text.contains("{{") && !words.html.contains("{{"));
            for name in letter.placeholders().iter().filter(|name| **name != "product") {
                assert!(words.text.contains(&format!("<{name}>")), "{letter:?} {name}");
                assert!(words.html.contains(&format!("&lt;{name}&gt;")), "{letter:?} {name}");
            }
        }
    }

    #[test]
    fn what_is_put_in_is_neither_markup_nor_another_placeholder_nor_a_second_line_of_the_subject() {
        let given = values(&[
            ("product", "A\r\nBcc: x@example.com"),
            ("email", "\"><script>'{{token}}&"),
            ("minutes", "30"),
            ("link", "https://a.test/?x=1&y=2"),
            ("token", "SECRET"),
        ]);
        let words = Templates::built_in().write(Letter::ResetPassword, &given).unwrap();
        assert!(!words.subject.contains(['\r', '\n']), "{:?}", words.subject);
        assert!(words.html.contains("&quot;&gt;&lt;script&gt;&#39;{{token}}&amp;"), "{}", words.html);
        assert!(words.html.contains("href=\"https://a.test/?x=1&amp;y=2\""), "{}", words.html);
        assert!(words.text.contains("\"><script>'{{token}}&"), "{}", words.text);
    }

    #[test]
    fn an_operators_files_replace_those_built_in_one_by_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("magic_link.txt"), "Subject:  Hallo \n\nHier: {{ link }}\n").unwrap();
        let own = Templates::load(folder.path()).unwrap();
        let words = own.write(Letter::MagicLink, &values(&[("link", "L")])).unwrap();
        assert_eq!((&*words.subject, &*words.text), ("Hallo", "Hier: L\n"));
        assert!(words.html.contains("<a href=\"L\">"), "{}", words.html);
        assert!(own != Templates::built_in());
    }

    #[test]
    fn a_template_that_cannot_be_meant_is_told_with_its_place() {
        assert_eq!(faults(&[]), Vec::<String>::new());
        insta::assert_snapshot!(faults(&[
            ("magic_link.txt", "Subject: x\n\n{{link}} {{nmae}}\n{{token"),
            ("magic_link.html", "<p>nothing to click on</p>"),
            ("verify_email.txt", "Hello {{link}}"),
        ]).join("\n"), @r#"
        verify_email.txt:1: must begin with a line "Subject: …"
        magic_link.txt:3: there is no {{nmae}} here; there are email, product, minutes, link, token
        magic_link.txt:4: {{ is never closed by }}
        magic_link.html: must hold {{link}} or {{token}}: it is what the mail is for
        "#);
        insta::assert_snapshot!(faults(&[("magiclink.txt", "Subject: x\n\n{{link}}")]).join("\n"), @"magiclink.txt: is the name of no template");
        assert_eq!(Templates::load(Path::new("/nonexistent")).err().unwrap().len(), 1);
    }
}
