//! Regenerates the generated part of every corpus: after a change of an envelope, `make fuzz-corpus`.

fn main() -> anyhow::Result<()> {
    for target in sublet_fuzz::TARGETS {
        let files = sublet_fuzz::corpus::write(target)?;
        println!("{:16} {files} files", target.name);
    }
    Ok(())
}
