// SPDX-License-Identifier: Apache-2.0
// Group "library": the file, how it loads, how it negotiates.
#include <callgate/abi/draft/kinds.h>
#include <dirent.h>
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <boost/json.hpp>
#include <callgate/sdk/value.hpp>
#include <fstream>

#include "sdk/check/auth_request.hpp"
#include "sdk/check/elf_file.hpp"
#include "sdk/check/process_state.hpp"
#include "sdk/check/registry.hpp"
#include "sdk/check/workload.hpp"

namespace callgate::check {
namespace {

void loads(const settings& s) { (void)load_plugin(s, s.plugin); }

void scan_time(const settings& s) {
    // The best of three: the first also reads the disk. Each in a process that never loaded it.
    constexpr std::int64_t limit_ns = 100'000'000;
    std::int64_t best = no_deadline;
    for (int i = 0; i < 3 && best > limit_ns; ++i) {
        auto* shared = static_cast<std::int64_t*>(::mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
        const pid_t child = ::fork();
        if (child == 0) {
            const stall_meter meter;
            const auto begin = now_ns();
            (void)load_plugin(s, s.plugin);
            // Time in which others had the processor is not the plugin's.
            const auto r = meter.stop();
            *shared = std::min(now_ns() - begin, r.blocked_ns + r.cpu_ns);
            ::_exit(0);
        }
        int status = 0;
        ::waitpid(child, &status, 0);
        if (*shared != 0) best = std::min(best, *shared);
    }
    if (best == no_deadline) throw cannot_judge("library.loads", "the plugin does not load");
    if (best > limit_ns)
        recorder::violated("library.scan_time", "loading it and asking for its manifest takes " + std::to_string(best / 1'000'000) +
                                                    " ms (limit 100 ms): constructors and the entry must do nothing that can wait until create or start");
}

void one_export(const settings& s) {
    const auto elf = read_elf(s.plugin);
    std::string extra;
    bool entry = false;
    std::size_t count = 0;
    for (const auto& symbol : elf.symbols) {
        if (!symbol.defined || symbol.unique) continue;
        if (symbol.name == CG_ENTRY_SYMBOL)
            entry = true;
        else if (++count <= 5)
            extra += (extra.empty() ? "" : ", ") + symbol.name;
    }
    if (!entry) recorder::violated("library.one_export", "there is no exported symbol " CG_ENTRY_SYMBOL ": define it with default visibility and extern \"C\"");
    if (count != 0)
        recorder::violated("library.one_export", "it exports " + std::to_string(count) + " symbols besides " CG_ENTRY_SYMBOL " (" + extra + (count > 5 ? ", ..." : "") +
                                                     "); they can take the place of those of other plugins: link with the SDK's version script and --exclude-libs,ALL");
}

void no_unique_symbols(const settings& s) {
    for (const auto& symbol : read_elf(s.plugin).symbols)
        if (symbol.unique && symbol.defined)
            recorder::violated("library.no_unique_symbols", "the symbol " + symbol.name + " is STB_GNU_UNIQUE: such symbols are shared by all plugins whatever the version script "
                                                                "says; compile with -fno-gnu-unique");
}

void no_text_relocations(const settings& s) {
    if (read_elf(s.plugin).text_relocations)
        recorder::violated("library.no_text_relocations", "it has relocations in code (DT_TEXTREL), so its code would be writable while it loads: compile everything, static "
                                                          "libraries too, with -fPIC");
}

void no_executable_stack(const settings& s) {
    if (read_elf(s.plugin).executable_stack)
        recorder::violated("library.no_executable_stack", "it asks for an executable stack, which the whole process would get: link with -Wl,-z,noexecstack; assembler files need "
                                                          ".section .note.GNU-stack,\"\",@progbits");
}

void note(const settings& s) {
    const auto elf = read_elf(s.plugin);
    if (!elf.note) {
        recorder::violated("library.note", "there is no .note.callgate, so the daemon refuses the file unread: put CG_PLUGIN_NOTE (C++: CALLGATE_PLUGIN) into exactly one source file");
        return;
    }
    const auto p = load_plugin(s, s.plugin);
    const auto m = sdk::copy_in(p.manifest);
    const std::string in_note(elf.note->plugin_id, ::strnlen(elf.note->plugin_id, sizeof elf.note->plugin_id));
    const auto differs = [](const char* what, const std::string& a, const std::string& b) {
        if (a != b) recorder::violated("library.note", std::string(what) + " is " + a + " in the note and " + b + " in the manifest; the daemon refuses a plugin that contradicts itself");
    };
    differs("plugin_id", "\"" + in_note + "\"", "\"" + std::string(sdk::view(m.plugin_id)) + "\"");
    differs("abi_major", std::to_string(elf.note->abi_major), std::to_string(m.abi_major));
    differs("abi_minor_built", std::to_string(elf.note->abi_minor_built), std::to_string(m.abi_minor_built));
    differs("abi_minor_needed", std::to_string(elf.note->abi_minor_needed), std::to_string(m.abi_minor_needed));
    std::uint32_t kinds = 0;
    for (std::size_t i = 0; i < m.factory_count && m.factories != nullptr; ++i) {
        const auto kind = sdk::copy_in(m.factories[i]).kind;
        kinds |= kind < 32 ? 1u << kind : 0;
    }
    differs("the set of kinds (bit 1 << kind)", std::to_string(elf.note->kinds), std::to_string(kinds));
}

void refuses_foreign_major(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    for (const auto major : {CG_ABI_MAJOR + 1, 0u, 0xffffffffu}) {
        const cg_manifest* out = nullptr;
        const auto status = negotiate(p.entry, &out, major, 0);
        if (status != CG_E_ABI)
            recorder::violated("library.refuses_foreign_major", "offered ABI " + std::to_string(major) + ".0 the entry returns " + status_text(status) +
                                                                    "; return CG_E_ABI unless abi_major is CG_ABI_MAJOR of the headers it was compiled with");
    }
}

void up_and_one_operation(instance& i) {
    i.up();
    std::unique_ptr<workload> w;
    try {
        w = workload::of(i);
    } catch (const not_applicable&) {
        i.down();
        return;
    }
    cg_op op = 0;
    i.on_shard(0, [&] { op = w->begin(0, {}); });
    i.must_complete({op});
    i.down();
}

void older_host(const settings& s) {
    const auto p = load_plugin(s, s.plugin, host_shape::older);
    // Without base_dir relative paths start at the working directory.
    if (!s.good[0].base_dir.empty() && ::chdir(s.good[0].base_dir.c_str()) != 0) throw cannot_judge("", "cannot go to " + s.good[0].base_dir);
    instance older(s, p, s.good[0], host_shape::older);
    std::string error;
    const auto status = older.try_create(error);
    if (status == CG_E_ABI) {
        if (error.empty())
            recorder::violated("library.older_host", "create() refuses a host whose cg_host is shorter with CG_E_ABI, which is allowed, but without a text: say what lacks and which callgate has it");
        // It may insist on what version 1.0 has; what it is handed later may still be shorter.
        instance half(s, p, s.good[0], host_shape::present);
        up_and_one_operation(half);
        return;
    }
    if (status != CG_OK) {
        recorder::violated("library.older_host", "on a host whose structs end earlier create() fails with " + status_text(status) + ": " + error +
                                                     "; read min(struct_size, sizeof) of every struct and take what is absent as 0 or NULL");
        return;
    }
    older.destroy();
    instance i(s, p, s.good[0], host_shape::older);
    up_and_one_operation(i);
}

void newer_host(const settings& s) {
    const auto p = load_plugin(s, s.plugin, host_shape::newer);
    const cg_manifest* out = nullptr;
    if (const auto status = negotiate(p.entry, &out, CG_ABI_MAJOR, 99, host_shape::newer); status != CG_OK)
        recorder::violated("library.newer_host", "offered ABI " + std::to_string(CG_ABI_MAJOR) + ".99 the entry returns " + status_text(status) +
                                                     ": a newer minor has everything of the older ones; refuse only when abi_minor is below what you need");
    instance i(s, p, s.good[0], host_shape::newer);
    up_and_one_operation(i);
    if (p.kind != CG_KIND_KEY_PROVIDER) return;
    instance keys(s, p, s.good[0], host_shape::newer);
    keys.up();
    try {
        const auto signers = signing_keys(keys);
        std::vector<sign_request> items;
        for (std::uint32_t n = 0; n < std::min(3u, key_limits(keys).max_batch); ++n) items.push_back({signers[0].handle, signers[0].purpose, std::to_string(n)});
        for (const auto& o : sign_and_wait(keys, items))
            if (o.status != CG_OK)
                recorder::violated("library.newer_host", "with items that are longer than known, an item ends with " + status_text(o.status) + ": step from item to item by batch->stride, not by sizeof");
    } catch (const not_applicable&) {
    }
    keys.down();
}

void twice_in_one_process(const settings& s) {
    char path[] = "/tmp/callgate-check-XXXXXX.so";
    const int fd = ::mkstemps(path, 3);
    if (fd < 0) throw cannot_judge("", "cannot make a second copy of the plugin in /tmp");
    {
        std::ifstream in(s.plugin, std::ios::binary);
        std::ofstream out(path, std::ios::binary);
        out << in.rdbuf();
    }
    ::close(fd);
    const auto first = load_plugin(s, s.plugin);
    loaded_plugin second;
    void* library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    ::unlink(path);
    const auto fail = [](const std::string& what) {
        recorder::violated("library.twice_in_one_process", what + " while another copy of the plugin is loaded; an update is loaded beside the old build, which stays: keep no "
                                                                  "state that belongs to the process");
    };
    if (library == nullptr) return fail(std::string("dlopen of a copy fails (") + ::dlerror() + ")");
    second.path = path;
    second.library = library;
    second.entry = reinterpret_cast<cg_plugin_entry_fn>(::dlsym(library, CG_ENTRY_SYMBOL));
    if (second.entry == nullptr || second.entry == first.entry) return fail("the copy's entry cannot be found");
    if (const auto status = negotiate(second.entry, &second.manifest, CG_ABI_MAJOR, CG_ABI_MINOR); status != CG_OK) return fail("the entry refuses with " + status_text(status));
    std::string error;
    second.factory = choose_factory(s, sdk::copy_in(second.manifest), error);
    second.kind = first.kind;
    instance a(s, first, s.good[0]), b(s, second, s.good[0]);
    a.up();
    if (const auto status = b.try_create(error); status != CG_OK) return fail("create() of the copy fails with " + status_text(status) + " (" + error + ")");
    if (const auto started = b.start(); started.status != CG_OK) return fail("start() of the copy fails with " + status_text(started.status) + " (" + started.error + ")");
    b.attach_all();
    b.down();
    a.down();
}

void no_full_protobuf(const settings& s) {
    const auto elf = read_elf(s.plugin);
    const std::string advice = ": two copies of full protobuf in one process abort it; build with option optimize_for = LITE_RUNTIME and link protobuf-lite statically, or use another format";
    for (const auto& n : elf.needed)
        if (n.starts_with("libprotobuf.so") || n.starts_with("libprotoc.so") || n.starts_with("libgrpc")) {
            recorder::violated("library.no_full_protobuf", "it needs " + n + advice);
            return;
        }
    for (const auto& symbol : elf.symbols)
        if (symbol.name.find("google8protobuf") != std::string::npos && symbol.name.find("MessageLite") == std::string::npos &&
            (symbol.name.find("Descriptor") != std::string::npos || symbol.name.find("7MessageE") != std::string::npos || symbol.name.find("7Message") != std::string::npos)) {
            recorder::violated("library.no_full_protobuf", "its dynamic symbol " + symbol.name + " is of the full protobuf runtime" + advice);
            return;
        }
    // A static copy has no dynamic symbols, but always carries the descriptor of descriptors.
    if (elf.bytes.find("google/protobuf/descriptor.proto") != std::string::npos)
        recorder::violated("library.no_full_protobuf", "it contains a static copy of the full protobuf runtime (google/protobuf/descriptor.proto)" + advice);
}

void struct_sizes(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    const auto m = read_checked(p.manifest, "cg_manifest");
    for (std::size_t i = 0; i < m.factory_count; ++i) (void)read_checked(m.factories[i], "cg_factory");
    instance i(s, p, s.good[0]);
    // Every table and answer on the way is read with its size judged.
    up_and_one_operation(i);
}

void manifest(const settings& s) {
    const auto p = load_plugin(s, s.plugin);
    const auto m = sdk::copy_in(p.manifest);
    const auto bad = [](const std::string& text) { recorder::violated("library.manifest", text); };
    const auto id = std::string(sdk::view(m.plugin_id));
    if (id.find('.') == std::string::npos || id.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != std::string::npos || id.size() > 63)
        bad("plugin_id \"" + id + "\" is no reverse domain name such as com.example.auth_ldap (letters, digits, . _ -, at most 63)");
    if (sdk::view(m.version).empty()) bad("the manifest has no version");
    if (m.abi_major != CG_ABI_MAJOR) bad("the manifest says abi_major " + std::to_string(m.abi_major));
    if (m.abi_minor_needed > m.abi_minor_built) bad("abi_minor_needed is above abi_minor_built");
    for (std::size_t i = 0; i < m.factory_count; ++i) {
        if (m.factories[i] == nullptr) {
            bad("factory " + std::to_string(i) + " is NULL");
            continue;
        }
        const auto f = sdk::copy_in(m.factories[i]);
        const auto named = "factory \"" + std::string(sdk::view(f.type)) + "\"";
        if (sdk::view(f.type).empty()) bad("factory " + std::to_string(i) + " has no type");
        if (f.kind < CG_KIND_AUTH_BACKEND || f.kind > CG_KIND_AUDIT_SINK) bad(named + " is of kind " + std::to_string(f.kind) + ", which is not known");
        if (f.thread_model != CG_THREADS_PER_SHARD && f.thread_model != CG_THREADS_ANY) bad(named + " has thread_model " + std::to_string(f.thread_model) + ", which is none of CG_THREADS_*");
        if (f.create == nullptr) bad(named + " has no create function");
        if (sdk::view(f.config_schema).empty()) continue;
        boost::system::error_code ec;
        const auto schema = boost::json::parse(std::string(sdk::view(f.config_schema)), ec);
        if (ec || !schema.is_object()) bad("the config_schema of " + named + " is no JSON object" + (ec ? " (" + ec.message() + ")" : std::string()) + "; it is JSON Schema, draft 7");
    }
}

void constructors_do_nothing(const settings& s) {
    const auto before = resources::now();
    (void)load_plugin(s, s.plugin);
    const auto after = resources::now();
    const auto more = [](const char* what, std::size_t a, std::size_t b) {
        if (b > a)
            recorder::violated("library.constructors_do_nothing", "loading it and calling its entry leaves " + std::to_string(b - a) + " more " + what +
                                                                      "; the daemon also does this only to look at the plugin: open and start things in create or start");
    };
    more("threads", before.threads, after.threads);
    more("open descriptors", before.descriptors, after.descriptors);
    more("child processes", before.children, after.children);
}

}  // namespace

void add_library_checks(std::vector<check_entry>& out) {
    out.insert(out.end(), {
        {"library.loads", "dlopen(RTLD_NOW | RTLD_LOCAL) and the entry succeed", 0, loads},
        {"library.one_export", "exactly one exported symbol, the entry", 0, one_export},
        {"library.no_unique_symbols", "no STB_GNU_UNIQUE symbol", 0, no_unique_symbols},
        {"library.no_text_relocations", "no relocation in code", 0, no_text_relocations},
        {"library.no_executable_stack", "no executable stack", 0, no_executable_stack},
        {"library.no_full_protobuf", "nothing but lite protobuf inside", 0, no_full_protobuf},
        {"library.note", "the ELF note is there and equals the manifest", 0, note},
        {"library.manifest", "id, version, factories and schema are well-formed", 0, manifest},
        {"library.refuses_foreign_major", "another ABI major is refused with CG_E_ABI", 0, refuses_foreign_major},
        {"library.scan_time", "load and entry take less than 100 ms", 0, scan_time},
        {"library.constructors_do_nothing", "load and entry leave no thread, descriptor or child", 0, constructors_do_nothing},
        {"library.struct_sizes", "struct_size of all it hands out is honest", 0, struct_sizes},
        {"library.older_host", "works with shorter structs of an older host", 0, older_host},
        {"library.newer_host", "ignores what a newer host adds", 0, newer_host},
        {"library.twice_in_one_process", "two copies of it work side by side", 0, twice_in_one_process},
    });
}

}  // namespace callgate::check
