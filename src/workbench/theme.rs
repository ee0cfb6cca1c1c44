//! Colours and text attributes by meaning, from `themes/*.yaml`. Colour never carries meaning alone: where two things
//! differ by colour they also differ by an attribute, a sign or a glyph.

use std::path::Path;

use ratatui::style::{Color, Modifier, Style};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::attribution::export::{WEAK, mark};
use crate::corpus::{did_you_mean, nearest};

/// The themes that the binary carries.
const BUILT_IN: [(&str, &str); 4] = [
    ("dark", include_str!("../../themes/dark.yaml")),
    ("light", include_str!("../../themes/light.yaml")),
    ("mono", include_str!("../../themes/mono.yaml")),
    ("colour-blind", include_str!("../../themes/colour-blind.yaml")),
];

/// The name of the theme that follows the terminal.
pub const AUTO: &str = "auto";

/// How many colours the terminal has.
#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Colours {
    #[serde(rename = "none")]
    #[value(name = "none")]
    None,
    #[serde(rename = "16")]
    #[value(name = "16")]
    Sixteen,
    #[serde(rename = "256")]
    #[value(name = "256")]
    Palette,
    #[serde(rename = "true")]
    #[value(name = "true")]
    True,
}

impl Colours {
    pub const ALL: [Self; 4] = [Self::None, Self::Sixteen, Self::Palette, Self::True];

    /// In as few letters as the status has room for.
    pub fn short(self) -> &'static str {
        match self {
            Self::None => "mono",
            Self::Sixteen => "16",
            Self::Palette => "256",
            Self::True => "24 bit",
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none (NO_COLOR or a plain terminal)",
            Self::Sixteen => "16",
            Self::Palette => "256",
            Self::True => "16 million",
        }
    }
}

/// What the environment says about colours; no terminal is asked, as an answer may come late or never.
pub fn colours() -> Colours {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let term = variable("TERM");
    if !variable("NO_COLOR").is_empty() || term == "dumb" || term.is_empty() {
        Colours::None
    } else if matches!(variable("COLORTERM").as_str(), "truecolor" | "24bit") || term.ends_with("-direct") {
        Colours::True
    } else if term.contains("256color") {
        Colours::Palette
    } else {
        Colours::Sixteen
    }
}

/// A style for each meaning.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Theme {
    /// Data.
    pub text: StyleSpec,
    /// Borders, labels and hints.
    pub chrome: StyleSpec,
    /// The focused pane and the things that can be acted on.
    pub accent: StyleSpec,
    /// The selected row.
    pub selection: StyleSpec,
    pub heading: StyleSpec,
    pub good: StyleSpec,
    pub bad: StyleSpec,
    pub warning: StyleSpec,
    /// The label, where the student learns it.
    pub label: StyleSpec,
    /// Rationale tokens that are in the loss.
    pub rationale: StyleSpec,
    /// Rationale tokens that are not.
    pub unlearnt: StyleSpec,
    /// Words that a person marked.
    pub highlight: StyleSpec,
    /// The word under the cursor.
    pub cursor: StyleSpec,
    /// For and against the label, weak to strong.
    pub positive: Vec<StyleSpec>,
    pub negative: Vec<StyleSpec>,
    /// Curves, in turn.
    pub series: Vec<StyleSpec>,
}

/// `{fg: "#88c0d0", bg: 236, bold: true}`, every part optional.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct StyleSpec {
    fg: Option<ColourSpec>,
    bg: Option<ColourSpec>,
    bold: bool,
    dim: bool,
    italic: bool,
    underline: bool,
    reverse: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct ColourSpec(Color);

impl<'de> Deserialize<'de> for ColourSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Index(u8),
            Name(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Index(index) => Ok(Self(Color::Indexed(index))),
            Form::Name(name) => name.parse().map(Self).map_err(|_| {
                serde::de::Error::custom(format!("`{name}` is no colour; write \"#rrggbb\", 0 to 255, or a name"))
            }),
        }
    }
}

impl Serialize for ColourSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.to_string().serialize(serializer)
    }
}

impl Theme {
    /// Finds a theme by name, the project's own before the built-in ones, for a terminal with these colours.
    pub fn load(project: &Path, name: &str, colours: Colours) -> anyhow::Result<Self> {
        let own = project.join("themes").join(format!("{name}.yaml"));
        let known = || BUILT_IN.iter().map(|(name, _)| *name);
        let built_in = BUILT_IN.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned());
        let is_name = !name.contains(['/', '\\']) && !name.starts_with('.');
        let text = match std::fs::read_to_string(&own) {
            Ok(text) if is_name => text,
            _ => built_in.ok_or_else(|| {
                let list = known().collect::<Vec<_>>().join(", ");
                let nearest = did_you_mean(&nearest(name, known()));
                anyhow::anyhow!("there is no theme `{}`{nearest} · there are {list}", crate::text::line(name))
            })?,
        };
        let mut theme: Self =
            serde_yaml::from_str(&text).map_err(|error| anyhow::anyhow!("{}: {error}", own.display()))?;
        theme.fit(colours);
        Ok(theme)
    }

    /// A theme that the program carries; no file is read.
    pub fn built_in(name: &str, colours: Colours) -> Option<Self> {
        let (_, text) = BUILT_IN.iter().find(|(known, _)| *known == name)?;
        let mut theme: Self = serde_yaml::from_str(text).ok()?;
        theme.fit(colours);
        Some(theme)
    }

    /// The theme that a name means: [`AUTO`] is dark until the terminal is known to be light.
    pub fn meant(name: &str, is_light: Option<bool>, colours: Colours) -> &str {
        match (name, colours, is_light) {
            (AUTO, Colours::None, _) => "mono",
            (AUTO, _, Some(true)) => "light",
            (AUTO, ..) => "dark",
            (name, ..) => name,
        }
    }

    /// Names of all themes that can be chosen.
    pub fn names(project: &Path) -> Vec<String> {
        let built_in = BUILT_IN.iter().map(|(name, _)| *name);
        let mut names: Vec<String> = [AUTO].into_iter().chain(built_in).map(str::to_owned).collect();
        let own = std::fs::read_dir(project.join("themes")).into_iter().flatten().flatten();
        names.extend(own.filter_map(|entry| Some(entry.file_name().to_str()?.strip_suffix(".yaml")?.to_owned())));
        names.sort();
        names.dedup();
        names
    }

    /// Leaves only colours that the terminal has.
    fn fit(&mut self, colours: Colours) {
        let single = [
            &mut self.text,
            &mut self.chrome,
            &mut self.accent,
            &mut self.selection,
            &mut self.heading,
            &mut self.good,
            &mut self.bad,
            &mut self.warning,
            &mut self.label,
            &mut self.rationale,
            &mut self.unlearnt,
            &mut self.highlight,
            &mut self.cursor,
        ];
        let many = [&mut self.positive, &mut self.negative, &mut self.series].into_iter().flatten();
        for style in single.into_iter().chain(many) {
            for colour in [&mut style.fg, &mut style.bg] {
                *colour = colour.and_then(|ColourSpec(colour)| reduce(colour, colours)).map(ColourSpec);
            }
        }
    }

    /// What stands before a token of this strength, -1 to 1, where no colour tells it.
    pub fn mark(&self, strength: f64) -> &'static str {
        if self.has_colours() { "" } else { mark(strength) }
    }

    /// Whether colour tells scores apart; they need signs of their own where it does not.
    fn has_colours(&self) -> bool {
        [&self.positive, &self.negative].into_iter().flatten().any(|style| style.fg.is_some() || style.bg.is_some())
    }

    /// The style of the `n`th curve.
    pub fn series(&self, n: usize) -> Style {
        self.series.get(n % self.series.len().max(1)).copied().unwrap_or_default().style()
    }

    /// The style of a score, `strength` from -1 to 1.
    pub fn score(&self, strength: f64) -> Style {
        let scale = if strength < 0.0 { &self.negative } else { &self.positive };
        if scale.is_empty() || strength.abs() < WEAK {
            return self.text.style();
        }
        let place = ((strength.abs() * scale.len() as f64) as usize).min(scale.len() - 1);
        scale[place].style()
    }
}

impl StyleSpec {
    pub fn style(self) -> Style {
        let [fg, bg] = [self.fg, self.bg].map(|colour| colour.map(|colour| colour.0));
        let mut style = Style { fg, bg, ..Style::default() };
        for (set, modifier) in [
            (self.bold, Modifier::BOLD),
            (self.dim, Modifier::DIM),
            (self.italic, Modifier::ITALIC),
            (self.underline, Modifier::UNDERLINED),
            (self.reverse, Modifier::REVERSED),
        ] {
            if set {
                style = style.add_modifier(modifier);
            }
        }
        style
    }
}

/// The nearest colour that the terminal has.
fn reduce(colour: Color, colours: Colours) -> Option<Color> {
    match (colour, colours) {
        (_, Colours::None) => None,
        (Color::Rgb(r, g, b), Colours::Palette) => Some(Color::Indexed(to_palette(r, g, b))),
        (Color::Rgb(r, g, b), Colours::Sixteen) => Some(to_sixteen(r, g, b)),
        (Color::Indexed(index @ 16..), Colours::Sixteen) => {
            let (r, g, b) = from_palette(index);
            Some(to_sixteen(r, g, b))
        }
        (colour, _) => Some(colour),
    }
}

/// The nearest of the 240 fixed colours of the xterm palette.
fn to_palette(r: u8, g: u8, b: u8) -> u8 {
    (16..=255u8).min_by_key(|index| distance(from_palette(*index), (r, g, b))).unwrap_or(16)
}

/// A fixed colour of the xterm palette: a cube of six steps, then a ramp of greys.
fn from_palette(index: u8) -> (u8, u8, u8) {
    if index >= 232 {
        let grey = 8 + 10 * (index - 232);
        return (grey, grey, grey);
    }
    let step = |n: u8| if n == 0 { 0 } else { 55 + 40 * n };
    let index = index.saturating_sub(16);
    (step(index / 36), step(index / 6 % 6), step(index % 6))
}

/// The sixteen colours as most terminals have them.
const NAMED: [(Color, (u8, u8, u8)); 16] = [
    (Color::Black, (0, 0, 0)),
    (Color::Red, (170, 0, 0)),
    (Color::Green, (0, 170, 0)),
    (Color::Yellow, (170, 85, 0)),
    (Color::Blue, (0, 0, 170)),
    (Color::Magenta, (170, 0, 170)),
    (Color::Cyan, (0, 170, 170)),
    (Color::Gray, (170, 170, 170)),
    (Color::DarkGray, (85, 85, 85)),
    (Color::LightRed, (255, 85, 85)),
    (Color::LightGreen, (85, 255, 85)),
    (Color::LightYellow, (255, 255, 85)),
    (Color::LightBlue, (85, 85, 255)),
    (Color::LightMagenta, (255, 85, 255)),
    (Color::LightCyan, (85, 255, 255)),
    (Color::White, (255, 255, 255)),
];

fn to_sixteen(r: u8, g: u8, b: u8) -> Color {
    NAMED.iter().min_by_key(|(_, known)| distance(*known, (r, g, b))).map_or(Color::White, |(name, _)| *name)
}

/// A colour as red, green and blue; `None` for the terminal's own.
pub fn rgb(colour: Color) -> Option<(u8, u8, u8)> {
    match colour {
        Color::Reset => None,
        Color::Rgb(r, g, b) => Some((r, g, b)),
        Color::Indexed(index @ 16..) => Some(from_palette(index)),
        // The first sixteen of the palette stand in the order of ECMA-48.
        Color::Indexed(index) => Some(NAMED[usize::from(index)].1),
        named => NAMED.iter().find(|(known, _)| *known == named).map(|(_, rgb)| *rgb),
    }
}

fn distance(one: (u8, u8, u8), other: (u8, u8, u8)) -> i32 {
    let square = |a: u8, b: u8| (i32::from(a) - i32::from(b)).pow(2);
    square(one.0, other.0) + square(one.1, other.1) + square(one.2, other.2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_theme_is_whole() {
        for (name, _) in BUILT_IN {
            for colours in [Colours::None, Colours::Sixteen, Colours::Palette, Colours::True] {
                let theme = Theme::load(Path::new("/nowhere"), name, colours).unwrap();
                assert!(theme.positive.len() >= 3 && theme.negative.len() >= 3 && theme.series.len() >= 4, "{name}");
                // Without colours the roles must still differ.
                let styles = [theme.label, theme.rationale, theme.unlearnt, theme.text].map(StyleSpec::style);
                for (place, style) in styles.iter().enumerate() {
                    assert!(!styles[..place].contains(style), "{name} {colours:?}: two roles look the same");
                }
                let strong = [theme.score(1.0), theme.score(-1.0), theme.score(0.0)];
                assert!(
                    strong[0] != strong[1] && strong[0] != strong[2] && strong[1] != strong[2],
                    "{name} {colours:?}"
                );
            }
        }
    }

    #[test]
    fn a_project_can_have_its_own_and_mistakes_are_named() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("themes")).unwrap();
        let own = BUILT_IN[0].1.replace("chrome:", "chrom:");
        std::fs::write(dir.path().join("themes/mine.yaml"), own).unwrap();
        let error = Theme::load(dir.path(), "mine", Colours::True).unwrap_err().to_string();
        assert!(error.contains("mine.yaml") && error.contains("chrom"), "{error}");
        let error = Theme::load(dir.path(), "drak", Colours::True).unwrap_err().to_string();
        assert!(error.contains("did you mean `dark`"), "{error}");
        assert!(Theme::names(dir.path()).contains(&"mine".to_owned()));
    }

    #[test]
    fn colours_are_reduced_to_the_nearest() {
        assert_eq!(reduce(Color::Rgb(255, 0, 0), Colours::Palette), Some(Color::Indexed(196)));
        assert_eq!(reduce(Color::Rgb(250, 80, 80), Colours::Sixteen), Some(Color::LightRed));
        assert_eq!(reduce(Color::Rgb(1, 2, 3), Colours::None), None);
        assert_eq!(reduce(Color::Indexed(196), Colours::True), Some(Color::Indexed(196)));
    }
}
