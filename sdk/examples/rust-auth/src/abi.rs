// SPDX-License-Identifier: Apache-2.0
//! The structs of callgate's C ABI, version 1.0, that this plugin uses, written by hand from `<callgate/abi/*.h>`; comments there
//! hold here. `cargo test` compares every field's offset and size with the SDK's own list.
#![allow(dead_code)] // a plugin need not use all of it
use std::ffi::c_void;

pub const ABI_MAJOR: u32 = 1;
pub const ABI_MINOR: u32 = 0;
pub const OK: i32 = 0;
pub const E_INTERNAL: i32 = -1;
pub const E_INVALID: i32 = -2;
pub const E_CANCELLED: i32 = -8;
pub const E_BUSY: i32 = -9;
pub const E_ABI: i32 = -12;
pub const KIND_AUTH_BACKEND: u32 = 1;
pub const THREADS_ANY: u32 = 2;
pub const VERDICT_ALLOW: u32 = 1;
pub const VERDICT_DENY: u32 = 2;
pub const VERDICT_ABSTAIN: u32 = 3;
pub const VERDICT_UNAVAILABLE: u32 = 4;

pub type Op = u64;

/// Declares a struct with C's layout and remembers its fields for the layout test. Every field is an integer, a raw pointer, a
/// struct of these or an `Option` of a function pointer, so all bytes zero is a value: "absent" in the sense of the ABI.
macro_rules! c_struct {
    ($rust:ident = $c:literal { $($field:ident: $type:ty,)* }) => {
        #[repr(C)]
        #[derive(Clone, Copy)]
        pub struct $rust { $(pub $field: $type,)* }
        impl $rust {
            pub fn zeroed() -> Self {
                unsafe { std::mem::zeroed() }
            }
            #[cfg(test)]
            pub fn layout(out: &mut Vec<String>) {
                out.push(format!("struct {} size {}", $c, std::mem::size_of::<Self>()));
                let value = std::mem::MaybeUninit::<Self>::uninit();
                let base = value.as_ptr();
                $(
                    let at = unsafe { std::ptr::addr_of!((*base).$field) };
                    out.push(format!("field {}.{} offset {} size {}", $c, stringify!($field).trim_start_matches("r#"),
                        at as usize - base as usize, std::mem::size_of::<$type>()));
                )*
            }
        }
    };
}

c_struct!(Str = "cg_str" { data: *const u8, size: usize, });
c_struct!(Bytes = "cg_bytes" { data: *const u8, size: usize, });
c_struct!(OutBuf = "cg_outbuf" { data: *mut u8, cap: usize, size: usize, });
c_struct!(StrList = "cg_str_list" { items: *const Str, count: usize, });
c_struct!(Error = "cg_error" { struct_size: u32, code: i32, retry_after_ms: u32, reserved: u32, text: Str, r#where: Str, });
c_struct!(ErrBuf = "cg_errbuf" { struct_size: u32, code: i32, text: OutBuf, });
c_struct!(Completion = "cg_completion" {
    struct_size: u32, status: i32, result: *const c_void, error: *const Error,
    release: Option<unsafe extern "C" fn(*mut c_void)>, release_ctx: *mut c_void,
});
c_struct!(Core = "cg_core" {
    struct_size: u32, reserved: u32,
    now_ns: Option<unsafe extern "C" fn(*const Host) -> i64>,
    wall_unix_s: Option<unsafe extern "C" fn(*const Host) -> i64>,
    time_left_ns: Option<unsafe extern "C" fn(*const Host, Op) -> i64>,
    is_cancelled: Option<unsafe extern "C" fn(*const Host, Op) -> i32>,
    scratch: Option<unsafe extern "C" fn(*const Host, Op, usize, usize) -> *mut c_void>,
    complete: Option<unsafe extern "C" fn(*const Host, Op, *const Completion) -> i32>,
    log_enabled: Option<unsafe extern "C" fn(*const Host, i32) -> i32>,
    log: Option<unsafe extern "C" fn(*const Host, i32, Str, *const c_void, usize, usize)>,
});
c_struct!(Host = "cg_host" {
    struct_size: u32, abi_major: u32, abi_minor: u32, shard_count: u32, r#impl: *mut c_void, core: *const Core,
    query: Option<unsafe extern "C" fn(*const Host, Str) -> *const c_void>, instance_name: Str,
});
c_struct!(Lifecycle = "cg_lifecycle" {
    struct_size: u32, reserved: u32,
    start: Option<unsafe extern "C" fn(*mut Instance, Op) -> i32>,
    shard_attach: Option<unsafe extern "C" fn(*mut Instance, u32, *mut *mut c_void) -> i32>,
    shard_detach: Option<unsafe extern "C" fn(*mut Instance, u32, *mut c_void)>,
    drain: Option<unsafe extern "C" fn(*mut Instance, Op) -> i32>,
    stop: Option<unsafe extern "C" fn(*mut Instance, Op) -> i32>,
    destroy: Option<unsafe extern "C" fn(*mut Instance)>,
    health: Option<unsafe extern "C" fn(*mut Instance, Op) -> i32>,
    cancel: Option<unsafe extern "C" fn(*mut Instance, Op, i32)>,
});
c_struct!(Instance = "cg_instance" {
    struct_size: u32, kind: u32, life: *const Lifecycle, api: *const c_void,
    query: Option<unsafe extern "C" fn(*mut Instance, Str) -> *const c_void>,
});
c_struct!(Negotiation = "cg_negotiation" {
    struct_size: u32, abi_major: u32, abi_minor: u32, flags: u32, host_name: Str, host_version: Str,
});
c_struct!(CreateArgs = "cg_create_args" { struct_size: u32, reserved: u32, name: Str, config_json: Str, base_dir: Str, });
c_struct!(Factory = "cg_factory" {
    struct_size: u32, kind: u32, thread_model: u32, flags: u32, r#type: Str, summary: Str, config_schema: Str,
    create: Option<unsafe extern "C" fn(*const Factory, *const Host, *const CreateArgs, *mut *mut Instance, *mut ErrBuf) -> i32>,
});
c_struct!(Manifest = "cg_manifest" {
    struct_size: u32, abi_major: u32, abi_minor_built: u32, abi_minor_needed: u32,
    plugin_id: Str, version: Str, vendor: Str, license: Str, build_id: Str,
    factory_count: usize, factories: *const *const Factory,
});
c_struct!(NoteDesc = "cg_note_desc" { abi_major: u32, abi_minor_built: u32, abi_minor_needed: u32, kinds: u32, plugin_id: [u8; 64], });
c_struct!(Note = "cg_note" { namesz: u32, descsz: u32, r#type: u32, name: [u8; 12], desc: NoteDesc, });
c_struct!(AuthBackendApi = "cg_auth_backend_api" {
    struct_size: u32, reserved: u32,
    authenticate: Option<unsafe extern "C" fn(*mut Instance, *mut c_void, Op, *const AuthRequest) -> i32>,
});
c_struct!(Identity = "cg_identity" {
    struct_size: u32, reserved: u32, issuer: Str, subject: Str, attributes_json: Str,
    credential_exp_unix_s: i64, credential_iat_unix_s: i64, credential_id: Str, revocation_handles: StrList,
});
c_struct!(AuthReply = "cg_auth_reply" {
    struct_size: u32, verdict: u32, reason_id: Str, reason: Str, identity: *const Identity, grant: *const c_void,
    cache_ttl_s: u32, explain_stride: u32, explain: *const c_void, explain_count: usize,
});
c_struct!(AuthRequest = "cg_auth_request" {
    struct_size: u32, flags: u32, trust: u32, shard: u32, correlation_id: Str,
    arrival_ns: i64, deadline_ns: i64, now_unix_s: i64,
    server_id: Str, server_name: Str, server_host: Str, server_version: Str, server_cluster: Str, server_tags: StrList,
    client_id: u64, client_kind: u32, tls: u32,
    client_host: Str, client_user: Str, client_name: Str, client_mqtt_id: Str, client_nonce: Str, client_tags: StrList, user_nkey: Str,
    jwt: Str, nkey: Str, sig: Str, auth_token: Str, user: Str, pass: Str, name: Str, lang: Str, version: Str,
    tls_version: Str, tls_cipher: Str, tls_chain_pem: StrList,
    credential_source: u32, earlier_stride: u32, credential: Str,
    earlier: *const Identity, earlier_count: usize, claims_json: Str,
});

impl Str {
    pub const fn new(text: &'static str) -> Str {
        Str { data: text.as_ptr(), size: text.len() }
    }
    /// Borrows; the caller sees to it that `text` outlives the use.
    pub fn of(text: &[u8]) -> Str {
        Str { data: text.as_ptr(), size: text.len() }
    }
    /// # Safety
    /// `data` points to `size` bytes that live as long as `'a`, or `size` is 0.
    pub unsafe fn bytes<'a>(self) -> &'a [u8] {
        if self.size == 0 || self.data.is_null() {
            return &[];
        }
        std::slice::from_raw_parts(self.data, self.size)
    }
}

/// A struct of the other side as version 1.0 knows it: what an older peer left out is zero, what a newer one added is not seen.
///
/// # Safety
/// `T` is one of the structs above that start with `struct_size`, and `theirs` points to that many bytes.
pub unsafe fn copy_in<T: Copy>(theirs: *const T) -> T {
    let mut mine: T = std::mem::zeroed();
    if !theirs.is_null() {
        let size = (*theirs.cast::<u32>() as usize).min(std::mem::size_of::<T>());
        std::ptr::copy_nonoverlapping(theirs.cast::<u8>(), (&mut mine as *mut T).cast::<u8>(), size);
    }
    mine
}

/// `size_of` as the `u32` that `struct_size` is.
pub const fn size_u32<T>() -> u32 {
    std::mem::size_of::<T>() as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// CALLGATE_ABI_LAYOUT names the SDK's list, share/callgate/abi/layout.golden of its prefix.
    #[test]
    fn every_field_lies_where_the_c_headers_put_it() {
        let path = std::env::var("CALLGATE_ABI_LAYOUT").expect("set CALLGATE_ABI_LAYOUT to share/callgate/abi/layout.golden of the SDK");
        let golden = std::fs::read_to_string(&path).expect("CALLGATE_ABI_LAYOUT cannot be read");
        let mut mine = Vec::new();
        Str::layout(&mut mine);
        Bytes::layout(&mut mine);
        OutBuf::layout(&mut mine);
        StrList::layout(&mut mine);
        Error::layout(&mut mine);
        ErrBuf::layout(&mut mine);
        Completion::layout(&mut mine);
        Core::layout(&mut mine);
        Host::layout(&mut mine);
        Lifecycle::layout(&mut mine);
        Instance::layout(&mut mine);
        Negotiation::layout(&mut mine);
        CreateArgs::layout(&mut mine);
        Factory::layout(&mut mine);
        Manifest::layout(&mut mine);
        NoteDesc::layout(&mut mine);
        Note::layout(&mut mine);
        AuthBackendApi::layout(&mut mine);
        Identity::layout(&mut mine);
        AuthReply::layout(&mut mine);
        AuthRequest::layout(&mut mine);
        for line in &mine {
            // A newer header may have made a struct longer, never moved a field.
            if let Some(name) = line.strip_prefix("struct ").and_then(|l| l.split(' ').next()) {
                let size = |l: &str| l.split(' ').nth(3).and_then(|s| s.parse::<usize>().ok()).unwrap();
                let prefix = format!("struct {} size ", name);
                let theirs = golden.lines().find(|l| l.starts_with(&prefix)).unwrap_or_else(|| panic!("{} has no {}", path, name));
                assert!(size(theirs) >= size(line), "{} is shorter in the headers: {}", name, theirs);
            } else {
                let start = format!("{}:", line);
                assert!(golden.lines().any(|l| l.starts_with(&start)), "the headers do not say: {}", line);
            }
        }
        assert!(mine.len() > 150);
    }
}
