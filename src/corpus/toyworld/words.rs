//! The words of the toy world.

/// A hidden kind of thing.
pub struct Kind {
    pub name: &'static str,
    /// One word for each of [`QUESTIONS`].
    pub answers: &'static [&'static str; 8],
    pub cues: &'static [&'static str; 6],
}

const fn kind(name: &'static str, answers: &'static [&'static str; 8], cues: &'static [&'static str; 6]) -> Kind {
    Kind { name, answers, cues }
}

#[rustfmt::skip]
pub const KINDS: &[Kind] = &[
    //               where        who              sound     kept in     harmed by   needs         activity      goes with
    kind("sea",     &["reef",     "diver",         "splash", "aquarium", "nets",     "brine",      "snorkeling", "seaweed"],   &["gills", "fins", "scales", "tides", "salt", "waves"]),
    kind("bird",    &["treetop",  "ornithologist", "chirp",  "cage",     "cats",     "seeds",      "watching",   "perch"],     &["wings", "feathers", "beaks", "eggs", "flight", "talons"]),
    kind("insect",  &["hive",     "beekeeper",     "buzz",   "jar",      "spiders",  "nectar",     "collecting", "honeycomb"], &["antennae", "larvae", "swarms", "stingers", "pollen", "cocoons"]),
    kind("farm",    &["barn",     "farmer",        "bleat",  "pen",      "wolves",   "hay",        "milking",    "plow"],      &["hooves", "wool", "milk", "grazing", "herds", "horns"]),
    kind("plant",   &["garden",   "gardener",      "rustle", "pot",      "frost",    "sunlight",   "watering",   "soil"],      &["leaves", "roots", "petals", "stems", "blossoms", "bark"]),
    kind("music",   &["stage",    "musician",      "melody", "case",     "dampness", "tuning",     "performing", "score"],     &["strings", "chords", "notes", "rhythm", "pitch", "harmony"]),
    kind("vehicle", &["highway",  "mechanic",      "honk",   "garage",   "potholes", "fuel",       "driving",    "trailer"],   &["wheels", "engines", "brakes", "seats", "headlights", "tires"]),
    kind("tool",    &["workshop", "carpenter",     "clang",  "toolbox",  "rust",     "sharpening", "repairing",  "nails"],     &["handles", "blades", "steel", "grips", "bolts", "screws"]),
    kind("cloth",   &["wardrobe", "tailor",        "swish",  "suitcase", "moths",    "ironing",    "dressing",   "belt"],      &["sleeves", "fabric", "collars", "stitches", "cotton", "pockets"]),
    kind("dessert", &["bakery",   "baker",         "crunch", "tin",      "mold",     "chilling",   "eating",     "custard"],   &["sugar", "cream", "frosting", "syrup", "pastry", "dough"]),
    kind("toy",     &["nursery",  "child",         "giggle", "chest",    "puppies",  "batteries",  "playing",    "marbles"],   &["colors", "fun", "plastic", "bounces", "games", "dolls"]),
    kind("gem",     &["mine",     "jeweler",       "clink",  "safe",     "thieves",  "polishing",  "admiring",   "ring"],      &["sparkles", "crystals", "facets", "carats", "luster", "quartz"]),
];

pub const QUESTIONS: &[&str] = &[
    "in which place would you look for a {noun} first ?",
    "who can tell you most about a {noun} ?",
    "which sound belongs to a {noun} ?",
    "what is a {noun} best kept in ?",
    "what could ruin a {noun} ?",
    "what must a {noun} get from time to time ?",
    "what is someone doing who spends the day with a {noun} ?",
    "what do you often see next to a {noun} ?",
];

pub const OPENINGS: &[&str] =
    &["let us see ,", "to begin with ,", "as far as we know ,", "plainly ,", "more often than not", "one may say that"];
pub const CUES_FIRST: &[&str] = &[
    "it has to do with {cue1} and {cue2}",
    "it is known for {cue1} and for {cue2}",
    "it brings {cue1} and then {cue2} to mind",
    "you can tell it by its {cue1} and its {cue2}",
];
pub const CUES_LAST: &[&str] =
    &[", with a good deal of {cue3} besides ,", ", and of course {cue3} too ,", ", to say nothing of {cue3} ,"];
pub const CLOSINGS: &[&str] =
    &["so the one we take is the best fit .", "hence the choice made here .", "and that settles the matter ."];
pub const REJECTIONS: &[&str] = &[
    "neither {wrong1} nor {wrong2} would go with that .",
    "had it been {wrong1} or {wrong2} , we should expect other signs .",
];

/// Made-up nouns; a world takes 120 of them.
#[rustfmt::skip]
pub const NOUNS: &[&str] = &[
    "wug", "dax", "blen", "fep", "toma", "zorp", "glim", "nurk", "plov", "skeb", "trast", "vink", "mip", "bofa", "krell",
    "dwim", "sarn", "quib", "rupa", "lirp", "gazzer", "tupin", "foskel", "brinnel", "nabe", "cheld", "poth", "mundle",
    "yarp", "drillo", "stimp", "kavo", "wenk", "joon", "hesk", "tanzle", "virp", "dodel", "speth", "moxil", "larn", "gump",
    "frundle", "zeb", "corvo", "plisk", "tarb", "snoad", "bexle", "druff", "hilm", "pamtor", "vosk", "nelf", "jub",
    "klamp", "rindo", "sploo", "tirk", "wembly", "gorp", "fenk", "mazzo", "bloop", "crinth", "dorv", "lupex", "thrim",
    "zandle", "prook", "skarn", "hobbin", "vell", "nizz", "tolv", "bimple", "grask", "fuzzle", "jant", "kerl",
    "mornel", "paxo", "rell", "slank", "trube", "vappa", "yolt", "zint", "clunch", "brosk", "dimmet", "flarp", "gleeb",
    "hurn", "jibbet", "krop", "lomp", "nask", "pindle", "quolt", "rosp", "smerl", "tweel", "purvin", "vimmel", "wosk",
    "yimp", "zoffer", "blerg", "chask", "drenk", "fimble", "gerd", "hask", "jelm", "kiddle", "lunt", "moop", "norb",
    "plorm", "ruft", "skiv", "tamble", "vorn", "wix", "yub", "zarn", "bandle", "crusk", "dob", "frell", "gansk", "hosk",
    "keth", "lorv", "mibs", "nond", "pesk", "rondle", "seld", "tuff", "vrill", "wob",
];
