//! Statements for many rows: a few fixed lengths, so that each stays prepared.

/// Long enough that the fixed cost of a statement no longer shows, short of the limit on
/// parameters (32,766) for the widest table.
const LENGTHS: [usize; 4] = [128, 32, 8, 1];

/// Cuts rows into runs of a few fixed lengths.
pub(crate) fn runs<T>(rows: &[T]) -> impl Iterator<Item = &[T]> {
    let mut rest = rows;
    std::iter::from_fn(move || {
        let length = LENGTHS.into_iter().find(|length| *length <= rest.len())?;
        let (run, after) = rest.split_at_checked(length)?;
        rest = after;
        Some(run)
    })
}

/// `head` followed by `VALUES` with parameters for that many rows.
pub(crate) fn values(head: &str, columns: usize, rows: usize) -> String {
    let row = format!("({})", vec!["?"; columns].join(","));
    format!("{head} VALUES {}", vec![row.as_str(); rows].join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_have_few_lengths_and_leave_nothing_out() {
        let rows: Vec<u32> = (0..300).collect();
        let lengths: Vec<_> = runs(&rows).map(<[u32]>::len).collect();
        assert_eq!(lengths, [128, 128, 32, 8, 1, 1, 1, 1]);
        assert_eq!(runs(&rows).flatten().copied().collect::<Vec<_>>(), rows);
        assert_eq!(runs::<u32>(&[]).count(), 0);
    }

    #[test]
    fn every_row_has_its_parameters() {
        assert_eq!(
            values("INSERT INTO t (a, b)", 2, 2),
            "INSERT INTO t (a, b) VALUES (?,?),(?,?)"
        );
    }
}
