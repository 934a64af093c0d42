//! Which kind of entity may pay which. Everything that is not listed is refused with `route_not_allowed`.

use super::entity::EntityKind;

/// Whether money may go from one kind to the other within one partner.
pub fn is_allowed(from: EntityKind, to: EntityKind) -> bool {
    use EntityKind::{Customer, Identification, Processing};
    matches!(
        (from, to),
        (Identification, Processing)
            | (Processing, Customer | Processing | Identification)
            | (Customer, Customer | Processing)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_matrix_is_exactly_the_documented_one() {
        use EntityKind::{Customer, Identification, Processing};
        let allowed = [
            (Identification, Processing),
            (Processing, Customer),
            (Processing, Processing),
            (Processing, Identification),
            (Customer, Customer),
            (Customer, Processing),
        ];
        for from in EntityKind::ALL {
            for to in EntityKind::ALL {
                assert_eq!(is_allowed(*from, *to), allowed.contains(&(*from, *to)), "{from} -> {to}");
            }
        }
    }
}
