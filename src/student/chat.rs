//! Chat templates: the Jinja text with which a student that was tuned to converse was trained.
//!
//! A template comes from wherever the student came from, so it is hostile input: it has no way to files, so many steps,
//! and so much output. It sees marks in the place of the messages; what it wraps them in is then told apart from what
//! they say, so that text of the data can never become part of the template.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{Environment, Error, ErrorKind, context};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::StudentError;
use crate::text;

/// Steps that a template may take; the longest published ones take some thousands.
const FUEL: u64 = 200_000;
/// Bytes that a template may be long, and may write.
const LONGEST: usize = 1 << 20;
/// What `strftime_now` gives, whatever the day: a run must ask tomorrow what it asked today. It is the day that Llama's
/// own templates fall back on.
const TODAY: jiff::civil::DateTime = jiff::civil::datetime(2024, 7, 26, 0, 0, 0, 0);

/// The template of a student, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChatTemplate {
    source: String,
    path: PathBuf,
}

/// Someone's turn in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// `system`, `user` or `assistant`.
    pub role: &'a str,
    pub content: &'a str,
}

/// A question and its answer as the template puts them, cut at what is said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conversation {
    /// What stands before the answer.
    pub opening: Vec<Part>,
    /// What stands after it.
    pub ending: String,
}

/// A part of a [`Conversation`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text of the template, special tokens spelled out.
    Template(String),
    System,
    User,
}

/// What stands for the messages while a template is rendered. The characters are for private use, so no template has a
/// meaning for them, and nothing is trimmed from them.
const SYSTEM: &str = "\u{F8A0}system\u{F8A1}";
const USER: &str = "\u{F8A0}user\u{F8A1}";
const ASSISTANT: &str = "\u{F8A0}assistant\u{F8A1}";

impl ChatTemplate {
    pub fn new(source: String, path: PathBuf) -> Self {
        Self { source, path }
    }

    /// The Jinja text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The file that it stands in.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn wrong(&self, problem: &str) -> StudentError {
        let problem = format!("the chat template {problem} · `rationale.chat: none` asks without it");
        StudentError::File { path: self.path.clone(), problem }
    }

    fn failed(&self, error: &Error) -> StudentError {
        let line = error.line().map_or(String::new(), |line| format!(", line {line}"));
        let what = match error.kind() {
            ErrorKind::OutOfFuel => format!("it takes more than {FUEL} steps"),
            ErrorKind::WriteFailure => format!("it writes more than {LONGEST} bytes"),
            kind => error.detail().map_or_else(|| kind.to_string(), str::to_owned),
        };
        self.wrong(&format!("can't be used{line}: {}", text::excerpt(&what, 200)))
    }

    /// The conversation as text, as transformers renders it. `named` gives `bos_token`, `eos_token` and so on.
    pub fn render(
        &self,
        named: &BTreeMap<String, String>,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, StudentError> {
        if self.source.len() > LONGEST {
            return Err(self.wrong(&format!("is longer than {LONGEST} bytes")));
        }
        let source = without_generation_marks(&self.source);
        let environment = environment();
        let template = environment.template_from_str(&source).map_err(|error| self.failed(&error))?;
        let messages: Vec<Value> =
            messages.iter().map(|message| context! { role => message.role, content => message.content }).collect();
        let own = context! { messages, add_generation_prompt, tools => (), documents => () };
        let named = Value::from(named.clone());
        let mut out = Limited(Vec::new());
        template.render_captured_to(context! { ..own, ..named }, &mut out).map_err(|error| self.failed(&error))?;
        Ok(String::from_utf8_lossy(&out.0).into_owned())
    }

    /// How the template puts a question and its answer.
    pub fn conversation(
        &self,
        named: &BTreeMap<String, String>,
        system: Option<&str>,
    ) -> Result<Conversation, StudentError> {
        let mut messages: Vec<Message> = Vec::new();
        messages.extend(system.map(|_| Message { role: "system", content: SYSTEM }));
        messages.push(Message { role: "user", content: USER });
        let mut opening = self.render(named, &messages, true)?;
        messages.push(Message { role: "assistant", content: ASSISTANT });
        let whole = self.render(named, &messages, false)?;
        let (before, ending) = whole.split_once(ASSISTANT).unwrap_or((&whole, ""));
        if !ending.is_empty() && ending.contains(ASSISTANT) {
            return Err(self.wrong("writes the answer twice"));
        }
        // What the template puts before an answer that is there: a space, or empty thoughts.
        if before.len() > opening.len() && before.starts_with(&opening) && whole.contains(ASSISTANT) {
            opening = before.to_owned();
        }
        let wanted = [(SYSTEM, "system message", usize::from(system.is_some())), (USER, "question", 1)];
        for (mark, what, count) in wanted {
            match opening.matches(mark).count() {
                found if found == count => {}
                0 => return Err(self.wrong(&format!("leaves out the {what}"))),
                found => return Err(self.wrong(&format!("writes the {what} {found} times"))),
            }
        }
        let mut parts = Vec::new();
        let mut rest = opening.as_str();
        let marks = [(SYSTEM, Part::System), (USER, Part::User)];
        while let Some((at, mark, part)) =
            marks.iter().filter_map(|(mark, part)| Some((rest.find(mark)?, *mark, part))).min_by_key(|found| found.0)
        {
            parts.push(Part::Template(rest[..at].to_owned()));
            parts.push(part.clone());
            rest = &rest[at + mark.len()..];
        }
        parts.push(Part::Template(rest.to_owned()));
        Ok(Conversation { opening: parts, ending: ending.to_owned() })
    }
}

/// Jinja as transformers sets it up, with what templates call.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    if let Ok(syntax) = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build() {
        environment.set_syntax(syntax);
    }
    environment.set_fuel(Some(FUEL));
    environment.set_recursion_limit(64);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.add_function("raise_exception", |message: String| -> Result<Value, Error> {
        Err(Error::new(ErrorKind::InvalidOperation, format!("it says: {message}")))
    });
    environment.add_function("strftime_now", |format: String| -> Result<String, Error> {
        jiff::fmt::strtime::format(&format, TODAY)
            .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
    });
    // Without the marks of HTML escaped, as transformers writes it.
    environment.add_filter("tojson", |value: Value, _: Kwargs| json(&value));
    environment
}

/// A value of a template as JSON, spaced as Python does. Only tools need it, and we have none; texts and numbers do.
fn json(value: &Value) -> Result<String, Error> {
    if let Some(text) = value.as_str() {
        return Ok(serde_json::Value::from(text).to_string());
    }
    if value.is_none() {
        return Ok("null".into());
    }
    if value.is_number() || value.kind() == minijinja::value::ValueKind::Bool {
        return Ok(value.to_string());
    }
    Err(Error::new(ErrorKind::InvalidOperation, "only texts and numbers can be written as JSON here"))
}

/// `{% generation %}` marks what an assistant said, for training; it writes nothing. minijinja does not know it, so a
/// block that is always taken stands in its place.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let end = tag.find("%}").map_or(tag.len(), |end| end + 2);
        let (tag, behind) = tag.split_at(end);
        let word = tag.trim_start_matches("{%").trim_end_matches("%}").trim_matches(['-', '+']).trim();
        match word {
            "generation" => out.push_str(&tag.replace(word, "if true")),
            "endgeneration" => out.push_str(&tag.replace(word, "endif")),
            _ => out.push_str(tag),
        }
        rest = behind;
    }
    out.push_str(rest);
    out
}

/// Output of bounded length.
struct Limited(Vec<u8>);

impl Write for Limited {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > LONGEST {
            return Err(io::Error::other("too long"));
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(source: &str) -> ChatTemplate {
        ChatTemplate::new(source.into(), "student/chat_template.jinja".into())
    }

    fn conversation(source: &str, system: Option<&str>) -> Result<Conversation, String> {
        let named = BTreeMap::from([("eos_token".to_owned(), "</s>".to_owned())]);
        template(source).conversation(&named, system).map_err(|error| error.to_string())
    }

    const BRACKETS: &str = "{% for m in messages %}{% if m.role == 'user' %}[Q] {{ m.content.strip() }} [A]\
                            {% else %} {{ m['content'] + eos_token }}{% endif %}{% endfor %}";

    #[test]
    fn a_conversation_is_cut_at_what_is_said() {
        let found = conversation(BRACKETS, None).unwrap();
        let text = |text: &str| Part::Template(text.into());
        // The space before an answer belongs to the opening, though the prompt to generate from lacks it.
        assert_eq!(found.opening, [text("[Q] "), Part::User, text(" [A] ")]);
        assert_eq!(found.ending, "</s>");
        let both = "{% for m in messages %}<{{ m.role }}>{{ m.content }}\n{% endfor %}\
                    {% if add_generation_prompt %}<assistant>{% endif %}";
        let found = conversation(both, Some("be short")).unwrap();
        assert_eq!(
            found.opening,
            [text("<system>"), Part::System, text("\n<user>"), Part::User, text("\n<assistant>")]
        );
        assert_eq!(found.ending, "\n");
    }

    #[test]
    fn what_published_templates_call_is_there() {
        let text = |source: &str| {
            let messages = [Message { role: "user", content: " hi " }];
            template(source).render(&BTreeMap::new(), &messages, true).unwrap()
        };
        assert_eq!(text("{{ strftime_now('%d %b %Y') }}"), "26 Jul 2024");
        assert_eq!(
            text(
                "{% set ns = namespace(n=1) %}{% for m in messages %}{% set ns.n = loop.index0 %}{% endfor %}{{ ns.n }}"
            ),
            "0"
        );
        assert_eq!(text("{% generation %}{{ messages[0]['content'] | trim }}{% endgeneration %}"), "hi");
        assert_eq!(text("{% if messages[0].role.startswith('us') and not tools %}yes\n{% endif %}\nend"), "yes\nend");
        assert_eq!(text("{{ messages[::-1][0].content.split('h')[-1] }}|{{ bos_token }}|"), "i ||");
        assert_eq!(
            text("{% for m in messages %}{% break %}{% endfor %}{{ messages[0].content | tojson }}"),
            "\" hi \""
        );
    }

    #[test]
    fn a_template_that_can_not_be_used_is_named_with_its_line() {
        for (source, words) in [
            ("one\n{% if %}", "line 2"),
            ("{{ raise_exception('Only\u{1b}[31m users') }}", "it says: Only␛[31m users"),
            ("\n\n{{ messages[0].content.explode() }}", "line 3"),
            ("{% for a in range(9999) %}{% for b in range(9999) %}{{ a }}{% endfor %}{% endfor %}", "steps"),
            ("{{ 'x' * 2000000 }}", "bytes"),
            ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "can't be used"),
            ("{% include '/etc/passwd' %}", "can't be used"),
            ("hello", "leaves out the question"),
            ("{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}", "twice"),
        ] {
            let error = conversation(source, None).unwrap_err();
            assert!(error.contains("chat_template.jinja") && error.contains(words), "{source}: {error}");
            assert!(error.contains("rationale.chat: none"), "{error}");
        }
        let error =
            conversation(BRACKETS.replace("else", "elif m.role == 'assistant'").as_str(), Some("x")).unwrap_err();
        assert!(error.contains("leaves out the system message"), "{error}");
    }
}
