//! Places where a test can end the process, as a power cut would: between any two side effects.
//!
//! `SUBLET_FAILPOINT=provider.activate.before` aborts the process when it comes by that place for the first time,
//! `SUBLET_FAILPOINT=provider.activate.before:3` at the third. Release builds have none of it.

/// A place named by its parts, joined with dots. Does not return if the process is to end here.
pub fn reach(parts: &[&str]) {
    #[cfg(debug_assertions)]
    armed::reach(parts);
    #[cfg(not(debug_assertions))]
    let _ = parts;
}

#[cfg(debug_assertions)]
mod armed {
    use std::sync::{
        LazyLock,
        atomic::{AtomicU32, Ordering},
    };

    struct Armed {
        name: String,
        left: AtomicU32,
    }

    static ARMED: LazyLock<Option<Armed>> =
        LazyLock::new(|| std::env::var("SUBLET_FAILPOINT").ok().map(|value| parse(&value)));

    fn parse(value: &str) -> Armed {
        let counted = value.rsplit_once(':').and_then(|(name, times)| Some((name, times.parse().ok()?)));
        let (name, times) = counted.unwrap_or((value, 1));
        Armed { name: name.to_owned(), left: AtomicU32::new(times) }
    }

    pub(super) fn reach(parts: &[&str]) {
        let Some(armed) = &*ARMED else { return };
        if is_named(&armed.name, parts) && armed.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Not the log: it may be buffered.
            eprintln!("failpoint {} reached: aborting", armed.name);
            std::process::abort();
        }
    }

    fn is_named(name: &str, parts: &[&str]) -> bool {
        name.split('.').eq(parts.iter().flat_map(|part| part.split('.')))
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_place_is_named_by_its_parts() {
            assert!(is_named("provider.claim.before", &["provider", "claim", "before"]));
            assert!(is_named("provider.claim.before", &["provider.claim", "before"]));
            assert!(!is_named("provider.claim.before", &["provider", "claim"]));
            assert!(!is_named("provider.claim", &["provider", "claim", "before"]));
        }

        #[test]
        fn the_first_time_unless_a_number_says_which() {
            assert_eq!(parse("ask.promised").left.into_inner(), 1);
            let third = parse("ask.promised:3");
            assert_eq!((third.name.as_str(), third.left.into_inner()), ("ask.promised", 3));
        }
    }
}
