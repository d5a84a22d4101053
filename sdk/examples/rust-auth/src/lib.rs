// SPDX-License-Identifier: Apache-2.0
//! An auth backend of callgate in Rust: clients are known by tokens in a file that is looked at for every login. Looking at a file
//! may wait, and a shard must not; so the shard only queues, and a worker thread answers.
mod abi;
mod config;
mod tokens;

use abi::*;
use std::collections::VecDeque;
use std::ffi::{c_void, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use tokens::Tokens;

const MAX_QUEUE: usize = 256;

/// The duty to answer one operation. Dropped without an answer, also by a panic, it answers with an error: exactly one completion.
struct Operation {
    host: *const Host,
    op: Op,
}
// The host's functions are [any], and an operation may be answered on any thread.
unsafe impl Send for Operation {}

impl Operation {
    fn complete(mut self, status: i32, result: *const c_void, error: *const Error) {
        let done = Completion { struct_size: size_u32::<Completion>(), status, result, error, ..Completion::zeroed() };
        let op = std::mem::replace(&mut self.op, 0);
        unsafe {
            if let Some(f) = (*(*self.host).core).complete {
                f(self.host, op, &done);
            }
        }
    }
    fn succeed(self) {
        self.complete(OK, std::ptr::null(), std::ptr::null());
    }
    fn reply(self, reply: &AuthReply) {
        self.complete(OK, (reply as *const AuthReply).cast(), std::ptr::null());
    }
    fn fail(self, code: i32, text: &str) {
        let error = Error { struct_size: size_u32::<Error>(), code, text: Str::of(text.as_bytes()), ..Error::zeroed() };
        self.complete(code, std::ptr::null(), &error);
    }
    fn cancelled(&self) -> bool {
        unsafe { (*(*self.host).core).is_cancelled.map_or(false, |f| f(self.host, self.op) != 0) }
    }
}

impl Drop for Operation {
    fn drop(&mut self) {
        if self.op != 0 {
            Operation { host: self.host, op: std::mem::replace(&mut self.op, 0) }.fail(E_INTERNAL, "the plugin failed before it had an answer");
        }
    }
}

enum Job {
    /// The credential lies in the request, which lives until the operation is answered.
    Login(Operation, Str),
    /// Answered when all that came before it is answered.
    Drain(Operation),
    End,
}
unsafe impl Send for Job {}

#[derive(Default)]
struct Queue {
    jobs: Mutex<VecDeque<Job>>,
    filled: Condvar,
}

impl Queue {
    // A panic while it is locked leaves nothing half done.
    fn lock(&self) -> MutexGuard<'_, VecDeque<Job>> {
        self.jobs.lock().unwrap_or_else(|e| e.into_inner())
    }
    fn push(&self, job: Job) {
        self.lock().push_back(job);
        self.filled.notify_one();
    }
    fn pop(&self) -> Job {
        let mut jobs = self.lock();
        loop {
            match jobs.pop_front() {
                Some(job) => return job,
                None => jobs = self.filled.wait(jobs).unwrap_or_else(|e| e.into_inner()),
            }
        }
    }
}

/// The host's pointer to the first member is a pointer to all of it.
#[repr(C)]
struct Backend {
    c: Instance,
    host: *const Host,
    path: PathBuf,
    queue: Arc<Queue>,
    worker: Mutex<Option<JoinHandle<()>>>,
}

impl Backend {
    unsafe fn of<'a>(instance: *mut Instance) -> &'a Backend {
        &*instance.cast::<Backend>()
    }
    fn end_worker(&self) {
        let worker = self.worker.lock().unwrap_or_else(|e| e.into_inner()).take();
        if let Some(w) = worker {
            self.queue.push(Job::End);
            let _ = w.join();
        }
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.end_worker();
    }
}

fn answer(op: Operation, credential: &[u8], tokens: &mut Tokens, issuer: Str) {
    if op.cancelled() {
        return op.fail(E_CANCELLED, "nobody waits for it any more");
    }
    let mut reply = AuthReply { struct_size: size_u32::<AuthReply>(), ..AuthReply::zeroed() };
    if credential.is_empty() {
        reply.verdict = VERDICT_ABSTAIN;
        reply.reason_id = Str::new("no_credential");
        return op.reply(&reply);
    }
    if let Err(why) = tokens.refresh() {
        reply.verdict = VERDICT_UNAVAILABLE;
        reply.reason_id = Str::new("file_unreadable");
        reply.reason = Str::of(why.as_bytes());
        return op.reply(&reply);
    }
    match tokens.find(credential) {
        Some(subject) => {
            let who = Identity { struct_size: size_u32::<Identity>(), issuer, subject: Str::of(subject.as_bytes()), ..Identity::zeroed() };
            reply.verdict = VERDICT_ALLOW;
            reply.identity = &who;
            op.reply(&reply)
        }
        None => {
            reply.verdict = VERDICT_DENY;
            reply.reason_id = Str::new("unknown_token");
            op.reply(&reply)
        }
    }
}

fn work(queue: &Queue, tokens: &mut Tokens, issuer: Str) {
    loop {
        // A panic of one job ends that job: its operation answers when it is dropped.
        let go_on = catch_unwind(AssertUnwindSafe(|| match queue.pop() {
            Job::Login(op, credential) => {
                let text = unsafe { credential.bytes() };
                answer(op, text, tokens, issuer);
                true
            }
            Job::Drain(op) => {
                op.succeed();
                true
            }
            Job::End => false,
        }));
        if let Ok(false) = go_on {
            return;
        }
    }
}

/// Runs one entry of the C table; a panic never crosses it. Whoever is given an operation has been answered by its drop then.
fn guarded(call: impl FnOnce() -> i32, after_panic: i32) -> i32 {
    catch_unwind(AssertUnwindSafe(call)).unwrap_or(after_panic)
}

/// [control]
unsafe extern "C" fn start(instance: *mut Instance, op: Op) -> i32 {
    let b = Backend::of(instance);
    let op = Operation { host: b.host, op };
    guarded(
        move || {
            let mut tokens = match Tokens::read(&b.path) {
                Ok(t) => t,
                Err(why) => {
                    op.fail(E_INVALID, &why);
                    return OK;
                }
            };
            struct Issuer(Str);
            unsafe impl Send for Issuer {}
            let issuer = Issuer(copy_in(b.host).instance_name);
            let queue = Arc::clone(&b.queue);
            let spawned = std::thread::Builder::new().name("rust_auth".to_string()).spawn(move || {
                let issuer = issuer;
                work(&queue, &mut tokens, issuer.0)
            });
            match spawned {
                Ok(w) => {
                    *b.worker.lock().unwrap_or_else(|e| e.into_inner()) = Some(w);
                    op.succeed();
                }
                Err(e) => op.fail(E_BUSY, &format!("no thread for the worker: {}", e)),
            }
            OK
        },
        OK,
    )
}

/// [shard] Queues and returns; the lock is held for a few instructions.
unsafe extern "C" fn authenticate(instance: *mut Instance, _shard: *mut c_void, op: Op, request: *const AuthRequest) -> i32 {
    guarded(
        || {
            let b = Backend::of(instance);
            let r = copy_in(request);
            let mut jobs = b.queue.lock();
            if jobs.len() >= MAX_QUEUE {
                return E_BUSY; // not accepted: no completion follows
            }
            jobs.push_back(Job::Login(Operation { host: b.host, op }, r.credential));
            drop(jobs);
            b.queue.filled.notify_one();
            OK
        },
        OK,
    )
}

/// [control] No login comes after this one; those in the queue are answered first.
unsafe extern "C" fn drain(instance: *mut Instance, op: Op) -> i32 {
    let b = Backend::of(instance);
    let op = Operation { host: b.host, op };
    guarded(
        move || {
            if b.worker.lock().unwrap_or_else(|e| e.into_inner()).is_some() {
                b.queue.push(Job::Drain(op));
            } else {
                op.succeed();
            }
            OK
        },
        OK,
    )
}

/// [control] The worker has only short work left, so waiting for it is short too. No host call after the answer.
unsafe extern "C" fn stop(instance: *mut Instance, op: Op) -> i32 {
    let b = Backend::of(instance);
    let op = Operation { host: b.host, op };
    guarded(
        move || {
            b.end_worker();
            op.succeed();
            OK
        },
        OK,
    )
}

/// [control]
unsafe extern "C" fn destroy(instance: *mut Instance) {
    guarded(
        || {
            drop(Box::from_raw(instance.cast::<Backend>()));
            OK
        },
        OK,
    );
}

unsafe fn refuse(error: *mut ErrBuf, code: i32, text: &str) -> i32 {
    if let Some(e) = error.as_mut() {
        e.code = code;
        e.text.size = text.len().min(e.text.cap);
        std::ptr::copy_nonoverlapping(text.as_ptr(), e.text.data, e.text.size);
    }
    code
}

/// [control]
unsafe extern "C" fn create(_: *const Factory, host: *const Host, args: *const CreateArgs, out: *mut *mut Instance, error: *mut ErrBuf) -> i32 {
    guarded(
        || {
            let args = copy_in(args);
            let file = match config::read(args.config_json.bytes()) {
                Ok(f) => f,
                Err(why) => return refuse(error, E_INVALID, &why),
            };
            let backend = Backend {
                c: Instance {
                    struct_size: size_u32::<Instance>(),
                    kind: KIND_AUTH_BACKEND,
                    life: &LIFE.0,
                    api: (&API.0 as *const AuthBackendApi).cast(),
                    query: None,
                },
                host,
                // Relative paths start at the folder of callgate.yaml; join keeps an absolute one as it is.
                path: PathBuf::from(OsStr::from_bytes(args.base_dir.bytes())).join(file),
                queue: Arc::default(),
                worker: Mutex::new(None),
            };
            *out = Box::into_raw(Box::new(backend)).cast();
            OK
        },
        E_INTERNAL,
    )
}

/// The tables point to constants only, so every thread may read them.
#[repr(transparent)]
struct Shared<T>(T);
unsafe impl<T> Sync for Shared<T> {}

static LIFE: Shared<Lifecycle> = Shared(Lifecycle {
    struct_size: size_u32::<Lifecycle>(),
    reserved: 0,
    start: Some(start),
    shard_attach: None,
    shard_detach: None,
    drain: Some(drain),
    stop: Some(stop),
    destroy: Some(destroy),
    health: None,
    cancel: None,
});
static API: Shared<AuthBackendApi> = Shared(AuthBackendApi { struct_size: size_u32::<AuthBackendApi>(), reserved: 0, authenticate: Some(authenticate) });
static FACTORY: Shared<Factory> = Shared(Factory {
    struct_size: size_u32::<Factory>(),
    kind: KIND_AUTH_BACKEND,
    thread_model: THREADS_ANY,
    flags: 0,
    r#type: Str::new("rust_tokens"),
    summary: Str::new("clients known by the tokens in a file, looked at for every login"),
    config_schema: Str::new(
        r#"{"$schema": "http://json-schema.org/draft-07/schema#", "type": "object", "additionalProperties": false,
 "required": ["file"], "properties": {"file": {"type": "string", "minLength": 1, "maxLength": 1024}}}"#,
    ),
    create: Some(create),
});
static FACTORIES: Shared<[&Factory; 1]> = Shared([&FACTORY.0]);
const PLUGIN_ID: &str = "org.callgate.example.rust_auth";
static MANIFEST: Shared<Manifest> = Shared(Manifest {
    struct_size: size_u32::<Manifest>(),
    abi_major: ABI_MAJOR,
    abi_minor_built: ABI_MINOR,
    abi_minor_needed: 0,
    plugin_id: Str::new(PLUGIN_ID),
    version: Str::new("1.0.0"),
    vendor: Str::new("callgate"),
    license: Str::new("Apache-2.0"),
    build_id: Str::new(""),
    factory_count: 1,
    factories: (&FACTORIES.0 as *const [&Factory; 1]).cast(),
});

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let mut out = [0; N];
    let mut i = 0;
    while i < text.len() {
        out[i] = text.as_bytes()[i];
        i += 1;
    }
    out
}

/// Read by the host from the file, before anything of the plugin runs.
#[used]
#[link_section = ".note.callgate"]
static NOTE: Note = Note {
    namesz: 9,
    descsz: size_u32::<NoteDesc>(),
    r#type: 1,
    name: padded("callgate"),
    desc: NoteDesc { abi_major: ABI_MAJOR, abi_minor_built: ABI_MINOR, abi_minor_needed: 0, kinds: 1 << KIND_AUTH_BACKEND, plugin_id: padded(PLUGIN_ID) },
};

/// [control] The only symbol of the module.
///
/// # Safety
/// Called by the host with the structs of `<callgate/abi/entry.h>`.
#[no_mangle]
pub unsafe extern "C" fn cg_plugin_entry_v1(host: *const Negotiation, out: *mut *const Manifest) -> i32 {
    if copy_in(host).abi_major != ABI_MAJOR {
        return E_ABI;
    }
    *out = &MANIFEST.0;
    OK
}
