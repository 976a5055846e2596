//! What is added to the client of a store, on stores that do what real ones rarely do.

use std::sync::atomic::{AtomicU32, Ordering};

use object_store::memory::InMemory;

use super::*;

#[test]
fn credentials_are_asked_for_again_before_they_end() {
    assert_eq!(fresh(None), FRESH);
    #[expect(clippy::disallowed_methods, reason = "they end by the clock")]
    let now = SystemTime::now();
    assert_eq!(fresh(Some(now - FRESH)), Duration::ZERO);
    assert_eq!(fresh(Some(now + MARGIN)), Duration::ZERO);
    assert_eq!(fresh(Some(now + 2 * FRESH)), FRESH);
    let soon = fresh(Some(now + 2 * MARGIN));
    assert!(soon <= MARGIN && soon > MARGIN / 2, "{soon:?}");
}

fn create() -> PutOptions {
    PutMode::Create.into()
}

#[tokio::test]
async fn of_two_that_create_one_wins_and_whoever_sends_the_same_again_has_won() {
    let objects = Objects::of(Arc::new(InMemory::new()), Key::from("proof"));
    let key = Key::from("commit");
    for bytes in ["ours", "ours"] {
        let put = objects.put_opts(&key, bytes.into(), create()).await;
        put.expect("it is ours");
    }
    let put = objects.put_opts(&key, "theirs".into(), create()).await;
    assert!(matches!(put, Err(Error::AlreadyExists { .. })), "{put:?}");
    let found = objects.get(&key).await.expect("it is there");
    assert_eq!(found.bytes().await.expect("readable"), "ours");
    assert!(objects.head(&Key::from("proof")).await.is_ok());
}

/// Creates what exists, or does not answer so many creates of anything but the proof.
#[derive(Debug, Default)]
struct Strange {
    objects: InMemory,
    is_careless: bool,
    unanswered: AtomicU32,
}

impl fmt::Display for Strange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("strange")
    }
}

#[async_trait]
impl ObjectStore for Strange {
    async fn put_opts(
        &self,
        location: &Key,
        payload: PutPayload,
        mut options: PutOptions,
    ) -> Result<PutResult> {
        if self.is_careless {
            options.mode = PutMode::Overwrite;
        }
        let left = self.unanswered.load(Ordering::SeqCst);
        if left > 0 && location.as_ref() != "proof" {
            self.unanswered.store(left - 1, Ordering::SeqCst);
            let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
            return Err(failure(HttpError::new(HttpErrorKind::Interrupted, reset)));
        }
        self.objects.put_opts(location, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        location: &Key,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.objects.put_multipart_opts(location, options).await
    }

    async fn get_opts(&self, location: &Key, options: GetOptions) -> Result<GetResult> {
        self.objects.get_opts(location, options).await
    }

    fn delete_stream(
        &self,
        locations: BoxStream<'static, Result<Key>>,
    ) -> BoxStream<'static, Result<Key>> {
        self.objects.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Key>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.objects.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Key>) -> Result<ListResult> {
        self.objects.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Key, to: &Key, options: CopyOptions) -> Result<()> {
        self.objects.copy_opts(from, to, options).await
    }
}

#[tokio::test]
async fn a_create_that_is_not_answered_is_sent_again_so_many_times() {
    let store = Arc::new(Strange {
        unanswered: AtomicU32::new(ATTEMPTS - 1),
        ..Strange::default()
    });
    let objects = Objects::of(store.clone(), Key::from("proof"));
    let key = Key::from("commit");
    let put = objects.put_opts(&key, "ours".into(), create()).await;
    put.expect("the last attempt is answered");
    store.unanswered.store(ATTEMPTS, Ordering::SeqCst);
    let key = Key::from("next commit");
    let put = objects.put_opts(&key, "ours".into(), create()).await;
    assert!(matches!(put, Err(Error::Generic { .. })), "{put:?}");
    assert_eq!(store.unanswered.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_store_that_creates_what_exists_is_refused_before_anything_is_in_it() {
    let store = Strange {
        is_careless: true,
        ..Strange::default()
    };
    let objects = Objects::of(Arc::new(store), Key::from("proof"));
    let key = Key::from("commit");
    let put = objects.put_opts(&key, "ours".into(), create()).await;
    let Err(Error::Generic { source, .. }) = put else {
        panic!("{put:?}");
    };
    assert!(source.is::<Unconditional>());
    assert!(objects.head(&key).await.is_err(), "it was written to");
}
