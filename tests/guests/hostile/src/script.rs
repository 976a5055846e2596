//! The script: lines of words. A line is a setting of the description (`name 686f7374696c65`) or a phase and what is
//! done in it (`push loop`, `push give 3 0 0 0`). Texts and bytes are hexadecimal, so that they may hold anything, and `-` when they hold
//! nothing.
//!
//! `tests/support/puppet.rs` writes it. A script that does not read so is a defect of the test, and panics.

/// When something is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    Describe,
    Open,
    Push,
    Retract,
    End,
    Finish,
}

impl Phase {
    fn word(self) -> &'static str {
        match self {
            Self::Describe => "describe",
            Self::Open => "open",
            Self::Push => "push",
            Self::Retract => "retract",
            Self::End => "end",
            Self::Finish => "finish",
        }
    }
}

/// A script, read.
pub(crate) struct Script {
    lines: Vec<Vec<String>>,
}

impl Script {
    pub(crate) fn read(parameters: &[u8]) -> Self {
        let text = std::str::from_utf8(parameters).expect("a script is text");
        let words = |line: &str| line.split_whitespace().map(str::to_owned).collect();
        Self {
            lines: text.lines().map(words).collect(),
        }
    }

    /// The words after `first` of every line that begins with it.
    pub(crate) fn all<'s>(&'s self, first: &'s str) -> impl Iterator<Item = Words<'s>> {
        self.lines.iter().filter_map(move |line| {
            let (word, rest) = line.split_first()?;
            (word == first).then_some(Words(rest))
        })
    }

    /// The words after `first` of the last line that begins with it.
    pub(crate) fn setting<'s>(&'s self, first: &'s str) -> Option<Words<'s>> {
        self.all(first).last()
    }

    /// What is done in a phase.
    pub(crate) fn acts(&self, phase: Phase) -> impl Iterator<Item = Words<'_>> {
        self.all(phase.word())
    }
}

/// Words that are taken one by one.
pub(crate) struct Words<'s>(&'s [String]);

impl<'s> Words<'s> {
    pub(crate) fn word(&mut self) -> &'s str {
        let (word, rest) = self.0.split_first().expect("a word is missing");
        self.0 = rest;
        word
    }

    pub(crate) fn number(&mut self) -> u64 {
        self.word().parse().expect("a number")
    }

    pub(crate) fn small(&mut self) -> u32 {
        u32::try_from(self.number()).expect("a small number")
    }

    pub(crate) fn bytes(&mut self) -> Vec<u8> {
        let word = match self.word() {
            "-" => "",
            word => word,
        };
        let word = word.as_bytes();
        let digit = |at: usize| {
            let digit = word.get(at).copied().map(char::from);
            digit.and_then(|d| d.to_digit(16)).expect("a digit") as u8
        };
        (0..word.len() / 2)
            .map(|at| digit(2 * at) * 16 + digit(2 * at + 1))
            .collect()
    }

    #[allow(unsafe_code)]
    pub(crate) fn text(&mut self) -> String {
        let bytes = self.bytes();
        // SAFETY: none. That a text is not UTF-8 is what some scripts are about; the text is handed to the host and
        // looked at by nobody here.
        unsafe { String::from_utf8_unchecked(bytes) }
    }

    pub(crate) fn texts(mut self) -> Vec<String> {
        let mut texts = Vec::new();
        while !self.0.is_empty() {
            texts.push(self.text());
        }
        texts
    }

    /// What is left, each as bytes.
    pub(crate) fn all_bytes(mut self) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(self.bytes());
        }
        all
    }
}
