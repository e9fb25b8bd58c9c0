//! What the benches share: a far side in a process of its own, contests in rounds, and what the
//! operating system knows of a process.

pub mod contest;
pub mod far_side;
pub mod process;
pub mod sample;

/// A bench stops at the first thing that goes wrong.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// What this run of the program is: a bench, or a part of one in a process of its own.
#[derive(Debug)]
pub enum Role {
    /// The bench. Only `cargo bench` asks for full size; everything else, such as `cargo test`,
    /// wants to know whether it runs.
    Bench {
        /// Whether figures are wanted.
        is_full: bool,
    },
    /// A part, by its name and arguments.
    Part(Vec<String>),
}

impl Role {
    /// As the arguments say.
    pub fn of_this_process() -> Self {
        let mut arguments = std::env::args().skip(1);
        match arguments.next() {
            Some(first) if first == process::PART => Self::Part(arguments.collect()),
            first => Self::Bench {
                is_full: first.into_iter().chain(arguments).any(|it| it == "--bench"),
            },
        }
    }
}

/// One thread for everything, so that what is compared has one core whatever the machine has.
pub fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?)
}

/// What a stranger would take else, on the same far side.
pub fn cirrus(url: &str) -> Result<cirrus::Cirrus, Failure> {
    let token = cirrus::auth::StaticTokenAuth::new("token", url);
    Ok(cirrus::Cirrus::builder()
        .auth(std::sync::Arc::new(token))
        .api_version("v58.0")
        .build()?)
}

/// Does `one` for each number below `count`, so many at once, each in a task of its own.
pub async fn at_once<F>(
    count: u64,
    width: usize,
    mut one: impl FnMut(u64) -> F,
) -> Result<(), Failure>
where
    F: Future<Output = Result<(), Failure>> + Send + 'static,
{
    let mut running = tokio::task::JoinSet::new();
    for number in 0..count {
        if running.len() == width
            && let Some(ended) = running.join_next().await
        {
            ended??;
        }
        running.spawn(one(number));
    }
    while let Some(ended) = running.join_next().await {
        ended??;
    }
    Ok(())
}
