//! MIT's GSS-API library (RFC 2744, with its credential stores), found at run time. The only unsafe code of this room.
//!
//! What is unsafe here rests on four facts, which hold for every block: the declarations below are those of MIT's
//! `gssapi.h` on 64-bit and 32-bit ELF systems; each pointer that is passed lives through the call and is not kept by the
//! library; each buffer that the library fills is copied and given back at once; each handle is released once, by `Drop`.
//!
//! The library keeps the text of an error for the thread that made it, so [`Library::status`] is called right after the
//! call that failed, in the same function.

use super::Status;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr;
use std::sync::Arc;

type Handle = *mut c_void;

#[repr(C)]
struct Buffer {
    length: usize,
    value: *mut c_void,
}

impl Buffer {
    const EMPTY: Buffer = Buffer { length: 0, value: ptr::null_mut() };

    /// For the library to read. It is declared mutable by the standard, and is not written to.
    fn of(bytes: &[u8]) -> Buffer {
        Buffer { length: bytes.len(), value: bytes.as_ptr().cast_mut().cast() }
    }
}

#[repr(C)]
#[derive(Clone, Copy)]
struct Oid {
    length: u32,
    elements: *mut c_void,
}

impl Oid {
    fn of(bytes: &'static [u8]) -> Oid {
        Oid { length: bytes.len() as u32, elements: bytes.as_ptr().cast_mut().cast() }
    }
}

#[repr(C)]
struct OidSet {
    count: usize,
    elements: *mut Oid,
}

#[repr(C)]
struct ChannelBindings {
    initiator_kind: u32,
    initiator: Buffer,
    acceptor_kind: u32,
    acceptor: Buffer,
    application: Buffer,
}

impl ChannelBindings {
    fn of(application: &[u8]) -> ChannelBindings {
        ChannelBindings {
            initiator_kind: 0,
            initiator: Buffer::EMPTY,
            acceptor_kind: 0,
            acceptor: Buffer::EMPTY,
            application: Buffer::of(application),
        }
    }
}

#[repr(C)]
struct KeyValue {
    key: *const c_char,
    value: *const c_char,
}

#[repr(C)]
struct KeyValueSet {
    count: u32,
    elements: *mut KeyValue,
}

const KRB5: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02];
const SPNEGO: &[u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x02];
/// GSS_KRB5_NT_PRINCIPAL_NAME
const PRINCIPAL_NAME: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x12, 0x01, 0x02, 0x02, 0x01];

const COMPLETE: u32 = 0;
const CONTINUE_NEEDED: u32 = 1;
/// Calling and routine errors; the rest is supplementary.
const ERRORS: u32 = 0xffff_0000;
const INDEFINITE: u32 = u32::MAX;

/// What a credential is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    Initiate = 1,
    Accept = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mech {
    Krb5,
    Spnego,
}

impl Mech {
    fn oid(self) -> Oid {
        Oid::of(match self {
            Mech::Krb5 => KRB5,
            Mech::Spnego => SPNEGO,
        })
    }
}

macro_rules! functions {
    ($($field:ident = $symbol:literal: fn($($arg:ty),*) -> $ret:ty;)*) => {
        /// The loaded library.
        pub(super) struct Library {
            $($field: unsafe extern "C" fn($($arg),*) -> $ret,)*
            // Last, so that the functions go first.
            _library: libloading::Library,
        }

        impl Library {
            pub(super) fn load(name: &str) -> Result<Library, libloading::Error> {
                // SAFETY: MIT's library has no initialisers with conditions; the types are those of its header.
                unsafe {
                    let library = libloading::Library::new(name)?;
                    Ok(Library {
                        $($field: *library.get::<unsafe extern "C" fn($($arg),*) -> $ret>($symbol)?,)*
                        _library: library,
                    })
                }
            }
        }
    };
}

functions! {
    acquire_cred_from = b"gss_acquire_cred_from\0":
        fn(*mut u32, Handle, u32, *const OidSet, c_int, *const KeyValueSet, *mut Handle, *mut *mut OidSet, *mut u32) -> u32;
    release_cred = b"gss_release_cred\0": fn(*mut u32, *mut Handle) -> u32;
    set_neg_mechs = b"gss_set_neg_mechs\0": fn(*mut u32, Handle, *const OidSet) -> u32;
    import_name = b"gss_import_name\0": fn(*mut u32, *const Buffer, *const Oid, *mut Handle) -> u32;
    display_name = b"gss_display_name\0": fn(*mut u32, Handle, *mut Buffer, *mut *mut Oid) -> u32;
    release_name = b"gss_release_name\0": fn(*mut u32, *mut Handle) -> u32;
    init_sec_context = b"gss_init_sec_context\0":
        fn(*mut u32, Handle, *mut Handle, Handle, *const Oid, u32, u32, *const ChannelBindings, *const Buffer,
           *mut *mut Oid, *mut Buffer, *mut u32, *mut u32) -> u32;
    accept_sec_context = b"gss_accept_sec_context\0":
        fn(*mut u32, *mut Handle, Handle, *const Buffer, *const ChannelBindings, *mut Handle, *mut *mut Oid,
           *mut Buffer, *mut u32, *mut u32, *mut Handle) -> u32;
    delete_sec_context = b"gss_delete_sec_context\0": fn(*mut u32, *mut Handle, *mut Buffer) -> u32;
    inquire_context = b"gss_inquire_context\0":
        fn(*mut u32, Handle, *mut Handle, *mut Handle, *mut u32, *mut *mut Oid, *mut u32, *mut c_int, *mut c_int) -> u32;
    wrap = b"gss_wrap\0": fn(*mut u32, Handle, c_int, u32, *const Buffer, *mut c_int, *mut Buffer) -> u32;
    unwrap = b"gss_unwrap\0": fn(*mut u32, Handle, *const Buffer, *mut Buffer, *mut c_int, *mut u32) -> u32;
    display_status = b"gss_display_status\0":
        fn(*mut u32, u32, c_int, *const Oid, *mut u32, *mut Buffer) -> u32;
    release_buffer = b"gss_release_buffer\0": fn(*mut u32, *mut Buffer) -> u32;
}

impl Library {
    /// Copies what the library wrote, and gives the buffer back.
    fn taken(&self, mut buffer: Buffer) -> Vec<u8> {
        let mut minor = 0;
        // SAFETY: the library filled the buffer; it is released once, and not used after.
        unsafe {
            let bytes = if buffer.value.is_null() || buffer.length == 0 {
                Vec::new()
            } else {
                std::slice::from_raw_parts(buffer.value.cast::<u8>(), buffer.length).to_vec()
            };
            (self.release_buffer)(&mut minor, &mut buffer);
            bytes
        }
    }

    /// The text of an error. On the thread of the call that failed, before any other call.
    fn status(&self, major: u32, minor: u32) -> Status {
        let specific = if minor == 0 { String::new() } else { self.describe(minor, 2) };
        let general = self.describe(major, 1);
        Status { major, minor: minor.cast_signed(), text: specific, general }
    }

    fn describe(&self, code: u32, kind: c_int) -> String {
        let mut lines: Vec<String> = Vec::new();
        let mut more = 0;
        loop {
            let (mut minor, mut text) = (0, Buffer::EMPTY);
            // SAFETY: out-parameters live through the call; no mechanism means the one that the code came from.
            let major =
                unsafe { (self.display_status)(&mut minor, code, kind, ptr::null(), &mut more, &mut text) };
            let line = self.taken(text);
            if major & ERRORS != 0 {
                break;
            }
            lines.push(String::from_utf8_lossy(&line).into_owned());
            if more == 0 || lines.len() == 8 {
                break;
            }
        }
        lines.join("; ")
    }

    fn check(&self, major: u32, minor: u32) -> Result<(), Status> {
        if major & ERRORS == 0 { Ok(()) } else { Err(self.status(major, minor)) }
    }

    fn name_of(&self, name: Handle) -> Result<String, Status> {
        if name.is_null() {
            return Ok(String::new());
        }
        let (mut minor, mut text) = (0, Buffer::EMPTY);
        // SAFETY: the name is one that the library made and that is not released yet.
        let major = unsafe { (self.display_name)(&mut minor, name, &mut text, ptr::null_mut()) };
        self.check(major, minor)?;
        Ok(String::from_utf8_lossy(&self.taken(text)).into_owned())
    }
}

/// A principal's name.
pub(super) struct Name {
    library: Arc<Library>,
    handle: Handle,
}

impl Name {
    pub(super) fn principal(library: &Arc<Library>, text: &str) -> Result<Name, Status> {
        let (mut minor, mut handle) = (0, ptr::null_mut());
        let (buffer, kind) = (Buffer::of(text.as_bytes()), Oid::of(PRINCIPAL_NAME));
        // SAFETY: the text is copied by the library.
        let major = unsafe { (library.import_name)(&mut minor, &buffer, &kind, &mut handle) };
        library.check(major, minor)?;
        Ok(Name { library: Arc::clone(library), handle })
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // SAFETY: ours, and released once.
        unsafe { (self.library.release_name)(&mut 0, &mut self.handle) };
    }
}

/// Keys or tickets.
pub(super) struct Cred {
    library: Arc<Library>,
    handle: Handle,
}

impl Cred {
    /// `store` names files: `keytab`, `client_keytab`, `ccache`, `rcache`. Without a name: any that is there.
    pub(super) fn acquire(
        library: &Arc<Library>,
        name: Option<&Name>,
        usage: Usage,
        store: &[(&CStr, CString)],
    ) -> Result<Cred, Status> {
        let mut elements: Vec<KeyValue> =
            store.iter().map(|(k, v)| KeyValue { key: k.as_ptr(), value: v.as_ptr() }).collect();
        let store = KeyValueSet { count: elements.len() as u32, elements: elements.as_mut_ptr() };
        let mut oids = [Mech::Krb5.oid(), Mech::Spnego.oid()];
        let mechs = OidSet { count: oids.len(), elements: oids.as_mut_ptr() };
        let krb5 = OidSet { count: 1, elements: oids.as_mut_ptr() };
        let name = name.map_or(ptr::null_mut(), |n| n.handle);
        let (mut minor, mut handle) = (0, ptr::null_mut());
        // SAFETY: names, mechanisms and store are read during the calls only.
        unsafe {
            let major = (library.acquire_cred_from)(
                &mut minor,
                name,
                INDEFINITE,
                &mechs,
                usage as c_int,
                &store,
                &mut handle,
                ptr::null_mut(),
                ptr::null_mut(),
            );
            library.check(major, minor)?;
            let cred = Cred { library: Arc::clone(library), handle };
            // SPNEGO must not fall back to whatever else is installed.
            let major = (library.set_neg_mechs)(&mut minor, handle, &krb5);
            library.check(major, minor)?;
            Ok(cred)
        }
    }
}

impl Drop for Cred {
    fn drop(&mut self) {
        // SAFETY: ours, and released once.
        unsafe { (self.library.release_cred)(&mut 0, &mut self.handle) };
    }
}

/// How a step went.
pub(super) struct Progress {
    pub(super) token: Vec<u8>,
    pub(super) complete: bool,
    pub(super) flags: u32,
}

/// What a complete context says of its ends.
pub(super) struct Ends {
    pub(super) initiator: String,
    pub(super) acceptor: String,
    /// Seconds that are left; `None` for ever.
    pub(super) lifetime: Option<u32>,
}

/// A security context.
pub(super) struct Context {
    library: Arc<Library>,
    handle: Handle,
}

// SAFETY: MIT's handles belong to no thread; each of ours has one owner, and no method takes `&self` without changing hands.
unsafe impl Send for Context {}
// SAFETY: as above; credentials and names are only read after they were made.
unsafe impl Send for Cred {}
// SAFETY: as above.
unsafe impl Send for Name {}

impl Context {
    pub(super) fn new(library: &Arc<Library>) -> Context {
        Context { library: Arc::clone(library), handle: ptr::null_mut() }
    }

    /// An error may have a token for the other end too.
    pub(super) fn accept(
        &mut self,
        cred: &Cred,
        token: &[u8],
        bindings: Option<&[u8]>,
    ) -> Result<Progress, (Status, Vec<u8>)> {
        let input = Buffer::of(token);
        let bindings = bindings.map(ChannelBindings::of);
        let bindings = bindings.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (mut minor, mut output, mut flags) = (0, Buffer::EMPTY, 0);
        // SAFETY: token and bindings are read during the call only; names and delegated credentials are not asked for.
        let major = unsafe {
            (self.library.accept_sec_context)(
                &mut minor,
                &mut self.handle,
                cred.handle,
                &input,
                bindings,
                ptr::null_mut(),
                ptr::null_mut(),
                &mut output,
                &mut flags,
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.progress(major, minor, output, flags)
    }

    #[allow(clippy::too_many_arguments, reason = "the standard's own arguments")]
    pub(super) fn initiate(
        &mut self,
        cred: &Cred,
        target: &Name,
        mech: Mech,
        flags: u32,
        token: &[u8],
        bindings: Option<&[u8]>,
    ) -> Result<Progress, (Status, Vec<u8>)> {
        let (input, oid) = (Buffer::of(token), mech.oid());
        let bindings = bindings.map(ChannelBindings::of);
        let bindings = bindings.as_ref().map_or(ptr::null(), ptr::from_ref);
        let (mut minor, mut output, mut given) = (0, Buffer::EMPTY, 0);
        // SAFETY: as in `accept`; the OID's elements are static.
        let major = unsafe {
            (self.library.init_sec_context)(
                &mut minor,
                cred.handle,
                &mut self.handle,
                target.handle,
                &oid,
                flags,
                0,
                bindings,
                &input,
                ptr::null_mut(),
                &mut output,
                &mut given,
                ptr::null_mut(),
            )
        };
        self.progress(major, minor, output, given)
    }

    fn progress(
        &self,
        major: u32,
        minor: u32,
        output: Buffer,
        flags: u32,
    ) -> Result<Progress, (Status, Vec<u8>)> {
        // The text first: giving a buffer back is a call too.
        let failed = self.library.check(major, minor);
        let token = self.library.taken(output);
        match failed {
            Err(status) => Err((status, token)),
            Ok(()) => Ok(Progress { token, complete: major & CONTINUE_NEEDED == COMPLETE, flags }),
        }
    }

    pub(super) fn ends(&mut self) -> Result<Ends, Status> {
        let (mut minor, mut from, mut to, mut left) = (0, ptr::null_mut(), ptr::null_mut(), 0);
        // SAFETY: the names that come out are ours; `Name` releases them.
        let major = unsafe {
            (self.library.inquire_context)(
                &mut minor,
                self.handle,
                &mut from,
                &mut to,
                &mut left,
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
                ptr::null_mut(),
            )
        };
        self.library.check(major, minor)?;
        let name = |handle| Name { library: Arc::clone(&self.library), handle };
        let (from, to) = (name(from), name(to));
        Ok(Ends {
            initiator: self.library.name_of(from.handle)?,
            acceptor: self.library.name_of(to.handle)?,
            lifetime: (left != INDEFINITE).then_some(left),
        })
    }

    /// Signs, and seals where `confidential` says so.
    pub(super) fn wrap(&mut self, message: &[u8], confidential: bool) -> Result<Vec<u8>, Status> {
        let (input, mut output, mut minor) = (Buffer::of(message), Buffer::EMPTY, 0);
        // SAFETY: the context is complete: only then is it handed to whoever calls this.
        let major = unsafe {
            let confidential = c_int::from(confidential);
            (self.library.wrap)(
                &mut minor,
                self.handle,
                confidential,
                0,
                &input,
                ptr::null_mut(),
                &mut output,
            )
        };
        let failed = self.library.check(major, minor);
        let bytes = self.library.taken(output);
        failed.map(|()| bytes)
    }

    /// The message, and whether it was sealed.
    pub(super) fn unwrap(&mut self, token: &[u8]) -> Result<(Vec<u8>, bool), Status> {
        let (input, mut output, mut minor, mut sealed) = (Buffer::of(token), Buffer::EMPTY, 0, 0);
        // SAFETY: as in `wrap`.
        let major = unsafe {
            (self.library.unwrap)(&mut minor, self.handle, &input, &mut output, &mut sealed, ptr::null_mut())
        };
        let failed = self.library.check(major, minor);
        let bytes = self.library.taken(output);
        failed.map(|()| (bytes, sealed != 0))
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if !self.handle.is_null() {
            // SAFETY: ours, and deleted once.
            unsafe { (self.library.delete_sec_context)(&mut 0, &mut self.handle, ptr::null_mut()) };
        }
    }
}
