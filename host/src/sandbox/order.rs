//! The order in which the inputs of a session come.
//!
//! It is always the same, every lookup in the order of the description and then every streamed input, so
//! that a replay gives a module exactly what it was given the first time.

use crate::contract::{Delivery, Description, Role};

/// How far a session has come.
#[derive(Debug, Clone)]
pub(super) struct Order {
    /// Numbers of inputs in the order in which they come.
    sequence: Vec<usize>,
    /// How many have ended.
    ended: usize,
    /// Whether the current one is at its retractions.
    retracting: bool,
}

/// The numbers of the inputs of `description` in the order in which they come.
pub(super) fn sequence(description: &Description) -> Vec<usize> {
    let of = |role| {
        let inputs = description.inputs.iter().enumerate();
        inputs.filter(move |(_, input)| input.role == role)
    };
    of(Role::Lookup)
        .chain(of(Role::Streamed))
        .map(|(number, _)| number)
        .collect()
}

impl Order {
    pub(super) fn new(description: &Description) -> Self {
        Self {
            sequence: sequence(description),
            ended: 0,
            retracting: false,
        }
    }

    /// Rows of `input` may come now.
    pub(super) fn push(&self, input: usize) -> Result<(), String> {
        self.is_turn_of(input)?;
        if self.retracting {
            return Err(format!("rows of input {input} come after its retractions"));
        }
        Ok(())
    }

    /// Retractions of `input` may come now.
    pub(super) fn retract(
        &mut self,
        input: usize,
        description: &Description,
    ) -> Result<(), String> {
        self.is_turn_of(input)?;
        let delivery = description.inputs.get(input).map(|i| i.delivery);
        if delivery != Some(Delivery::Changes) {
            return Err(format!(
                "input {input} is not delivered as changes, so it has no retractions"
            ));
        }
        self.retracting = true;
        Ok(())
    }

    /// `input` ends now.
    pub(super) fn end(&mut self, input: usize) -> Result<(), String> {
        self.is_turn_of(input)?;
        self.ended += 1;
        self.retracting = false;
        Ok(())
    }

    /// The session may finish now.
    pub(super) fn finish(&self) -> Result<(), String> {
        match self.sequence.get(self.ended) {
            Some(input) => Err(format!("input {input} has not ended")),
            None => Ok(()),
        }
    }

    fn is_turn_of(&self, input: usize) -> Result<(), String> {
        match self.sequence.get(self.ended) {
            Some(turn) if *turn == input => Ok(()),
            Some(turn) => Err(format!(
                "it is the turn of input {turn}, not of input {input}"
            )),
            None => Err(format!("every input has ended, input {input} too")),
        }
    }
}
